"""How listings look."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memfs.cli.files.looking import columns as layout
from memfs.cli.files.looking import times
from memfs.cli.files.looking.columns import Row
from memfs.types import Attributes, FileKind, ObjectState, Residence

NOW = 1_800_000_000.0


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def attributes(
    kind: FileKind = FileKind.FILE, size: int = 0, mode: int = 0o644, **others: object
) -> Attributes:
    base = Attributes(
        5, kind, mode, 1, "ada", "users", size, int(NOW * 1e9), 0, 0, 4096, 16, 2, 1, 1
    )
    return base._replace(**others)


def test_permissions() -> None:
    assert layout.permissions(attributes()) == "-rw-r--r--"
    assert layout.permissions(attributes(FileKind.DIRECTORY, mode=0o1755)) == "drwxr-xr-t"
    assert layout.permissions(attributes(FileKind.SYMLINK, mode=0o777)) == "lrwxrwxrwx"
    assert layout.permissions(attributes(mode=0o6755)) == "-rwsr-sr-x"
    kinds = (kind for kind in FileKind if kind.special)
    assert [layout.permissions(attributes(kind))[0] for kind in kinds] == list("pcbs")
    assert layout.permissions(attributes(acl=True)) == "-rw-r--r--+"


def test_long_lines_are_aligned() -> None:
    lines = layout.long_lines(
        [
            Row("a", attributes(size=5)),
            Row("dir", attributes(FileKind.DIRECTORY, mode=0o755, links=12, owner="root")),
            Row("l", attributes(FileKind.SYMLINK, size=12345, mode=0o777), "/target"),
        ],
        NOW,
    )
    assert lines == [
        "-rw-r--r--  1 ada  users     5 Jan 15 08:00 a",
        "drwxr-xr-x 12 root users     0 Jan 15 08:00 dir",
        "lrwxrwxrwx  1 ada  users 12345 Jan 15 08:00 l -> /target",
    ]


def test_long_lines_show_states_below_mounts_alone() -> None:
    rows = [
        Row("a", attributes(size=50), residence=Residence(ObjectState.CLEAN, 50)),
        Row("b", attributes(size=50), residence=Residence(ObjectState.CLEAN, 50, 26)),
        Row("c", attributes(size=7), residence=Residence(ObjectState.DIRTY, 7, 7)),
        Row("d", attributes(FileKind.DIRECTORY), residence=Residence(ObjectState.CLEAN)),
        Row("e", attributes()),
    ]
    least: list[int] = []
    assert layout.long_lines(rows, NOW, least=least) == [
        "-rw-r--r-- 1 ada users 50 NOT_LOADED   0% Jan 15 08:00 a",
        "-rw-r--r-- 1 ada users 50 PERSISTED   52% Jan 15 08:00 b",
        "-rw-r--r-- 1 ada users  7 DIRTY      100% Jan 15 08:00 c",
        "drw-r--r-- 1 ada users  0 PERSISTED   DIR Jan 15 08:00 d",
        "-rw-r--r-- 1 ada users  0 -             - Jan 15 08:00 e",
    ]
    (line,) = layout.long_lines(rows[-1:], NOW, least=least)
    assert line == "-rw-r--r-- 1 ada users  0 Jan 15 08:00 e"
    (line,) = layout.long_lines(rows[:1], NOW, layout.Long(inodes=True))
    assert line == "5 -rw-r--r-- 1 ada users 50 NOT_LOADED 0% Jan 15 08:00 a"


def test_json_has_states_below_mounts_alone() -> None:
    residence = Residence(ObjectState.CLEAN, 50, 26)
    found = layout.described("/x/a", attributes(size=50), residence=residence)
    assert (found["state"], found["in_memory_percent"]) == ("PERSISTED", 52)
    of_directory = layout.described(
        "/x", attributes(FileKind.DIRECTORY), residence=Residence(ObjectState.DIRTY)
    )
    assert of_directory["state"] == "DIRTY" and "in_memory_percent" not in of_directory
    assert "state" not in layout.described("/a", attributes())


def test_human_sizes() -> None:
    (line,) = layout.long_lines([Row("a", attributes(size=1536))], NOW, layout.Long(human=True))
    assert " 1.5K " in line


@pytest.mark.parametrize(
    ("age", "shown"),
    [
        (0, "Jan 15 08:00"),
        (86_400 * 100, "Oct  7 08:00"),
        (86_400 * 200, "Jun 29  2026"),
        (-86_400, "Jan 16  2027"),
    ],
)
def test_times(age: int, shown: str) -> None:
    assert times.show_time(int((NOW - age) * 1e9), NOW) == shown


def test_iso_time() -> None:
    assert times.iso_time(int(NOW) * 10**9 + 7) == "2027-01-15 08:00:00.000000007 +0000"
    assert times.iso_time(-1) == "1969-12-31 23:59:59.999999999 +0000"


def test_columns_fill_downwards() -> None:
    assert layout.columns(["a", "b", "c", "d", "e"], 7) == ["a  c  e", "b  d"]
    assert layout.columns(["a", "b", "c"], 80) == ["a  b  c"]
    assert layout.columns(["long" * 10, "b"], 20) == ["long" * 10, "b"]
    assert layout.columns([], 80) == []


@given(st.lists(st.text("ab日", min_size=1, max_size=30), max_size=60), st.integers(1, 120))
def test_columns_hold_every_name_once(names: list[str], width: int) -> None:
    lines = layout.columns(names, width)
    assert sorted(" ".join(lines).split()) == sorted(names)
    widest = max(map(layout.text_width, names), default=0)
    assert all(layout.text_width(line) <= max(width, widest) for line in lines)


def test_wide_characters_take_two_cells() -> None:
    assert layout.text_width("日本") == 4
    assert layout.text_width("e\u0301") == 1


def test_table() -> None:
    lines = layout.table(("NAME", "N"), [("a", "10"), ("日本", "5")], {1})
    assert lines == ["NAME   N", "a     10", "日本   5"]


def test_described_is_all_that_scripts_need() -> None:
    found = layout.described("/a", attributes(size=3, mode=0o4755))
    assert found["path"] == "/a" and found["mode"] == "4755" and found["kind"] == "file"
    assert found["size"] == 3 and found["open"] is False


def test_special_files_are_told_apart() -> None:
    special = [attributes(kind, mode=0o755) for kind in FileKind if kind.special]
    assert [layout.indicator(each) for each in special] == ["|", "", "", "="]
    assert [layout.kind_name(each) for each in special] == [
        "fifo",
        "character device",
        "block device",
        "socket",
    ]
    colours = layout.Colours("pi=40;33")
    assert colours("x", special[0]) == "\x1b[40;33mx\x1b[0m"
    assert [colours("x", each)[:7] for each in special[1:]] == [
        "\x1b[01;33",
        "\x1b[01;33",
        "\x1b[01;35",
    ]
