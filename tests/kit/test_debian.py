"""Where the tests' programs come from: the machine's own Debian archives, in either format."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.debian import debian_source

DEB822 = """\
Types: deb
# URIs: http://snapshot.example/archive/debian/20250520T000000Z
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
"""
ONE_LINE = """\
deb [arch=amd64] https://other.example/debian/ bookworm main
deb https://elsewhere.example/apt stable main
# deb https://commented.example/debian bookworm main
"""


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    return tmp_path


def uris(source: str) -> list[str]:
    [line] = [line for line in source.splitlines() if line.startswith("URIs:")]
    return line.split()[1:]


def test_both_formats_are_read_and_the_suite_is_ours(etc: Path) -> None:
    (etc / "sources.list").write_text(ONE_LINE)
    (etc / "sources.list.d" / "debian.sources").write_text(DEB822)
    source = debian_source(etc)
    assert uris(source) == ["http://mirror.example/debian", "https://other.example/debian/"]
    assert "Suites: trixie\n" in source
    assert "bookworm" not in source


def test_without_a_debian_archive_it_says_so(etc: Path) -> None:
    (etc / "sources.list").write_text("deb http://ubuntu.example/ubuntu noble main\n")
    with pytest.raises(RuntimeError, match="no Debian archive"):
        debian_source(etc)
