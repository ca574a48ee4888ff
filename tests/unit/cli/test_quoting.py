"""Names in quotes, beside GNU's ls, and as a shell reads them."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from memfs.cli.quoting import shell_quoted

CHARACTERS = [*"aZ09 !\"#$%&'()*+,-.:;<=>?@[\\]^_`{|}~\n\t\x01\x7fé日", "\udcff"]


def names() -> list[str]:
    dice = random.Random(1)
    short = {*CHARACTERS, *(one + other for one in CHARACTERS for other in "a'# ~{")}
    long = {"".join(dice.choices(CHARACTERS, k=dice.randint(3, 9))) for _ in range(500)}
    return sorted((short | long) - {".", ".."})


def is_usual(name: str) -> bool:
    """GNU has several ways of writing the others: those with a quote and something hidden."""
    return "'" not in name or name.isprintable()


@pytest.mark.parametrize("always", [True, False])
def test_as_ls(tmp_path: Path, always: bool) -> None:
    known = [name for name in names() if is_usual(name)]
    for name in known:
        (tmp_path / name).touch()
    style = "shell-escape-always" if always else "shell-escape"
    listed = subprocess.run(
        ["ls", "-Ud", "--zero", f"--quoting-style={style}", "--", *known],
        cwd=tmp_path,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        check=True,
    ).stdout.decode("utf-8", "surrogateescape")
    assert [shell_quoted(name, always) for name in known] == listed.split("\0")[:-1]


@pytest.mark.parametrize("always", [True, False])
def test_a_shell_reads_the_name(always: bool) -> None:
    words = " ".join(shell_quoted(name, always) for name in names())
    told = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {words}".encode("utf-8", "surrogateescape")],
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        check=True,
    ).stdout.decode("utf-8", "surrogateescape")
    assert told.split("\0")[:-1] == names()


def test_what_cannot_be_seen_is_escaped() -> None:
    assert shell_quoted("a\u202eb") == "'a'$'\\342\\200\\256''b'"
    assert shell_quoted("") == "''" == shell_quoted("", always=False)
