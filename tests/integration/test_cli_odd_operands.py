"""Operands that nobody means: a sentence and coreutils' exit code, and nothing is done."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cli_cluster import Cluster, Command, execute

NOT_UTF8 = os.fsdecode(b"\xff")


@pytest.mark.parametrize(
    "words",
    [
        ("sync", "-n", "--exclude=*", "", "memfs:/x"),
        ("sync", "-n", "--exclude=*", "memfs:/", ""),
        ("get", "/tmp", ""),
        ("get", "-t", "", "/tmp"),
        ("fuse", "mount", "/", ""),
        ("fuse", "umount", ""),
        ("keygen", ""),
        ("certs", "create-ca", "--certs-dir", ""),
        ("token", "renew", ""),
        ("user", "add", "ann", "--key", ""),
    ],
    ids=" ".join,
)
def test_the_empty_path_is_no_directory(
    cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    found = cli(*words)
    assert found.status == 2 and "an empty path" in found.err
    assert list(tmp_path.iterdir()) == []


def test_local_names_need_not_be_utf8(cli: Command, home: str, tmp_path: Path) -> None:
    cli.ok("touch", f"{home}/file")
    cli.ok("get", f"{home}/file", str(tmp_path / NOT_UTF8))
    assert (tmp_path / NOT_UTF8).is_file()


def test_a_symlink_has_to_be_text(cli: Command, home: str) -> None:
    (error,) = cli.fails("ln", "-s", NOT_UTF8, f"{home}/link")
    assert error.endswith("the text of a symlink has to be valid Unicode")
    assert cli.ok("ls", home) == []


def test_the_root_is_not_removed(cli: Command, home: str) -> None:
    cli.ok("mkdir", f"{home}/sub")
    (error,) = cli.fails("rmdir", "/")
    assert error.startswith("memfs: failed to remove '/': ")


@pytest.mark.parametrize("host", ["a..b", "a" * 64, NOT_UTF8])
def test_what_cannot_be_looked_up_is_no_address(cluster: Cluster, host: str) -> None:
    done = execute(f"memfs://{host}:10500", ["ls"])
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(b"memfs: ") and line.endswith(b"write host:port")


@pytest.mark.parametrize(
    "words",
    [("touch", "-r"), ("truncate", "-r"), ("chmod", "--reference"), ("fsck",)],
    ids=" ".join,
)
def test_a_missing_file_is_said_in_the_same_words(cli: Command, words: tuple[str, ...]) -> None:
    operands = () if words == ("fsck",) else ("/tmp",)
    (error,) = cli.fails(*words, "/missing", *operands)
    assert error.endswith(" '/missing': No such file or directory")


@pytest.mark.parametrize(
    "words",
    [
        ("token", "renew", "file/below"),
        ("token", "renew", "odd"),
        ("sign", "--key", "odd", "/tmp"),
        ("verify", "--key", "file/below", "/tmp"),
        ("certs", "create-ca", "--certs-dir", "file"),
    ],
    ids=" ".join,
)
def test_no_error_shows_python(
    cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("odd").write_bytes(b"\xff")
    Path("odd").chmod(0o600)
    found = cli(*words)
    assert found.status in (1, 2)
    assert "Errno" not in found.err and "codec" not in found.err


@pytest.mark.parametrize("act", ["put", "get", "cp", "sync"])
@pytest.mark.parametrize("ending", ["", "/"])
def test_no_copy_makes_parents(
    cli: Command, home: str, tmp_path: Path, act: str, ending: str
) -> None:
    """As cp -r and rsync, whatever is copied."""
    here = tmp_path / "tree"
    here.mkdir()
    (here / "file").touch()
    cli.ok("put", "-r", str(here), f"{home}/tree")
    source = str(here) if act in ("put", "sync") else f"{home}/tree"
    target = f"{tmp_path if act == 'get' else home}/missing/new{ending}"
    words = ["sync"] if act == "sync" else [act, "-r"]
    errors = cli.fails(*words, source, f"memfs:{target}" if act == "sync" else target)
    assert errors[0].endswith(": No such file or directory")
    assert cli.ok("ls", home) == ["tree"] and not (tmp_path / "missing").exists()


@pytest.mark.parametrize(
    ("command", "operand", "kind"),
    [
        ("chown", "a:b:c", "group"),
        ("chown", "::", "group"),
        ("chown", "a\nb", "user"),
        ("chown", NOT_UTF8, "user"),
        ("chown", "+", "user"),
        ("chown", "+ann", "user"),
        ("chown", "4294967295", "user"),
        ("chown", "ann:4294967296", "group"),
        ("chown", "9" * 5000, "user"),
        ("chgrp", "a:b", "group"),
        ("chgrp", ":0", "group"),
        ("chgrp", "+x", "group"),
    ],
)
def test_what_is_no_owner_changes_nothing(
    cli: Command, home: str, command: str, operand: str, kind: str
) -> None:
    cli.ok("touch", f"{home}/file")
    before = cli.ok("stat", "-c", "%U %G", f"{home}/file")
    found = cli(command, operand, f"{home}/file")
    assert found.status == 2 and found.err.startswith(f"memfs: invalid {kind}: ")
    assert cli.ok("stat", "-c", "%U %G", f"{home}/file") == before


def test_a_plus_says_that_an_owner_is_a_number(cli: Command, home: str) -> None:
    cli.ok("touch", f"{home}/file")
    cli.ok("chown", "+7:+08", f"{home}/file")
    assert cli.ok("stat", "-c", "%U %G", f"{home}/file") == ["7 8"]
    cli.ok("chgrp", "+9", f"{home}/file")
    assert cli.ok("stat", "-c", "%U %G", f"{home}/file") == ["7 9"]


def test_no_file_is_lost_to_a_link_that_leads_to_itself(
    cli: Command, home: str, tmp_path: Path
) -> None:
    (tmp_path / "local").write_text("kept")
    cli.ok("put", str(tmp_path / "local"), f"{home}/file")
    cli.ok("ln", "-s", "file", f"{home}/link")
    cli.ok("ln", "-s", ".", f"{home}/here")
    for target, link in (
        ("file", "file"),
        (f"{home}/file", "file"),
        ("link", "file"),
        ("file", "here/file"),
    ):
        (error,) = cli.fails("ln", "-sf", target, f"{home}/{link}")
        assert error.endswith("it is the same file")
    (error,) = cli.fails("mv", f"{home}/link", f"{home}/file")
    assert error.endswith(" are the same file")
    assert cli.ok("cat", f"{home}/file") == ["kept"]
    cli.ok("mv", f"{home}/file", f"{home}/link")  # this way round nothing is lost
    assert cli.ok("cat", f"{home}/link") == ["kept"]
    cli.ok("ln", "-sf", "missing", f"{home}/link")


def test_mv_keeps_what_it_has_just_moved(cli: Command, home: str) -> None:
    cli.ok("mkdir", f"{home}/a", f"{home}/b", f"{home}/to")
    cli.ok("touch", f"{home}/a/x", f"{home}/b/x")
    (error,) = cli.fails("mv", f"{home}/a/x", f"{home}/b/x", f"{home}/to")
    assert error == (f"memfs: will not overwrite just-created '{home}/to/x' with '{home}/b/x'")
    assert cli.ok("ls", f"{home}/b", f"{home}/to")[1] == "x"
    cli.ok("mv", "-n", f"{home}/b/x", f"{home}/to")
