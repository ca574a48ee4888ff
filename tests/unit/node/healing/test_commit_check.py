"""What may be published: something that at least one member holds."""

from __future__ import annotations

import pytest

from memfs.errors import StaleEpochError, UploadLostError
from memfs.node.healing.commit_check import CommitCheck
from memfs.node.namespace import Namespace, Settings
from memfs.protocol import messages as m
from memfs.types import BlockRef

from .fakes import FakeMembership


def commit(*replicas: int, generation: int = 1) -> m.Commit:
    ref = BlockRef(2, 0, generation, 1, 5, 0, replicas)
    return m.Commit(2, 1, 5, (ref,))


def put(*replicas: int) -> m.PutFiles:
    return m.PutFiles((m.NewFile(b"/f", 2, 5, (BlockRef(2, 0, 1, 1, 5, 0, replicas),)),))


def check(
    request: object,
    departing: frozenset[int] = frozenset(),
    result: bool = False,
    silent: tuple[int, ...] = (),
    broken: tuple[int, ...] = (),
) -> list[m.BlockVersion]:
    """What is published with too few copies."""
    namespace = Namespace(Settings("root", "g", 2, 4096, 4), 1)
    if result:
        namespace.results.record(9, 7, b"\0")
    membership = FakeMembership(1, 2, 3)
    membership.lives |= dict.fromkeys((*silent, *broken), float("-inf"))
    membership.out_of_reach = frozenset(broken)
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
    with pytest.raises(UploadLostError):
        check(put(8))
    named = m.PublishDraft(2, 1, b"/f", 5, commit(8).blocks)
    with pytest.raises(StaleEpochError):
        check(named)


def test_nor_is_a_member_that_cannot_be_reached() -> None:
    check(commit(2, 3), broken=(3,))
    check(commit(1), broken=(2, 3))
    for request in (commit(2, 3), m.PublishDraft(2, 1, b"/f", 5, commit(3).blocks)):
        with pytest.raises(StaleEpochError):  # its node may show life yet
            check(request, broken=(2, 3))
    with pytest.raises(UploadLostError):
        check(put(3), broken=(3,))
    check(put(3), broken=(3,), result=True)


def test_one_that_is_only_silent_may_be_well() -> None:
    """Nothing arrives at this node, say: the writer has stored there, and is told so."""
    check(commit(2, 3), silent=(2, 3))
    check(put(3), silent=(3,))


def test_who_is_about_to_go_does_not_count() -> None:
    check(commit(2, 3), frozenset((3,)))
    with pytest.raises(StaleEpochError):
        check(commit(3), frozenset((3,)))


def test_what_the_file_has_already_is_not_judged() -> None:
    check(commit(8, generation=0))


def test_a_repeated_command_gets_its_result() -> None:
    check(commit(8, 9), result=True)
