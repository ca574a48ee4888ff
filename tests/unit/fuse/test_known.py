"""What a mount may believe, and what it may not learn."""

import pytest

from memfs.fuse import known as cache
from memfs.fuse.known import ABSENT, KnownTree
from memfs.types import Attributes, DirectoryEntry


def file(inode: int, size: int = 0) -> Attributes:
    return Attributes(inode, 0, 0o644, 1, "a", "b", size, 0, 0, 0, 0, 0, 0, 0, 0)


def taught() -> KnownTree:
    known = KnownTree()
    with known.reading() as reading:
        assert known.learn_name(reading, 1, b"a", file(5))
        assert known.learn_name(reading, 1, b"none", None)
    return known


def test_what_was_learnt_is_known_until_it_is_forgotten() -> None:
    known = taught()
    assert known.name(1, b"a") == known.attributes(5) == file(5)
    assert known.name(1, b"none") == ABSENT and known.name(1, b"b") is None
    known.forget((5,))
    assert known.attributes(5) is None and known.name(1, b"a") is None
    assert known.name(1, b"none") == ABSENT
    known.forget((1,))
    assert known.name(1, b"none") is None


def test_what_was_forgotten_while_it_was_asked_for_is_not_learnt() -> None:
    for forgotten in (1, 5):
        known = KnownTree()
        with known.reading() as reading:
            known.forget((forgotten,))
            assert not known.learn_name(reading, 1, b"a", file(5))
        assert known.name(1, b"a") is None


def test_nothing_is_learnt_once_everything_was_forgotten() -> None:
    known = taught()
    with known.reading() as reading:
        assert known.forget_all() == [5]
        assert not known.learn(reading, file(6))
    assert len(known) == 0 and known.name(1, b"a") is None


def test_a_later_question_learns_again() -> None:
    known = taught()
    known.forget((1, 5))
    with known.reading() as reading:
        assert known.learn_name(reading, 1, b"a", file(5, 7))
    assert known.name(1, b"a") == file(5, 7)


def listed(known: KnownTree, *names: bytes, more: bool = False, after: bytes = b"") -> None:
    with known.reading() as reading:
        entries = [DirectoryEntry(name, file(10 + name[0])) for name in names]
        known.learn_page(reading, 1, after, entries, more)


def test_of_a_directory_that_was_listed_whole_every_name_is_known() -> None:
    known = KnownTree()
    listed(known, b"a", b"b")
    assert known.is_complete(1)
    assert known.name(1, b"a") == file(10 + ord("a")) and known.name(1, b"c") == ABSENT
    for known, more, after in ((KnownTree(), True, b""), (KnownTree(), False, b"Z")):
        listed(known, b"a", more=more, after=after)
        assert not known.is_complete(1)
        assert known.name(1, b"a") == file(10 + ord("a")) and known.name(1, b"c") is None


def test_a_name_that_is_being_changed_is_not_known_and_others_are() -> None:
    known = KnownTree()
    listed(known, b"a", b"b")
    known.forget_name(1, b"a")
    known.forget_name(1, b"new")
    assert known.name(1, b"a") is None and known.name(1, b"new") is None
    assert known.name(1, b"b") == file(10 + ord("b")) and known.name(1, b"c") == ABSENT
    with known.reading() as reading:
        known.forget_name(1, b"b")
        assert not known.learn_name(reading, 1, b"b", file(7)), "it may be the old one"
    known.forget((1,))
    assert known.name(1, b"c") is None


def test_what_may_not_be_looked_at_is_not_known() -> None:
    known = KnownTree()
    with known.reading() as reading:
        hidden = file(5)._replace(links=0)
        known.learn_page(reading, 1, b"", [DirectoryEntry(b"a", hidden)], False)
    assert known.name(1, b"a") is None and known.attributes(5) is None


def test_what_a_command_of_this_mount_answers_is_learnt_unless_something_came_between() -> None:
    known = KnownTree()
    listed(known, b"a")
    with known.reading() as change:
        known.forget_name(1, b"new", change)
        assert known.name(1, b"new") is None, "until it is there"
        assert known.learn_name(change, 1, b"new", file(7))
    assert known.name(1, b"new") == file(7)
    for come in (lambda: known.forget((7,)), lambda: known.forget((1,)), known.forget_all):
        with known.reading() as change:
            known.forget((7,), change)
            come()
            known.learn_name(change, 1, b"new", file(7, 1))
        assert known.name(1, b"new") is None


def test_the_times_of_a_directory_are_not_known_once_a_name_in_it_was_changed() -> None:
    known = KnownTree()
    directory = file(1)
    with known.reading() as reading:
        assert known.learn_name(reading, 9, b"d", directory)
    known.forget_name(1, b"a")
    assert known.attributes(1) is None and known.is_aged(1)
    assert known.name(9, b"d") == directory, "it is there still, with the mode that it had"
    with known.reading() as reading:
        assert known.learn(reading, directory)
    assert known.attributes(1) == directory and not known.is_aged(1)


def names(known: KnownTree) -> list[bytes] | None:
    listing = known.listing(1)
    return None if listing is None else listing[0]


def test_a_directory_learnt_page_by_page_is_listed_without_asking() -> None:
    known = KnownTree()
    listed(known, b"a", b"b", more=True)
    assert names(known) is None
    listed(known, b"c", b"d", more=True, after=b"b")
    assert known.name(1, b"0") is None, "it is not known whole yet"
    listed(known, b"e", after=b"d")
    assert names(known) == [b"a", b"b", b"c", b"d", b"e"]
    assert known.name(1, b"0") == ABSENT
    with known.reading() as reading:
        known.forget_name(1, b"b", reading)
        assert names(known) is None, "it is being changed"
        assert known.learn_name(reading, 1, b"b", None)
        known.forget_name(1, b"aa", reading)
        assert known.learn_name(reading, 1, b"aa", file(70))
    assert names(known) == [b"a", b"aa", b"c", b"d", b"e"]
    listing = known.listing(1)
    assert listing is not None and listing[1][1] == file(70)
    known.forget((10 + ord("c"),))
    assert names(known) is None, "what c is may be another thing by now"


def test_a_directory_of_which_a_page_is_missing_is_not_known() -> None:
    known = KnownTree()
    listed(known, b"a", b"b", more=True)
    listed(known, b"d", after=b"c")
    assert names(known) is None
    known = KnownTree()
    listed(known, b"a", b"b", more=True)
    known.forget((1,))
    listed(known, b"c", after=b"b")
    assert names(known) is None, "somebody changed it in between"


def test_of_too_many_inodes_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "INODES", 32)
    known = KnownTree()
    with known.reading() as reading:
        for inode in range(2, 34):
            assert known.learn(reading, file(inode))
        assert len(known) == 32 and known.attributes(2) == file(2)
        assert known.learn(reading, file(2, 1)), "it is the latest again"
        assert known.learn(reading, file(34))
    assert len(known) == 31
    assert known.attributes(3) is None and known.attributes(4) is None
    assert known.attributes(2) == file(2, 1) and known.attributes(34) == file(34)
