"""What may be published: something that at least one member holds."""

from __future__ import annotations

import pytest

from memfs.errors import StaleEpochError
from memfs.node.healing.commits import CommitCheck
from memfs.node.namespace import Namespace, Settings
from memfs.protocol import messages as m
from memfs.types import BlockRef

from .fakes import FakeMembership


def commit(*replicas: int, generation: int = 1) -> m.Commit:
    ref = BlockRef(2, 0, generation, 1, 5, 0, replicas)
    return m.Commit(2, 1, 5, (ref,))


def check(
    request: object, departing: frozenset[int] = frozenset(), result: bool = False
) -> list[m.BlockVersion]:
    """What is published with too few copies."""
    namespace = Namespace(Settings("root", "g", 2, 4096, 4), 1)
    if result:
        namespace.results.record(9, 7, b"\0")
    membership = FakeMembership(1, 2, 3)
    endangered: list[m.BlockVersion] = []
    checked = CommitCheck(membership.real, departing, endangered.append)
    checked.check(request, namespace, 9, 7)
    return endangered


def test_one_member_is_enough() -> None:
    assert check(commit(3, 8)) == [m.BlockVersion(2, 0, 1, 1)]
    assert check(commit(3, 1)) == []
    check(m.Commit(2, 1, 0))
    check(commit())  # a hole
    check(m.MakeDirectory(b"/d"))


def test_none_is_not() -> None:
    with pytest.raises(StaleEpochError):
        check(commit(8, 9))
    file = m.NewFile(b"/f", 2, 5, (BlockRef(2, 0, 1, 1, 5, 0, (8,)),))
    with pytest.raises(StaleEpochError):
        check(m.PutFiles((file,)))


def test_who_is_about_to_go_does_not_count() -> None:
    check(commit(2, 3), frozenset((3,)))
    with pytest.raises(StaleEpochError):
        check(commit(3), frozenset((3,)))


def test_what_the_file_has_already_is_not_judged() -> None:
    check(commit(8, generation=0))


def test_a_repeated_command_gets_its_result() -> None:
    check(commit(8, 9), result=True)
