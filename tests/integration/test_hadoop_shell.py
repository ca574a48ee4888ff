"""Hadoop's own shell, every command of it that makes sense, compared with the native client."""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hadoop_served import SERVICE, USER, Site, site

from tests.support.hadoop import OLDER, Ran, Shell

NAMES = [
    "plain",
    "a b",
    "a+b",
    "50%",
    "per%20cent",
    "n#m",
    "q?u=e&s",
    "qu\"o'te",
    "ümläut",
    "日本語",
    "🙂",
    "a;b,c=d",
    "~$!(x)@",
]
_numbers = itertools.count()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("nodes")) as served:
        yield served


@pytest.fixture(scope="module")
def shell(served: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with Shell(tmp_path_factory.mktemp("shell"), served.settings) as shell:
        yield shell


@pytest.fixture
def top(served: Site) -> str:
    """An empty directory."""
    path = f"/shell/{next(_numbers)}"
    served.native.makedirs(path)
    return path


@pytest.fixture
def at(served: Site, top: str) -> str:
    """Its address."""
    return f"webhdfs://{SERVICE}{top}"


def ok(shell: Shell, *arguments: str, given: bytes = b"") -> str:
    """The output of a command that succeeds."""
    return done(shell, *arguments, given=given).text


def done(shell: Shell, *arguments: str, given: bytes = b"") -> Ran:
    ran = shell.run(*arguments, given=given)
    assert ran.status == 0, (arguments, ran)
    return ran


def escaped(name: str) -> str:
    """A name that the shell must not take for a pattern."""
    return "".join(f"\\{letter}" if letter in "?*[]{}\\" else letter for letter in name)


# --- names and content ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_names(served: Site, shell: Shell, top: str, at: str, tmp_path: Path, name: str) -> None:
    data = os.urandom(100_000)
    (tmp_path / "in").write_bytes(data)
    remote, folder = f"{at}/{escaped(name)}", f"{at}/d {escaped(name)}"
    ok(shell, "-put", str(tmp_path / "in"), remote)
    assert served.native.listdir(top) == [name]
    assert served.native.read_bytes(f"{top}/{name}") == data
    assert done(shell, "-cat", remote).out == data
    ok(shell, "-get", remote, str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == data
    assert f"{at}/{name}" in ok(shell, "-ls", at)
    assert ok(shell, "-stat", "%b %n", remote) == f"100000 {name}\n"
    ok(shell, "-mkdir", folder)
    ok(shell, "-mv", remote, folder)
    assert served.native.listdir(f"{top}/d {name}") == [name]
    ok(shell, "-cp", f"{folder}/{escaped(name)}", remote)
    assert served.native.read_bytes(f"{top}/{name}") == data
    ok(shell, "-rm", "-r", "-skipTrash", folder, remote)
    assert served.native.listdir(top) == []


@pytest.mark.parametrize("size", [0, 1, 4 << 20, (9 << 20) + 7])
def test_sizes(served: Site, shell: Shell, top: str, at: str, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "in").write_bytes(data)
    ok(shell, "-put", str(tmp_path / "in"), f"{at}/f")
    assert served.native.read_bytes(f"{top}/f") == data
    ok(shell, "-get", f"{at}/f", str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == data
    assert done(shell, "-tail", f"{at}/f").out == data[-1024:]
    assert done(shell, "-head", f"{at}/f").out == data[:1024]


def test_writing(served: Site, shell: Shell, top: str, at: str, tmp_path: Path) -> None:
    ok(shell, "-put", "-", f"{at}/f", given=b"one\n")
    assert served.native.read_bytes(f"{top}/f") == b"one\n"
    again = shell.run("-put", "-", f"{at}/f", given=b"x")
    assert again.status == 1 and b"File exists" in again.err
    (tmp_path / "more").write_bytes(b"two\n")
    ok(shell, "-appendToFile", str(tmp_path / "more"), f"{at}/f")
    assert served.native.read_bytes(f"{top}/f") == b"one\ntwo\n"
    ok(shell, "-truncate", "-w", "5", f"{at}/f")
    assert served.native.read_bytes(f"{top}/f") == b"one\nt"
    ok(shell, "-put", "-f", str(tmp_path / "more"), f"{at}/f")
    assert ok(shell, "-text", f"{at}/f") == "two\n"
    ok(shell, "-touchz", f"{at}/empty")
    assert served.native.stat(f"{top}/empty").st_size == 0
    served.native.write_bytes(f"{top}/g", b"three\n")
    ok(shell, "-getmerge", f"{at}/[fg]", str(tmp_path / "merged"))
    assert (tmp_path / "merged").read_bytes() == b"two\nthree\n"
    served.native.write_bytes(f"{top}/h", b"four\n")
    ok(shell, "-concat", f"{at}/f", f"{at}/g", f"{at}/h")
    assert served.native.read_bytes(f"{top}/f") == b"two\nthree\nfour\n"
    assert served.native.listdir(top) == ["empty", "f"]


def test_trees_by_several_threads(
    served: Site, shell: Shell, top: str, at: str, tmp_path: Path
) -> None:
    source = tmp_path / "tree"
    for number in range(30):
        path = source / f"d {number % 3}" / f"f{number}+ü"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(number * 1000))
    ok(shell, "-copyFromLocal", "-t", "4", str(source), at)
    ok(shell, "-copyToLocal", "-t", "4", f"{at}/tree", str(tmp_path / "back"))
    ok(shell, "-cp", f"{at}/tree", f"{at}/copy")
    for path in source.rglob("*"):
        if path.is_file():
            name = path.relative_to(source)
            assert (tmp_path / "back" / name).read_bytes() == path.read_bytes()
            for each in ("tree", "copy"):
                assert served.native.read_bytes(f"{top}/{each}/{name}") == path.read_bytes()
    listed = ok(shell, "-ls", "-R", at)
    assert sum(line.startswith("-") for line in listed.splitlines()) == 60
    found = ok(shell, "-find", at, "-name", "f7*").splitlines()
    assert sorted(found) == [f"{at}/{each}/d 1/f7+ü" for each in ("copy", "tree")]


# --- what is known about files -------------------------------------------------------------------


def test_attributes(served: Site, shell: Shell, top: str, at: str) -> None:
    served.native.write_bytes(f"{top}/f", b"x" * 1000)
    ok(shell, "-chmod", "640", f"{at}/f")
    ok(shell, "-chown", "bob:staff", f"{at}/f")
    ok(shell, "-chgrp", "users", f"{at}/f")
    ok(shell, "-setrep", "-w", "1", f"{at}/f")
    ok(shell, "-touch", "-m", "-t", "20200102:030405", f"{at}/f")
    found = served.native.stat(f"{top}/f")
    assert stat.S_IMODE(found.st_mode) == 0o640
    assert ok(shell, "-stat", "%a %u %g %r %b %F", f"{at}/f") == (
        "640 bob users 1 1000 regular file\n"
    )
    assert ok(shell, "-stat", "%Y", f"{at}/f").strip() == str(int(found.st_mtime * 1000))
    assert found.replication == 1
    ok(shell, "-chmod", "-R", "u+rwx,g-w,o-rwx", at)
    assert stat.S_IMODE(served.native.stat(f"{top}/f").st_mode) == 0o740


def test_extended_attributes(served: Site, shell: Shell, top: str, at: str) -> None:
    served.native.write_bytes(f"{top}/f", b"")
    ok(shell, "-setfattr", "-n", "user.colour", "-v", "grün", f"{at}/f")
    assert served.native.getxattr(f"{top}/f", "user.colour") == "grün".encode()
    assert 'user.colour="grün"' in ok(shell, "-getfattr", "-d", f"{at}/f")
    assert "0x67" in ok(shell, "-getfattr", "-n", "user.colour", "-e", "hex", f"{at}/f")
    ok(shell, "-setfattr", "-x", "user.colour", f"{at}/f")
    assert served.native.listxattr(f"{top}/f") == []
    assert shell.run("-getfattr", "-n", "user.colour", f"{at}/f").status == 1


def test_access_control_lists(served: Site, shell: Shell, top: str, at: str) -> None:
    ok(shell, "-setfacl", "-m", "user:bob:rw-,default:user:ann:r-x", at)
    text = ok(shell, "-getfacl", at)
    assert "user:bob:rw-" in text and "default:user:ann:r-x" in text
    assert "bob" in str(served.native.get_acl(top))
    ok(shell, "-mkdir", f"{at}/below")
    assert "user:ann:r-x" in ok(shell, "-getfacl", f"{at}/below")
    assert "drwxrwxr-x+" in ok(shell, "-ls", "-d", at)
    ok(shell, "-setfacl", "-x", "user:bob", at)
    assert "bob" not in ok(shell, "-getfacl", at)
    ok(shell, "-setfacl", "-b", at)
    assert "ann" not in ok(shell, "-getfacl", at)


def test_sums(served: Site, shell: Shell, top: str, at: str) -> None:
    ok(shell, "-mkdir", "-p", f"{at}/a/b")
    served.native.write_bytes(f"{top}/a/f", b"1" * 1000, replication=2)
    served.native.write_bytes(f"{top}/a/b/g", b"2" * 500, replication=1)
    assert ok(shell, "-du", "-s", f"{at}/a").split()[:2] == ["1500", "2500"]
    assert ok(shell, "-count", f"{at}/a").split()[:3] == ["2", "2", "1500"]
    assert ok(shell, "-count", "-q", f"{at}/a").split()[:4] == ["none", "inf", "none", "inf"]
    served.native.set_quota(f"{top}/a", names=10)
    assert ok(shell, "-count", "-q", f"{at}/a").split()[:2] == ["10", "6"]
    status = served.native.statvfs()
    assert int(ok(shell, "-df", at).splitlines()[1].split()[1]) == status.f_frsize * status.f_blocks
    sums = {
        ok(shell, "-checksum", f"{at}/a/f").split()[-1],
        ok(shell, "-checksum", f"{at}/a/b/g").split()[-1],
    }
    served.native.write_bytes(f"{top}/same", b"1" * 1000)
    assert ok(shell, "-checksum", f"{at}/same").split()[-1] in sums and len(sums) == 2


def test_questions(served: Site, shell: Shell, top: str, at: str) -> None:
    served.native.write_bytes(f"{top}/f", b"x")
    served.native.write_bytes(f"{top}/z", b"")
    wanted = {"-e f": 0, "-f f": 0, "-d f": 1, "-s f": 0, "-s z": 1, "-z z": 0, "-e no": 1}
    for question, status in wanted.items():
        flag, name = question.split()
        assert shell.run("-test", flag, f"{at}/{name}").status == status, question
    assert shell.run("-test", "-d", at).status == 0
    missing = shell.run("-cat", f"{at}/no")
    assert missing.status == 1 and b"No such file or directory" in missing.err
    assert b"Is a directory" in shell.run("-cat", at).err
    assert b"not empty" in shell.run("-rmdir", at).err
    assert shell.run("-mkdir", f"{at}/f").status == 1
    assert shell.run("-mkdir", f"{at}/x/y").status == 1
    assert shell.run("-mv", f"{at}/no", f"{at}/other").status == 1


# --- removal -------------------------------------------------------------------------------------


def test_removal(served: Site, shell: Shell, top: str, at: str) -> None:
    served.native.makedirs(f"{top}/d/e")
    served.native.write_bytes(f"{top}/f", b"x")
    assert shell.run("-rm", f"{at}/d").status == 1
    ok(shell, "-rm", f"{at}/f")
    ok(shell, "-rmdir", f"{at}/d/e")
    ok(shell, "-rm", "-r", f"{at}/d")
    assert served.native.listdir(top) == []
    assert shell.run("-rm", f"{at}/f").status == 1
    ok(shell, "-rm", "-f", f"{at}/f")


def test_names_with_a_colon(served: Site, shell: Shell, top: str, at: str) -> None:
    served.native.write_bytes(f"{top}/12:30", b"x")
    served.native.write_bytes(f"{top}/readable", b"x")
    for command in (("-ls", at), ("-ls", "-R", at), ("-find", at)):
        text = ok(shell, *command)
        assert "readable" in text and "12:30" not in text
    assert ok(shell, "-cat", f"{at}/*") == "x"
    ok(shell, "-rm", "-r", "-skipTrash", at)
    assert not served.native.exists(top)


def test_snapshots_are_refused_in_one_line(served: Site, shell: Shell, top: str, at: str) -> None:
    for command in ("-createSnapshot", "-deleteSnapshot"):
        ran = shell.run(command, at, "name")
        assert ran.status == 1
        (line,) = ran.err.decode().splitlines()
        assert "snapshots are not supported" in line


def test_trash(served: Site, shell: Shell, top: str, at: str) -> None:
    trash = "-Dfs.trash.interval=60"
    default = f"-Dfs.defaultFS=webhdfs://{SERVICE}"
    served.native.write_bytes(f"{top}/a b", b"kept")
    ok(shell, trash, default, "-rm", f"{at}/a b")
    kept = f"/user/{USER}/.Trash/Current{top}/a b"
    assert not served.native.exists(f"{top}/a b")
    assert served.native.read_bytes(kept) == b"kept"
    ok(shell, trash, default, "-expunge", "-immediate", "-fs", f"webhdfs://{SERVICE}")
    assert not served.native.exists(kept)
    served.native.write_bytes(f"{top}/g", b"x")
    ok(shell, trash, default, "-rm", "-skipTrash", f"{at}/g")
    assert not served.native.exists(f"{top}/g")


# --- gateways and versions -----------------------------------------------------------------------


def test_the_other_gateway_answers(
    served: Site, shell: Shell, top: str, at: str, tmp_path: Path
) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "in").write_bytes(data)
    for gateway in served.gateways:
        gateway.end(crash=True)
        try:
            ok(shell, "-put", "-f", str(tmp_path / "in"), f"{at}/f")
            assert done(shell, "-cat", f"{at}/f").out == data
        finally:
            gateway.start()
    assert served.native.read_bytes(f"{top}/f") == data


def test_an_older_hadoop(served: Site, top: str, at: str, tmp_path: Path) -> None:
    data = os.urandom(1_000_000)
    (tmp_path / "in").write_bytes(data)
    with Shell(tmp_path / "shell", served.settings, version=OLDER) as shell:
        for name in ("plain", "a b+c%ü🙂"):
            ok(shell, "-put", str(tmp_path / "in"), f"{at}/{name}")
            assert served.native.read_bytes(f"{top}/{name}") == data
            assert done(shell, "-cat", f"{at}/{name}").out == data
        assert ok(shell, "-ls", "-R", at).count("1000000") == 2
        ok(shell, "-mv", f"{at}/plain", f"{at}/moved")
        assert "COMPOSITE" not in ok(shell, "-checksum", f"{at}/moved")
        assert ok(shell, "-count", at).split()[:3] == ["1", "2", "2000000"]
        ok(shell, "-rm", "-r", f"{at}/moved")
    assert served.native.listdir(top) == ["a b+c%ü🙂"]
