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
