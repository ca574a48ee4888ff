"""Small commands beside those of coreutils: a tree lies under the same path on both sides."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import re
import subprocess
import tempfile
from pathlib import Path

import pytest
from cli_cluster import Cluster, Command

import memfs
from memfs.checksum import crc32c


@pytest.fixture
def top(cluster: Cluster, tmp_path: Path) -> Path:
    top = tmp_path / "top"
    (top / "a" / "b" / "c").mkdir(parents=True)
    (top / "file").write_bytes(bytes(range(256)) * 20)
    (top / "empty").write_bytes(b"")
    (top / "link").symlink_to("file")
    (top / "lines").write_text("".join(f"{number}\n" for number in range(100)))
    with memfs.connect(cluster.url) as fs:
        fs.makedirs(str(tmp_path), exist_ok=True)
        fs.put(top, str(top), preserve=True)
    return top


def wanted(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_stat(cli: Command, top: Path) -> None:
    for name in ("file", "empty", "link", "a"):
        path = str(top / name)
        texts, times = "%n %a %A %U %G %F %N %%", "%y|%Y"
        numbers = "%s|%.3s|%8.3s|%-8.3s|%08.3s|%+.6s|%.2U|%#.5a" if name != "a" else "%n"
        for form in (texts, times, numbers):
            if name == "link":
                form = "%n %F %N %s"  # a link of its own time
            assert cli("stat", "-c", form, path).out == wanted("stat", "-c", form, path)
    (line,) = cli.ok("stat", "-c", "%b %B", str(top / "file"))
    assert line == "10 512"


def test_touch(cli: Command, top: Path) -> None:
    path = str(top / "file")
    for options in (
        ["-t", "202601311200.30"],
        ["-t", "9912312359"],
        ["-t", "01020304"],
        ["-m", "-d", "2020-02-03T04:05:06"],
        ["-a", "-d", "2021-02-03T04:05:06"],
    ):
        subprocess.run(["touch", *options, path], check=True)
        cli.ok("touch", *options, path)
        assert cli("stat", "-c", "%X %Y", path).out == wanted("stat", "-c", "%X %Y", path)
    for stamp in ("13", "", "000101010000"):
        assert cli("touch", "-t", stamp, path).status == 2
    for given in ("9999-12-31", "0001-01-01"):  # out of range: the nearest time that there is
        cli.ok("touch", "-d", given, path)
        (found,) = cli.ok("stat", "-c", "%y", path)
        assert found.startswith("2262-04-11" if given > "2" else "1677-09-21")


def test_head_and_tail_in_short(cli: Command, top: Path) -> None:
    for command in ("head", "tail"):
        for option in ("-3", "-n3", "-0", "-200"):
            ours = cli(command, option, str(top / "lines")).out
            assert ours == wanted(command, option, str(top / "lines"))


@pytest.mark.parametrize(
    "count",
    ["K", "+K", "1b", "010", " 2", "1kB", "-1", "+3", "1.5", "1B", "2 ", "1Z", "9" * 20, "--1"],
)
def test_counts_of_head_tail_and_truncate(cli: Command, top: Path, count: str) -> None:
    lines = str(top / "lines")
    commands = [[each, option, count] for each in ("head", "tail") for option in ("-n", "-c")]
    for command in [*commands, ["truncate", "-s", count]]:
        oracle = subprocess.run([*command, lines], capture_output=True, text=True)
        found = cli(*command, lines)
        assert bool(found.status) == bool(oracle.returncode), command
        assert found.out == oracle.stdout, command
    assert cli.ok("stat", "-c", "%s", lines) == [str(Path(lines).stat().st_size)]


def test_orders_by_name(cli: Command, top: Path) -> None:
    short = {"size": "-S", "time": "-t", "version": "-v", "extension": "-X", "name": "-1"}
    for order, option in short.items():
        for others in ([], ["-S"], ["-r"]):
            same = [option, *others] if "-r" in others else [option]
            found = cli("ls", *others, f"--sort={order}", str(top)).out
            assert found == cli("ls", *same, str(top)).out, (order, others)


def test_what_mkdir_says(cli: Command, top: Path) -> None:
    for options, names in (("-v", ["x", "y"]), ("-pv", ["a/b/new/er", "z/z"]), ("-pv", ["a/b"])):
        paths = [str(top / name) for name in names]
        said = wanted("mkdir", options, *paths).replace("mkdir: ", "")
        assert cli("mkdir", options, *paths).out == said


def test_no_directory_is_made_through_a_link_that_leads_nowhere(cli: Command, top: Path) -> None:
    cli.ok("ln", "-s", "nowhere", f"{top}/astray")
    (top / "astray").symlink_to("nowhere")
    for path in (f"{top}/astray", f"{top}/astray/below"):
        assert subprocess.run(["mkdir", "-p", path], capture_output=True).returncode == 1
        assert cli("mkdir", "-p", path).status == 1
    assert cli.ok("ls", str(top)) == wanted("ls", str(top)).split()


def test_rmdir_of_parents(cli: Command, top: Path) -> None:
    subprocess.run(["rmdir", "-p", "a/b/c"], cwd=top, check=True)
    found = cli("rmdir", "-p", str(top / "a" / "b" / "c"))
    assert found.status == 1 and found.err.endswith(f"'{top}': Directory not empty\n")
    assert cli.ok("ls", str(top)) == wanted("ls", str(top)).split()


def test_rmdir_leaves_what_is_not_empty(cli: Command, top: Path) -> None:
    for paths in (["a"], ["a/b/c"], ["missing"]):
        command = ["rmdir", "-p", "--ignore-fail-on-non-empty", *paths]
        status = subprocess.run(command, cwd=top, capture_output=True).returncode
        assert cli(*command[:3], *[f"{top}/{each}" for each in paths]).status == status
        assert (
            cli.ok("find", str(top), "-type", "d") == wanted("find", str(top), "-type", "d").split()
        )


def test_du_refuses_what_contradicts_itself(cli: Command, top: Path) -> None:
    for options in (["-as"], ["-sd", "1"]):
        assert subprocess.run(["du", *options, str(top)], capture_output=True).returncode == 1
        assert cli("du", *options, str(top)).status == 2
    assert cli("du", "-sd", "0", str(top)).status == 0


@pytest.mark.parametrize(
    ("target", "link"),
    [
        ("file", "made"),
        ("file", "a/b/made"),
        ("a/b", "a/made"),
        ("a/b/../b/c", "made"),
        ("missing", "a/made"),
        ("link", "a/made"),
        ("file", "to-a/made"),
        ("file", "a"),
        ("a/b/c", "a/b/made"),
        ("a", "a/b/made"),
    ],
)
def test_links_as_seen_from_where_they_are(
    cli: Command, cluster: Cluster, top: Path, target: str, link: str
) -> None:
    (top / "to-a").symlink_to("a")
    cli.ok("ln", "-s", "a", f"{top}/to-a")
    subprocess.run(["ln", "-sr", str(top / target), str(top / link)], check=True)
    cli.ok("ln", "-sr", f"{top}/{target}", f"{top}/{link}")
    made = top / link if (top / link).is_symlink() else top / link / Path(target).name
    with memfs.connect(cluster.url) as fs:
        assert fs.readlink(str(made)) == str(made.readlink())
    assert "-r needs -s" in cli("ln", "-r", f"{top}/file", f"{top}/hard").err


def test_df(cli: Command, cluster: Cluster, top: Path) -> None:
    header, row = cli.ok("df", "-T", str(top))
    assert header.split()[1] == "Type" and row.split()[1] == "memfs"
    header, row = cli.ok("df", "-i", "-T")
    assert header.split() == ["Filesystem", "Type", "Inodes", "IUsed", "IFree", "IUse%"]
    with memfs.connect(cluster.url) as fs:
        assert row.split()[2:] == ["-", str(fs.statvfs().f_files), "-", "-"]
    assert cli.fails("df", "/gone") == ["memfs: cannot access '/gone': No such file or directory"]


@pytest.mark.parametrize(
    "operands",
    [["top"], ["top/d/one", "top/two"], ["top", "top"], ["top", "top/d"], ["top/two", "top/d"]],
    ids=" ".join,
)
@pytest.mark.parametrize("flag", ["-c", "-cl"])
def test_du_counts_a_file_once(
    cli: Command, cluster: Cluster, tmp_path: Path, operands: list[str], flag: str
) -> None:
    """Directories have no size of their own here, so the files and the sum are compared."""
    top = tmp_path / "top"
    (top / "d").mkdir(parents=True)
    (top / "d" / "one").write_bytes(bytes(1000))
    (top / "two").hardlink_to(top / "d" / "one")
    (top / "d" / "other").write_bytes(bytes(30))
    with memfs.connect(cluster.url) as fs:
        fs.makedirs(str(tmp_path), exist_ok=True)
        fs.put(top, str(top), preserve=True)
    paths = [str(tmp_path / each) for each in operands]
    theirs = wanted("du", "-ab", flag, *paths).splitlines()
    ours = cli.ok("du", "-a", flag, *paths)
    assert sizes_of_files(ours) == sizes_of_files(theirs)
    if flag == "-c":
        assert ours[-1] == f"{sum(sizes_of_files(theirs))}\ttotal"


def sizes_of_files(lines: list[str]) -> list[int]:
    """In order; of files with several names, whichever was met first."""
    names = ("one", "two", "other")
    shown = (line.split("\t") for line in lines)
    return sorted(int(size) for size, path in shown if path.rpartition("/")[2] in names)


def test_checksums(cli: Command, top: Path) -> None:
    path = top / "file"
    for algorithm in ("md5", "sha1", "sha256", "sha512"):
        ours = cli("checksum", "-a", algorithm, str(path), str(top / "empty")).out
        assert ours == wanted(f"{algorithm}sum", str(path), str(top / "empty"))
    assert cli.ok("checksum", str(path)) == [f"{crc32c(path.read_bytes()):08x}  {path}"]
    cli.ok("truncate", "-s", "9M", str(path))
    content = path.read_bytes() + bytes(9 * (1 << 20) - path.stat().st_size)
    assert cli.ok("checksum", str(path)) == [f"{crc32c(content):08x}  {path}"]
    (line,) = cli.ok("checksum", "--json", "-a", "sha256", str(path))
    assert json.loads(line)["checksum"] == hashlib.sha256(content).hexdigest()
    assert cli.fails("checksum", str(top)) == [f"memfs: cannot read '{top}': Is a directory"]


def test_setrep(cli: Command, top: Path) -> None:
    cli.ok("setrep", "1", str(top / "file"))
    assert cli.ok("stat", "-c", "%r", str(top / "file")) == ["1"]
    assert "omitting directory" in cli.fails("setrep", "3", str(top))[0]
    cli.ok("setrep", "-R", "3", str(top))
    assert cli.ok("stat", "-c", "%r", str(top / "file"), str(top / "lines")) == ["3", "3"]


def test_json(cli: Command, top: Path, tmp_path: Path) -> None:
    (line,) = cli.ok("mkdir", "--json", f"{top}/new")
    assert json.loads(line) == {"created": f"{top}/new"}
    (line,) = cli.ok("rm", "-r", "--json", f"{top}/new")
    assert json.loads(line) == {"removed": f"{top}/new", "kind": "directory"}
    for act, source, target in (
        ("cp", f"{top}/file", f"{top}/copy"),
        ("put", str(top / "file"), f"{top}/copy"),
        ("get", f"{top}/file", str(tmp_path / "copy")),
    ):
        (line,) = cli.ok(act, "--json", source, target)
        found = json.loads(line)
        assert (found["source"], found["target"], found["files"]) == (source, target, 1)
        assert (found["bytes"], found["failures"]) == (256 * 20, [])
    assert {"kind": "directory"}.items() <= json.loads(
        cli.ok("tree", "--json", str(top))[0]
    ).items()
    (line,) = cli.ok("cluster", "wait", "--json")
    assert json.loads(line) == {"healthy": True, "reason": ""}


def as_stranger(*command: str) -> tuple[int, str, str]:
    """What coreutils say to somebody who owns nothing."""
    nobody = pwd.getpwnam("nobody")
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        user=nobody.pw_uid,
        group=nobody.pw_gid,
        extra_groups=[],
        env=os.environ | {"LC_ALL": "C"},
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "options", ["", "-l", "-R", "-lR", "-F", "-d", "two", "two -R", "two -l", "-S", "-1"]
)
def test_ls_of_what_may_not_be_read_or_searched(
    cli: Command, cluster: Cluster, options: str
) -> None:
    """No title without a directory, ``?`` for what is not known, status and messages."""
    with tempfile.TemporaryDirectory(prefix="memfs-ls-") as name:
        top = Path(name)
        for directory in ("closed/in", "names/sub", "open/closed", "open/names"):
            (top / directory).mkdir(parents=True)
        for file in ("names/file", "open/file", "open/names/a"):
            (top / file).write_bytes(b"12345")
        (top / "names" / "link").symlink_to("file")
        for path, mode in (("closed", 0o700), ("open/closed", 0o700), ("names", 0o744)):
            (top / path).chmod(mode)
        (top / "open" / "names").chmod(0o744)
        top.chmod(0o755)
        with memfs.connect(cluster.url) as fs:
            fs.makedirs(str(top.parent), exist_ok=True)
            fs.put(top, str(top), preserve=True)
        words = options.split()
        operands = [str(top / each) for each in ("closed", "names", "open")]
        operands = operands if "two" in words else [str(top / "names")]
        flags = [word for word in words if word != "two"]
        status, out, err = as_stranger("ls", *flags, *operands)
        mine = cli("ls", "--user", "nobody", *flags, *operands)
        assert mine.status == (1 if status else 0)
        assert shape(mine.out) == shape(out)
        assert sorted(mine.err.splitlines()) == sorted(err.replace("ls: ", "memfs: ").splitlines())


def shape(listing: str) -> list[str]:
    """A listing without what differs on purpose: totals, times, sizes of directories."""
    lines = []
    for line in listing.splitlines():
        found = re.fullmatch(r"([-dl][-rwxst]{9}) +\d+ (\w+) +(\w+) +(\d+) .{12} (.*)", line)
        if found:
            size = "" if found[1].startswith("d") else found[4]
            line = " ".join((found[1], found[2], found[3], size, found[5]))
        if not line.startswith("total "):
            lines.append(" ".join(line.split()))
    return lines
