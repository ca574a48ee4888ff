"""What a view asks of blocks: missing, misplaced and surplus copies, and that moving ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memfs.node.healing.placement_check import BadCopies, PlacementCheck, Situation
from memfs.node.namespace.runs import PlacedBlock, Row, Run
from memfs.protocol.messages import BlockVersion
from memfs.types import BlockRef, Member, View

FIVE = (1, 2, 3, 4, 5)


def view(*numbers: int, leaving: tuple[int, ...] = (), racks: int = 9) -> View:
    members = tuple(
        Member(n, f"n{n}", n, f"h{n}", 1, domain=f"r{n % racks}/h{n}", leaving=n in leaving)
        for n in numbers
    )
    return View("c", 1, numbers[0], numbers[:1], members, max(numbers) + 1)


def row(inode: int = 1, index: int = 0) -> Row:
    return inode, index, 1, 1, 100, 7


def placement(given: View, bad: BadCopies | None = None) -> Asked:
    return Asked(given, {} if bad is None else bad)


class Asked(PlacementCheck):
    """Asked of blocks that are told by their holders."""

    def of(self, *replicas: int, inode: int = 1, index: int = 0, copies: int = 2) -> Situation:
        ref = BlockRef(inode, index, 1, 1, 100, 7, replicas)
        situation = self.situation(PlacedBlock(ref, copies, 4096, 4))
        run = Run(replicas, copies, 4096, 4, [ref[:6]])
        assert self.alike(run) == {situation: [ref[:6]]}, "one by one, or many at once"
        return situation

    def is_whole(self, situation: Situation) -> bool:
        complete = self.is_complete(situation.replicas, situation.replication)
        return complete and situation.live == situation.replicas


def test_copies_on_members_count() -> None:
    asked = placement(view(1, 2, 3))
    assert asked.of(1, 9, 3).live == (1, 3)
    assert asked.is_whole(asked.of(1, 3))
    assert asked.missing(asked.of(1, 9)) == 1
    assert not asked.is_whole(asked.of(1, 9))
    assert asked.missing(asked.of(8, 9)) == 2


def test_bad_copies_do_not() -> None:
    bad: dict[BlockVersion, set[int]] = {}
    asked = placement(view(1, 2, 3), bad)
    assert asked.is_whole(asked.of(1, 2))
    bad[BlockVersion(1, 0, 1, 1)] = {2}
    assert asked.of(1, 2).live == (1,)
    assert not asked.is_whole(asked.of(1, 2))
    assert asked.is_whole(asked.of(1, 2, index=1))


def test_no_more_copies_are_wanted_than_there_are_takers() -> None:
    assert asked_missing(placement(view(1, 2)), 1, 2, copies=3) == 0
    assert asked_missing(placement(view(1, 2, leaving=(2,))), 1, copies=2) == 0
    assert asked_kept(placement(view(1, leaving=(1,))), 1, copies=2) == (1,)


def asked_missing(asked: Asked, *replicas: int, copies: int = 2) -> int:
    return asked.missing(asked.of(*replicas, copies=copies))


def asked_kept(asked: Asked, *replicas: int, copies: int = 2) -> tuple[int, ...]:
    return asked.kept(asked.of(*replicas, copies=copies))


def test_what_is_left_of_a_placement_is_completed_to_it() -> None:
    before = placement(view(*FIVE))
    for inode in range(1, 200):
        placed = before.of(inode=inode, copies=3).placement
        after = placement(view(*[n for n in FIVE if n != placed[0]]))
        rest = after.of(*placed, inode=inode, copies=3)
        (target,) = after.targets(rest, row(inode))
        assert {*rest.live, target} == set(rest.placement)


def test_a_target_lies_in_another_rack() -> None:
    asked = placement(view(1, 2, 3, 4, racks=2))
    for inode in range(1, 100):
        alone = asked.of(1, inode=inode)
        (target,) = asked.targets(alone, row(inode))
        assert target in (2, 4)
        (other,) = asked.targets(alone, row(inode), frozenset((2, 4)))
        assert other == 3


def test_the_only_copies_are_kept_however_bad() -> None:
    bad = {BlockVersion(1, 0, 1, 1): {1, 2}}
    assert asked_kept(placement(view(1, 2, 3), bad), 1, 2) == (1, 2)
    assert asked_kept(placement(view(3), bad), 1, 2) == (1, 2)


def test_names_of_members_that_left_go() -> None:
    assert asked_kept(placement(view(1, 2)), 1, 2, 9, copies=2) == (1, 2)


def test_a_leaving_member_gives_way_to_a_move() -> None:
    asked = placement(view(1, 2, 3, leaving=(3,)))
    alone = asked.of(3, copies=1)
    assert asked.missing(alone) == 0
    (target,) = asked.moves(alone)
    both = asked.of(3, target, copies=1)
    assert asked.kept(both) == (target,)
    assert asked.moves(asked.of(target, copies=1)) == ()


def test_what_leaves_finds_another_place_where_the_wanted_one_is_full() -> None:
    asked = placement(view(*FIVE, leaving=(4, 5)))
    for inode in range(1, 100):
        alone = asked.of(4, 5, inode=inode)
        assert asked.staying(alone) == ()
        full = frozenset(asked.moves(alone)[:1])
        refuges = asked.refuges(alone, row(inode), full)
        assert len(set(refuges)) == 2 and full.isdisjoint(refuges)
        named = asked.of(4, 5, *refuges, inode=inode)
        assert set(asked.kept(named)) == set(refuges)
        assert asked.refuges(asked.of(1, 2, inode=inode), row(inode), full) == ()


numbers = st.lists(st.integers(1, 8), unique=True, min_size=1, max_size=8).map(sorted)


@given(numbers, numbers, numbers, st.integers(1, 4), st.integers(1, 50))
def test_copying_then_trimming_ends_at_the_placement(
    members: list[int], leaving: list[int], replicas: list[int], copies: int, inode: int
) -> None:
    asked = placement(view(*members, leaving=tuple(leaving)))
    found = asked.of(*replicas, inode=inode, copies=copies)
    if not found.live:
        assert asked.kept(found) == found.replicas
        return
    for _ in range(3):
        targets = asked.targets(found, row(inode)) or asked.moves(found)
        named = (*found.live, *targets)
        assert len(set(named)) == len(named)
        found = asked.of(*named, inode=inode, copies=copies)
        kept = asked.kept(found)
        assert len(kept) >= min(len(named), asked.wanted(copies))
        found = asked.of(*kept, inode=inode, copies=copies)
    if asked.ring.takers:
        assert set(found.replicas) == set(found.placement)
        assert not asked.moves(found) and not asked.missing(found)


@pytest.mark.parametrize("newcomer", [6])
def test_a_join_moves_only_what_the_newcomer_gets(newcomer: int) -> None:
    before, after = placement(view(*FIVE)), placement(view(*FIVE, newcomer))
    moved = 0
    for inode in range(1, 600):
        placed = before.of(inode=inode).placement
        moves = after.moves(after.of(*placed, inode=inode))
        assert moves in ((), (newcomer,))
        moved += bool(moves)
    assert 0.6 < moved / (600 * 2 / 6) < 1.4


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(0, 9)), min_size=1, unique=True),
    st.sampled_from([FIVE, (1, 2, 3, 4), (1, 3, 5), (1, 2, 3, 4, 5, 6)]),
    st.sampled_from([(1, 2), (1, 5), (3, 4, 5)]),
    st.sets(st.integers(1, 40)),
)
def test_blocks_of_one_situation_are_told_as_if_nothing_were_known(
    blocks: list[tuple[int, int]], after: tuple[int, ...], holders: tuple[int, ...], bad: set[int]
) -> None:
    before = placement(view(*FIVE))
    bad_copies = {BlockVersion(inode, 0, 1, 1): {holders[0]} for inode in bad}
    since = placement(view(*after)._replace(epoch=1 + (after != FIVE)), bad_copies)
    run = Run((1, 2), 2, 4096, 4, [row(*block) for block in blocks])
    for situation, rows in before.alike(run).items():
        now = Run(holders, 2, 4096, 4, rows)
        assert since.alike_since(situation, now) == since.alike(now)
