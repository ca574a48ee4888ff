"""Modes as chmod reads them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memfs.cli.files.looking.symbolic_modes import parse_mode


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        ("644", 0o777, 0o644),
        ("1777", 0, 0o1777),
        ("0", 0o777, 0),
        ("u+x", 0o644, 0o744),
        ("a=r", 0o777, 0o444),
        ("go-rwx", 0o755, 0o700),
        ("u=rwx,g=rx,o=", 0, 0o750),
        ("u+x,u-w", 0o600, 0o500),
        ("u=g", 0o640, 0o440),
        ("g+u", 0o700, 0o770),
        ("o=u", 0o751, 0o757),
        ("+x", 0o644, 0o755),
        ("+w", 0o444, 0o644),
        ("-x", 0o755, 0o644),
        ("=", 0o755, 0),
        ("a+w", 0o444, 0o666),
        ("u+s", 0o755, 0o4755),
        ("g+s", 0o755, 0o2755),
        ("+t", 0o755, 0o1755),
        ("-t", 0o1755, 0o755),
        ("u=rw", 0o4755, 0o655),
        ("u+r-w+x", 0o200, 0o500),
        ("ug=rw", 0o777, 0o667),
    ],
)
def test_files(text: str, before: int, after: int) -> None:
    assert parse_mode(text)(before, False) == after


@pytest.mark.parametrize(
    ("text", "before", "directory", "after"),
    [
        ("a+X", 0o644, False, 0o644),
        ("a+X", 0o744, False, 0o755),
        ("a+X", 0o644, True, 0o755),
        ("u=rwX,go=rX", 0o600, False, 0o644),
        ("u=rwX,go=rX", 0o700, True, 0o755),
        ("u=rwx", 0o4755, True, 0o4755),
        ("g=rx", 0o2755, True, 0o2755),
        ("g=rx", 0o2755, False, 0o755),
        ("755", 0o6700, True, 0o6755),
        ("0755", 0o6700, True, 0o6755),
        ("2755", 0o4700, True, 0o6755),
        ("00755", 0o6700, True, 0o755),
        ("=755", 0o6700, True, 0o755),
        ("755", 0o6700, False, 0o755),
        ("+111,-2", 0o666, False, 0o775),
    ],
)
def test_directories(text: str, before: int, directory: bool, after: int) -> None:
    assert parse_mode(text)(before, directory) == after


def test_umask_holds_back_only_where_no_class_is_named() -> None:
    assert parse_mode("+w", umask=0o027)(0, False) == 0o200
    assert parse_mode("a+w", umask=0o027)(0, False) == 0o222


@pytest.mark.parametrize("text", ["", "8", "12345", "u", "rwx", "u+q", "u+x,", "+rw,z=1", "u+gx"])
def test_invalid(text: str) -> None:
    with pytest.raises(ValueError, match="invalid mode"):
        parse_mode(text)


classes = st.text("ugoa", max_size=3)
letters = st.text("rwxXst", max_size=4)


@given(classes, st.sampled_from("+-="), letters, st.integers(0, 0o7777), st.booleans())
def test_twice_is_once(who: str, act: str, what: str, mode: int, directory: bool) -> None:
    change = parse_mode(f"{who}{act}{what}")
    once = change(mode, directory)
    assert 0 <= once <= 0o7777
    if "X" not in what:  # which looks at the bits it may set
        assert change(once, directory) == once


TEXTS = [
    *("755", "0755", "2755", "00755", "07777", "7777", "0", "=2755", "+111", "-022", "=", "a="),
    *("u=g", "g=u,o+u", "u+s,g+s,+t", "a=rX", "ug+rw,o-rwx", "u+rwX-w", "o+t", "g+S", "x", "8"),
    *("77777", "u=755", "u+1", "=7,+70", "g-s", "o=", "u=rwx,go=", "", ",", "u", "+", "-x+X", "=u"),
]


@pytest.mark.parametrize("text", TEXTS)
def test_as_chmod(text: str, tmp_path: Path) -> None:
    """Each beside the command, on files and directories of several modes."""
    for before in (0o0, 0o644, 0o751, 0o6755, 0o7000):
        for name, directory in (("file", False), ("directory", True)):
            path = tmp_path / name
            path.mkdir(exist_ok=True) if directory else path.touch()
            path.chmod(before)
            command = ["sh", "-c", f"umask 022; chmod -- {text!r} {str(path)!r}"]
            done = subprocess.run(command, capture_output=True, text=True)
            try:
                found = parse_mode(text)(before, directory)
            except ValueError:
                assert "invalid mode" in done.stderr
            else:
                assert "invalid mode" not in done.stderr
                assert oct(found) == oct(path.stat().st_mode & 0o7777), (oct(before), directory)
