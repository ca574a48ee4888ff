"""put, get and cp onto every kind of target and from every kind of source: as cp(1) does it.

The oracle is the cp of this machine: each case runs it on local directories and the commands beside
it, and compares status and what is there afterwards.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread

import pytest
from cli_cluster import Cluster, Command, execute, start

import memfs

LARGE = 200_000
"""More than what travels in batches."""


def described(top: Path) -> dict[str, object]:
    """What a tree looks like: kinds, modes, contents, which names are one file."""
    found: dict[str, object] = {}
    names: dict[int, str] = {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        name = str(path.relative_to(top))
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_file():
            first = names.setdefault(status.st_ino, name)
            found[name] = (oct(status.st_mode), path.read_bytes(), first)
        else:
            found[name] = oct(status.st_mode)
    return found


def sources(top: Path) -> None:
    (top / "tree" / "sub").mkdir(parents=True)
    (top / "small").write_bytes(b"new small")
    (top / "large").write_bytes(b"new large" + bytes(LARGE))
    (top / "tree" / "a").write_bytes(b"new a")
    (top / "tree" / "sub" / "b").write_bytes(b"new b")
    (top / "tree" / "link").symlink_to("a")
    (top / "older").write_bytes(b"new older")
    os.utime(top / "older", (1, 1))
    (top / "to-small").symlink_to("small")
    (top / "to-tree").symlink_to("tree")
    (top / "executable").write_bytes(b"#!")
    (top / "executable").chmod(0o755)
    (top / "pair" / "sub").mkdir(parents=True)
    (top / "pair" / "one").write_bytes(b"new pair")
    (top / "pair" / "big").write_bytes(bytes(LARGE))
    for name in ("pair/two", "pair/sub/three", "twin"):
        os.link(top / "pair" / "one", top / name)
    os.link(top / "pair" / "big", top / "pair" / "sub" / "big")
    (top / "pair" / "to-one").symlink_to("one")


def targets(top: Path) -> None:
    (top / "file").write_bytes(b"old content")
    (top / "file").chmod(0o600)
    (top / "named").write_bytes(b"old content")
    (top / "named").chmod(0o640)
    os.link(top / "named", top / "other-name")
    (top / "to-file").symlink_to("file")
    (top / "dangling").symlink_to("nowhere")
    (top / "directory").mkdir()
    (top / "to-directory").symlink_to("directory")
    (top / "full" / "tree" / "sub").mkdir(parents=True)
    (top / "full" / "tree" / "a").symlink_to("../../file")
    (top / "full" / "tree" / "link").write_bytes(b"no link")
    (top / "odd" / "tree").mkdir(parents=True)
    (top / "odd" / "tree" / "sub").write_bytes(b"no directory")
    (top / "odd" / "tree" / "a").mkdir()
    (top / "full" / "pair" / "sub").mkdir(parents=True)
    (top / "full" / "pair" / "one").write_bytes(b"old one")
    (top / "full" / "pair" / "sub" / "three").write_bytes(b"old three")
    (top / "odd" / "pair" / "two").mkdir(parents=True)
    (top / "linked" / "tree").mkdir(parents=True)
    (top / "linked" / "tree" / "sub").symlink_to("../../directory")


CASES = [
    f"{source} {target}"
    for source in ("small", "large")
    for target in ("new", "file", "named", "to-file", "dangling", "directory", "to-directory")
] + [
    "executable new",
    "executable file",
    "-T small directory",
    "-T small file",
    "-n small file",
    "-n small new",
    "-p executable file",
    "to-small new",
    "to-small file",
    "-P to-small new",
    "-d to-small new",
    "-L to-small new",
    "-H to-small new",
    "-P to-small directory",
    "-P to-small to-file",
    "-rP to-tree to-small",
    "-n to-small file",
    "-r to-small new",
    "-rH to-small new",
    "-r to-tree new",
    "-rH to-tree new",
    "-rL to-tree new",
    "-a to-tree new",
    "to-tree new",
    "tree new",
    "-r tree new",
    "-r tree new/",
    "small new/",
    "-r tree directory",
    "-r tree/. directory",
    "-r tree/. new",
    "-r tree/sub/.. directory",
    "-rT tree directory",
    "-rL tree directory",
    "-r tree file",
    "-r tree full",
    "-r tree odd",
    "-r tree linked",
    "-r pair directory",
    "-a pair directory",
    "-rd pair directory",
    "-aL pair directory",
    "-a pair full",
    "-a pair odd",
    "-a pair twin directory",
    "-d twin pair/two directory",
    "-P twin pair/two directory",
    "-an pair full",
    "small large directory",
    "small large new",
    "small small directory",
    "missing small directory",
    "-f small file",
    "-rf tree directory",
    "-fn small file",
    "small missing/new",
    "-u small file",
    "-u older file",
    "-u older new",
    "-u older to-file",
    "-ur tree directory",
    "-pu older file",
    "-uf older file",
    "--parents small directory",
    "--parents tree/sub/b directory",
    "--parents tree/sub/b small directory",
    "--parents -r tree/sub directory",
    "--parents -r tree full",
    "--parents to-tree/sub/b directory",
    "--parents -p tree/sub/b directory",
    "--parents missing/x directory",
]


ONTO_ITSELF = ["small small", "-P to-small small", "-P to-small to-small", "to-small small"]
"""Within one file system only."""


def made(top: Path) -> Path:
    top.mkdir()
    sources(top)
    targets(top)
    return top


class Side:
    """Directories of the cluster that are made from local ones and fetched again."""

    def __init__(self, fs: memfs.FileSystem, home: str) -> None:
        self._fs, self._home = fs, home

    def store(self, top: Path) -> str:
        there = f"{self._home}/{top.name}"
        self._fs.put(top, there, preserve=True)
        return there

    def fetch(self, there: str, local: Path) -> dict[str, object]:
        self._fs.get(there, local, preserve=True)
        self._fs.rmtree(there)
        return described(local)


@pytest.fixture(scope="module")
def fs(cluster: Cluster) -> Iterator[memfs.FileSystem]:
    with memfs.connect(cluster.url) as fs:
        yield fs


def differences(one: dict[str, object], other: dict[str, object]) -> list[str]:
    return [
        f"{name}: {str(one.get(name))[:60]} is {str(other.get(name))[:60]}"
        for name in sorted({*one, *other})
        if one.get(name) != other.get(name)
    ]


def test_as_cp(
    cli: Command,
    fs: memfs.FileSystem,
    home: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    side = Side(fs, home)
    unchanged = side.store(made(tmp_path / "unchanged"))
    wrong = []
    for case in CASES + ONTO_ITSELF:
        with tempfile.TemporaryDirectory(dir=tmp_path) as name:
            top = Path(name)
            *words, last = case.split()
            flags = [word for word in words if word.startswith("-")]
            words = words[len(flags) :]
            oracle = subprocess.run(
                ["cp", *case.split()], cwd=made(top / "oracle"), capture_output=True
            )
            wanted = described(top / "oracle")

            monkeypatch.chdir(made(top / "put"))
            there = side.store(Path.cwd())
            outcome = cli("put", *flags, *words, f"{there}/{last}")
            found = {"put": (outcome, side.fetch(there, top / "of-put"))}

            monkeypatch.chdir(made(top / "cp"))
            there = side.store(Path.cwd())
            named = [f"{there}/{word}" for word in words]
            outcome = cli("cp", *flags, *named, f"{there}/{last}")
            found["cp"] = (outcome, side.fetch(there, top / "of-cp"))

            monkeypatch.chdir(made(top / "get"))
            named = [f"{unchanged}/{word}" for word in words]
            outcome = cli("get", *flags, *named, last)
            found["get"] = (outcome, described(top / "get"))
            monkeypatch.chdir("/")
        for act, (outcome, state) in found.items():
            if case in ONTO_ITSELF and act != "cp":
                continue
            if case.startswith("--parents") and act != "put":
                continue  # paths in the cluster begin at the root
            if outcome.status != oracle.returncode:
                wrong.append(f"{act} {case}: {outcome.err!r} is not {oracle.stderr!r}")
            wrong += [f"{act} {case}: {each}" for each in differences(wanted, state)]
    assert not wrong, "\n".join(wrong)


def piped(act: Callable[[], object]) -> Thread:
    """``act``, in the background: one end of a named pipe waits for the other."""
    thread = Thread(target=act)
    thread.start()
    return thread


def test_pipes_and_devices(cli: Command, home: str, tmp_path: Path) -> None:
    pipe, got = tmp_path / "pipe", tmp_path / "got"
    os.mkfifo(pipe)
    writer = piped(lambda: pipe.write_bytes(b"through a pipe"))
    cli.ok("put", str(pipe), f"{home}/file")
    writer.join()
    assert cli.ok("cat", f"{home}/file") == ["through a pipe"]
    reader = piped(lambda: got.write_bytes(pipe.read_bytes()))
    cli.ok("get", f"{home}/file", str(pipe))
    reader.join()
    assert got.read_bytes() == b"through a pipe" and pipe.is_fifo()
    cli.ok("get", f"{home}/file", "/dev/null")
    assert Path("/dev/null").is_char_device()
    cli.ok("put", "/dev/null", f"{home}/empty")
    assert cli.ok("stat", "-c", "%s", f"{home}/empty") == ["0"]
    (line,) = cli.fails("put", "-r", str(tmp_path), f"{home}/tree")
    assert str(pipe) in line and "not a file, directory or symbolic link" in line
    cli.ok("mkdir", f"{home}/other")
    cli.ok("cp", f"{home}/file", f"{home}/other/pipe")
    (line,) = cli.fails("get", "-rT", f"{home}/other", str(tmp_path))
    assert "/other/pipe" in line and pipe.is_fifo()


def test_standard_streams_by_name(cluster: Cluster, home: str, tmp_path: Path) -> None:
    done = execute(cluster.url, ["put", "/dev/stdin", f"{home}/file"], b"from a pipe")
    assert (done.returncode, done.stderr) == (0, b"")
    done = execute(cluster.url, ["get", f"{home}/file", "/dev/stdout"])
    assert (done.returncode, done.stdout) == (0, b"from a pipe")
    with (tmp_path / "out").open("w+b") as file:
        start(cluster.url, "get", f"{home}/file", "/dev/stdout", stdout=file).wait()
        file.seek(0)
        assert file.read() == b"from a pipe"


def test_names_that_are_not_unicode(cli: Command, home: str, tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "sub").mkdir(parents=True)
    (top / "sub" / "good").write_bytes(b"1")
    (top / "after").write_bytes(b"2")
    Path(os.fsdecode(os.fsencode(top) + b"/caf\xe9")).write_bytes(b"3")
    Path(os.fsdecode(os.fsencode(top) + b"/d\xff")).mkdir()
    (top / "link").symlink_to(os.fsdecode(b"to\xff"))
    lines = cli.fails("put", "-r", f"{top}", f"{home}/there")
    named = ["caf'$'\\351'", "d'$'\\377'", "link"]
    assert [name for line, name in zip(sorted(lines), named, strict=True) if name in line] == named
    assert all("not UTF-8" in line for line in lines)
    assert sorted(cli.ok("find", f"{home}/there", "-type", "f")) == [
        f"{home}/there/after",
        f"{home}/there/sub/good",
    ]


def test_links_that_lead_back(cli: Command, home: str, tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "sub").mkdir(parents=True)
    (top / "sub" / "file").write_bytes(b"1")
    (top / "sub" / "back").symlink_to("..")
    (top / "itself").symlink_to(".")
    lines = cli.fails("put", "-rL", str(top), f"{home}/there")
    assert [line.count("leads back") for line in lines] == [1, 1]
    assert cli.ok("cat", f"{home}/there/sub/file") == ["1"]
    cli.ok("put", "-r", str(top), f"{home}/links")
    for act, target in (("get", str(tmp_path / "back")), ("cp", f"{home}/copy")):
        lines = cli.fails(act, "-rL", f"{home}/links", target)
        assert [line.count("leads back") for line in lines] == [1, 1]
    assert (tmp_path / "back" / "sub" / "file").read_bytes() == b"1"


def test_onto_itself(cli: Command, home: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content" + bytes(LARGE))
    cli.ok("put", str(tmp_path / "file"), f"{home}/file")
    cli.ok("ln", "-s", "file", f"{home}/link")
    cli.ok("ln", f"{home}/file", f"{home}/name")
    cli.ok("mkdir", f"{home}/sub")
    for target in ("file", "link", "name"):
        (line,) = cli.fails("cp", f"{home}/file", f"{home}/{target}")
        assert line.endswith(f"'{home}/file' and '{home}/{target}' are the same file")
    (line,) = cli.fails("cp", "-P", f"{home}/link", f"{home}/file")
    assert "same file" in line
    (line,) = cli.fails("cp", "-r", home, f"{home}/sub")
    assert "into itself" in line
    lines = cli.fails("cp", "-rT", home, home)
    assert "into itself" in lines[0]
    for target in ("file", "name"):
        (line,) = cli.fails("mv", f"{home}/file", f"{home}/{target}")
        assert line.endswith(f"'{home}/file' and '{home}/{target}' are the same file")
    assert cli.ok("ls", home) == ["file", "link", "name", "sub"]
    assert cli.ok("stat", "-c", "%s", f"{home}/name") == [str(7 + LARGE)]


def attributes(top: Path) -> dict[str, tuple[str, int, dict[str, bytes]]]:
    """Mode, time and extended attributes of all that is below."""
    found = {}
    for path in [top, *sorted(top.rglob("*"))]:
        if not path.is_symlink():
            status = path.stat()
            names = [name for name in os.listxattr(path) if name.startswith("user.")]
            values = {name: os.getxattr(path, name) for name in names}
            where = str(path.relative_to(top))
            found[where] = (oct(status.st_mode), status.st_mtime_ns, values)
    return found


def test_an_archive_keeps_extended_attributes_on_every_way(
    cli: Command, home: str, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "small").write_bytes(b"small")
    (tree / "large").write_bytes(bytes(LARGE))
    (tree / "locked").write_bytes(b"read only")
    (tree / "sub" / "file").write_bytes(b"x")
    (tree / "link").symlink_to("small")
    for name in ("small", "large", "locked", "sub", "sub/file"):
        os.setxattr(tree / name, "user.origin", name.encode())
    os.setxattr(tree / "small", "user.long", os.urandom(1000))
    (tree / "locked").chmod(0o444)
    (tree / "sub").chmod(0o555)
    for path in (tree / "large", tree / "sub", tree):
        os.utime(path, ns=(10**18, 10**18 + 5))
    cli.ok("put", "-a", str(tree), f"{home}/there")
    cli.ok("cp", "-a", f"{home}/there", f"{home}/again")
    cli.ok("get", "-a", f"{home}/again", str(tmp_path / "back"))
    subprocess.run(["cp", "-a", tree, tmp_path / "wanted"], check=True)
    assert attributes(tmp_path / "back") == attributes(tmp_path / "wanted") == attributes(tree)
    cli.ok("cp", "-rp", f"{home}/there", f"{home}/plain")
    assert cli.ok("xattr", "list", f"{home}/plain/small") == []
    cli.ok("put", "-rp", str(tree), f"{home}/without")
    assert cli.ok("xattr", "list", f"{home}/without/small") == []


@pytest.mark.parametrize("flag", ["-a", "-rp", "-dp", "-r"])
def test_links_keep_their_times(cli: Command, home: str, tmp_path: Path, flag: str) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    os.utime(tmp_path / "link", ns=(10**18, 10**18 + 5), follow_symlinks=False)
    subprocess.run(["cp", flag, str(tmp_path / "link"), str(tmp_path / "copy")], check=True)
    cli.ok("put", flag, str(tmp_path / "link"), f"{home}/link")
    cli.ok("cp", flag, f"{home}/link", f"{home}/copy")
    cli.ok("get", flag, f"{home}/copy", str(tmp_path / "back"))
    wanted = (tmp_path / "copy").lstat().st_mtime_ns == 10**18 + 5
    assert ((tmp_path / "back").lstat().st_mtime_ns == 10**18 + 5) is wanted
    found = cli.ok("stat", "-c", "%Y", f"{home}/link", f"{home}/copy")
    assert (found == ["1000000000"] * 2) is wanted


def test_a_copy_within_the_cluster_keeps_the_access_list(cli: Command, home: str) -> None:
    """Its mode tells the mask, not what the group may."""
    cli.ok("mkdir", f"{home}/d")
    cli.ok("touch", f"{home}/d/f")
    cli.ok("chmod", "600", f"{home}/d/f")
    cli.ok("setfacl", "-m", "u:bob:rw", f"{home}/d/f")
    cli.ok("setfacl", "-m", "u:bob:rwx,d:u:bob:r-x", f"{home}/d")
    cli.ok("cp", "-rp", f"{home}/d", f"{home}/e")
    for name in ("", "/f"):
        wanted = cli.ok("getfacl", f"{home}/d{name}")
        assert cli.ok("getfacl", f"{home}/e{name}")[1:] == wanted[1:]


@pytest.mark.parametrize("command", ["cp", "get"])
def test_a_copy_of_a_file_that_grows_is_a_beginning_of_it(
    cluster: Cluster, cli: Command, home: str, tmp_path: Path, command: str
) -> None:
    source, copied = f"{home}/log", Event()

    def append() -> None:
        with memfs.connect(cluster.url) as own, own.open(source, "ab") as log:
            while not copied.is_set():
                log.write(b"%015d\n" % log.tell())
                log.flush()

    with memfs.connect(cluster.url) as fs:
        lines = (b"%015d\n" % start for start in range(0, 9 << 20, 16))
        fs.write_bytes(source, b"".join(lines))
        appending = piped(append)
        try:
            for _ in range(3):
                before = fs.stat(source).st_size
                target = f"{home}/copy" if command == "cp" else str(tmp_path / "copy")
                cli.ok(command, source, target)
                copy = fs.read_bytes(target) if command == "cp" else Path(target).read_bytes()
                assert before <= len(copy) <= fs.stat(source).st_size
                assert fs.read_bytes(source)[: len(copy)] == copy
        finally:
            copied.set()
            appending.join()
