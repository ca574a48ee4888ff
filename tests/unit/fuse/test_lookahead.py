"""How much of a directory is fetched by a program that looks up one name after the other."""

from __future__ import annotations

import contextlib

from memfs import limits
from memfs.fuse.lookahead import (
    FIRST_ENTRIES,
    LEAST_ENTRIES,
    RETRY_MISSES,
    Lookahead,
    Window,
    just_before,
)


def after_the_first_page() -> Lookahead:
    ahead = Lookahead()
    assert ahead.miss(1, b"f000") is None, "one name is no habit"
    assert ahead.miss(1, b"f001") == Window(b"", FIRST_ENTRIES)
    ahead.whole(1, small=False)
    return ahead


def test_pages_grow_while_they_are_used() -> None:
    ahead = after_the_first_page()
    for entries in (32, 128, 512, limits.ENTRIES_PER_PAGE, limits.ENTRIES_PER_PAGE):
        assert ahead.miss(1, b"f500") == Window(b"f50/\xff", entries)
        for _ in range(entries):
            ahead.hit(1)


def test_pages_end_when_nothing_of_them_is_used_and_are_tried_again() -> None:
    ahead = after_the_first_page()
    assert ahead.miss(1, b"x") == Window(b"w\xff", LEAST_ENTRIES)
    fetched = [number for number in range(RETRY_MISSES) if ahead.miss(1, b"x") is not None]
    assert len(fetched) == 1


def test_a_small_directory_is_fetched_whole_again() -> None:
    ahead = Lookahead()
    ahead.miss(1, b"a")
    assert ahead.miss(1, b"b") == Window(b"", FIRST_ENTRIES)
    ahead.whole(1, small=True)
    assert ahead.miss(1, b"a") == Window(b"", FIRST_ENTRIES)
    assert ahead.miss(2, b"a") is None, "each directory for itself"


def test_nothing_that_is_utf8_sorts_between_a_name_and_what_is_just_before() -> None:
    for name in ("a", "f10", "ä", "\x01", "\U0010ffff"):
        before = just_before(name.encode())
        assert before < name.encode()
        with contextlib.suppress(UnicodeDecodeError):
            assert not before.decode()
        others = [name[:-1], name[:-1] + "\x00\U0010ffff" * 3, name[:-1] + chr(ord(name[-1]) - 1)]
        assert not [each for each in others if before < each.encode() < name.encode()]
