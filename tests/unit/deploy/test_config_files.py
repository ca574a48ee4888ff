"""The annotated files of ``deploy/config`` are what the program prints, and mean its defaults."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import pytest

from memfs.cli.fields import Kind, annotated, descriptions
from memfs.cli.main import run
from memfs.cli.settings import KINDS
from memfs.config import load

FILES = Path(__file__).parents[3] / "deploy" / "config"
TABLES = pytest.mark.parametrize(("table", "kind"), KINDS.items())


@TABLES
def test_file_is_what_the_command_prints(
    table: str, kind: Kind, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["config", table, "--defaults"]) == 0
    printed = capsys.readouterr().out
    assert (FILES / f"{table}.toml").read_text() == printed, "print it anew"


@TABLES
def test_file_means_the_defaults(table: str, kind: Kind) -> None:
    assert load(kind, path=str(FILES / f"{table}.toml"), environ={}) == load(kind, environ={})


@TABLES
def test_file_names_every_setting(table: str, kind: Kind) -> None:
    given = tomllib.loads((FILES / f"{table}.toml").read_text())[table]
    depend = {each.name for each in dataclasses.fields(kind) if each.default is dataclasses.MISSING}
    assert given.keys() | depend == descriptions(kind).keys()
    assert not given.keys() & depend
    lines = (FILES / f"{table}.toml").read_text().splitlines()
    assert all(f"# {name} =" in lines for name in depend)


@TABLES
def test_lines_are_short_and_each_setting_has_its_comment(table: str, kind: Kind) -> None:
    blocks = annotated(kind, table).split(f"[{table}]\n\n")[1].split("\n\n")
    assert len(blocks) == len(dataclasses.fields(kind))
    assert all(block.startswith("# ") for block in blocks)
    assert max(len(line) for block in blocks for line in block.splitlines()) <= 100


def test_all_tables_make_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "--defaults"]) == 0
    file = tmp_path / "memfs.toml"
    file.write_text(capsys.readouterr().out)
    assert tomllib.loads(file.read_text()).keys() == KINDS.keys()
    for kind in KINDS.values():
        assert load(kind, path=str(file), environ={}) == load(kind, environ={})


def test_sizes_and_times_have_units() -> None:
    assert 'block_size = "4MiB"' in (FILES / "node.toml").read_text()
    assert 'scrub_seconds = "24h"' in (FILES / "node.toml").read_text()


def test_defaults_are_no_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "--defaults", "--json"]) == 2
    assert "not JSON" in capsys.readouterr().err
