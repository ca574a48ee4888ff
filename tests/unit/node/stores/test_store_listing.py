"""Pages of a store's level in one order, names of a directory in another."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from memfs.node.namespace.rules.frontier import Question
from memfs.node.namespace.tables.directory import Directory
from memfs.node.stores.store_listing import IDLE_SECONDS, Listing, complete
from memfs.protocol import messages as m
from memfs.stores.interface import ObjectInfo, Page


def wanted(sync_ms: int = 60_000, generation: int = 1, later: bool = False) -> Question:
    mount = SimpleNamespace(number=1, generation=generation, sync_ms=sync_ms)
    return Question(cast(Any, mount), 2, b"", None, later=later)


class Level:
    """A store's level, a directory that learns it, and what was asked."""

    def __init__(self, entries: list[tuple[str, bool]], size: int, known: set[str]) -> None:
        """``entries``: name and whether it is a directory, in the store's order."""
        self.pages = [entries[at : at + size] for at in range(0, len(entries), size)] or [[]]
        self.names = {name.encode() for name, _ in entries}
        self.directory = Directory()
        for name in known:
            self.directory.insert(name.encode(), 1)
        self.probes = 0
        self.served: list[bytes | None] = []

    def learn(self, name: bytes) -> None:
        if not self.directory.get(name):
            self.directory.insert(name, 1)

    def list(self, listing: Listing, dice: random.Random) -> None:
        """All pages; what is before the bound is right after each of them."""
        for number, each in enumerate(self.pages):
            found = [ObjectInfo(name, 0, 0, b"", below) for name, below in each]
            dice.shuffle(found)
            more = str(number) if number + 1 < len(self.pages) else None
            page = Page(tuple(found), 0, more)
            for known in listing.add_page(page):
                self.learn(known.name)
            while (gap := listing.waits_for(page)) is not None:
                self.probes += 1
                listing.resolve_gap(gap, gap in self.names)
                if gap in self.names:
                    self.learn(gap)
            bound = listing.reached()
            for name in listing.unlisted(self.directory, bound):
                self.directory.remove(name)
            self.served.append(bound)
            held = {name for name, _ in self.directory.items() if bound is None or name < bound}
            assert held == {name for name in self.names if bound is None or name < bound}
            if bound is not None:
                listing.publish(bound)


def entries_of(keys: set[str]) -> list[tuple[str, bool]]:
    """Of a level, in the order of keys; a name may be there as both."""
    heads = {key.partition("/")[0] + ("/" if "/" in key else "") for key in keys}
    return [(head.rstrip("/"), head.endswith("/")) for head in sorted(heads)]


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("seed", range(150))
def test_what_is_before_the_bound_is_complete(seed: int, by_name: bool) -> None:
    dice = random.Random(seed)

    def text() -> str:
        return "".join(dice.choices("ab-.0é ", k=dice.randrange(1, 6))).strip(".") or "a"

    keys = {text() + dice.choice(["", "", "/x"]) for _ in range(dice.choice([1, 5, 60]))}
    entries = entries_of(keys)
    if by_name:
        entries.sort()
    level = Level(entries, dice.randrange(1, 9), {text() for _ in range(20)})
    level.list(Listing(wanted(), 0.0, True), dice)
    assert level.served[-1] is None


@pytest.mark.parametrize("pattern", ["part-{:05}", "{:05}.tar", "2024-01-02 {:05} a.b", "{:05}/x"])
def test_each_page_counts_with_hardly_a_question_more(pattern: str) -> None:
    entries = entries_of({pattern.format(number) for number in range(3000)})
    level = Level(entries, 100, set())
    level.list(Listing(wanted(), 0.0, True), random.Random(1))
    bounds = [bound for bound in level.served if bound is not None]
    assert len(bounds) == 29 and level.probes <= 3
    for number, bound in enumerate(bounds, 1):
        assert sum(name < bound for name in level.names) >= 100 * number - 1


def test_what_comes_in_no_order_counts_when_all_has_come() -> None:
    names = [f"{number:03}" for number in range(100)]
    dice = random.Random(3)
    dice.shuffle(names)
    level = Level([(name, False) for name in names], 10, {"other"})
    level.list(Listing(wanted(), 0.0, False), dice)
    assert set(level.served[:-1]) == {b""}
    assert {name for name, _ in level.directory.items()} == level.names


def test_a_store_that_breaks_its_order_is_believed_no_more() -> None:
    listing = Listing(wanted(), 0.0, True)
    for names, bound in ((["b", "c"], b"c\0"), (["a"], b"c\0"), (["d"], b"c\0")):
        page = Page(tuple([ObjectInfo(name, 0, 0, b"t") for name in names]), 0, "on")
        assert [known.name for known in listing.add_page(page)] == [name.encode() for name in names]
        assert listing.waits_for(page) is None
        assert listing.reached() == bound
        listing.publish(bound)


def test_an_old_listing_that_nobody_goes_on_with_gives_way() -> None:
    listing = Listing(wanted(), 0.0, True)
    late = 61.0 + IDLE_SECONDS
    assert listing.serves(wanted(), 59.0)
    assert not listing.serves(wanted(), late)
    assert listing.serves(wanted(later=True), late)
    assert listing.serves(wanted(sync_ms=-1), late)
    assert not listing.serves(wanted(generation=2), 1.0)
    listing.used = 61.0
    assert listing.serves(wanted(), 62.0)


def test_a_page_says_that_there_is_more() -> None:
    def page(*names: bytes, remaining: int = 0) -> m.ListReply:
        entries = [m.DirectoryEntry(name, cast(Any, None)) for name in names]
        return m.ListReply(tuple(entries), remaining)

    def bare(*names: bytes, remaining: int = 0) -> m.ListReply:
        return m.ListReply((), remaining, names)

    for make in (page, bare):
        assert complete(make(b"a", b"b", b"c"), b"c") == make(b"a", b"b", remaining=1)
        assert complete(make(b"a", b"b"), b"c") == make(b"a", remaining=1)
        assert complete(make(b"a", b"b", remaining=7), b"c") == make(b"a", b"b", remaining=7)
        assert complete(make(b"a"), b"c") is None
        assert complete(make(b"d", remaining=3), b"c") is None
