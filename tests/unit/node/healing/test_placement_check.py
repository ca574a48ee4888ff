"""What a view asks of blocks: missing, misplaced and surplus copies, and that moving ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memfs.node.healing.placement_check import BadCopies, PlacementCheck
from memfs.node.namespace.state import PlacedBlock
from memfs.protocol.messages import BlockVersion
from memfs.types import BlockRef, Member, View

FIVE = (1, 2, 3, 4, 5)


def view(*numbers: int, leaving: tuple[int, ...] = (), racks: int = 9) -> View:
    members = tuple(
        Member(n, f"n{n}", n, f"h{n}", 1, domain=f"r{n % racks}/h{n}", leaving=n in leaving)
        for n in numbers
    )
    return View("c", 1, numbers[0], numbers[:1], members, max(numbers) + 1)


def block(*replicas: int, inode: int = 1, index: int = 0, copies: int = 2) -> PlacedBlock:
    return PlacedBlock(BlockRef(inode, index, 1, 1, 100, 7, replicas), copies, 4096, 4)


def placement(given: View, bad: BadCopies | None = None) -> PlacementCheck:
    return PlacementCheck(given, {} if bad is None else bad)


def test_copies_on_members_count() -> None:
    asked = placement(view(1, 2, 3))
    assert asked.live(block(1, 9, 3).ref) == (1, 3)
    assert asked.is_complete(block(1, 3))
    assert asked.missing(block(1, 9)) == 1
    assert not asked.is_complete(block(1, 9))
    assert asked.missing(block(8, 9)) == 2


def test_bad_copies_do_not() -> None:
    bad: dict[BlockVersion, set[int]] = {}
    asked = placement(view(1, 2, 3), bad)
    assert asked.is_complete(block(1, 2))
    bad[BlockVersion(1, 0, 1, 1)] = {2}
    assert asked.live(block(1, 2).ref) == (1,)
    assert not asked.is_complete(block(1, 2))
    assert asked.is_complete(block(1, 2, index=1))


def test_no_more_copies_are_wanted_than_there_are_takers() -> None:
    assert placement(view(1, 2)).missing(block(1, 2, copies=3)) == 0
    assert placement(view(1, 2, leaving=(2,))).missing(block(1, copies=2)) == 0
    assert placement(view(1, leaving=(1,))).kept(block(1, copies=2)) == (1,)


def test_what_is_left_of_a_placement_is_completed_to_it() -> None:
    before = placement(view(*FIVE))
    for inode in range(1, 200):
        placed = before.placement(block(inode=inode, copies=3))
        after = placement(view(*[n for n in FIVE if n != placed[0]]))
        rest = block(*placed, inode=inode, copies=3)
        (target,) = after.targets(rest)
        assert {*after.live(rest.ref), target} == set(after.placement(rest))


def test_a_target_lies_in_another_rack() -> None:
    asked = placement(view(1, 2, 3, 4, racks=2))
    for inode in range(1, 100):
        (target,) = asked.targets(block(1, inode=inode))
        assert target in (2, 4)
        (other,) = asked.targets(block(1, inode=inode), frozenset((2, 4)))
        assert other == 3


def test_the_only_copies_are_kept_however_bad() -> None:
    bad = {BlockVersion(1, 0, 1, 1): {1, 2}}
    assert placement(view(1, 2, 3), bad).kept(block(1, 2)) == (1, 2)
    assert placement(view(3), bad).kept(block(1, 2)) == (1, 2)


def test_names_of_members_that_left_go() -> None:
    assert placement(view(1, 2)).kept(block(1, 2, 9, copies=2)) == (1, 2)


def test_a_leaving_member_gives_way_to_a_move() -> None:
    asked = placement(view(1, 2, 3, leaving=(3,)))
    alone = block(3, copies=1)
    assert asked.missing(alone) == 0
    (target,) = asked.moves(alone)
    both = block(3, target, copies=1)
    assert asked.kept(both) == (target,)
    assert asked.moves(block(target, copies=1)) == ()


def test_what_leaves_finds_another_place_where_the_wanted_one_is_full() -> None:
    asked = placement(view(*FIVE, leaving=(4, 5)))
    for inode in range(1, 100):
        alone = block(4, 5, inode=inode)
        assert asked.staying(alone.ref) == ()
        full = frozenset(asked.moves(alone)[:1])
        refuges = asked.refuges(alone, full)
        assert len(set(refuges)) == 2 and full.isdisjoint(refuges)
        named = block(4, 5, *refuges, inode=inode)
        assert set(asked.kept(named)) == set(refuges)
        assert asked.refuges(block(1, 2, inode=inode), full) == ()


numbers = st.lists(st.integers(1, 8), unique=True, min_size=1, max_size=8).map(sorted)


@given(numbers, numbers, numbers, st.integers(1, 4), st.integers(1, 50))
def test_copying_then_trimming_ends_at_the_placement(
    members: list[int], leaving: list[int], replicas: list[int], copies: int, inode: int
) -> None:
    asked = placement(view(*members, leaving=tuple(leaving)))
    found = block(*replicas, inode=inode, copies=copies)
    if not asked.live(found.ref):
        assert asked.kept(found) == found.ref.replicas
        return
    for _ in range(3):
        targets = asked.targets(found) or asked.moves(found)
        named = (*asked.live(found.ref), *targets)
        assert len(set(named)) == len(named)
        found = found._replace(ref=found.ref._replace(replicas=named))
        kept = asked.kept(found)
        assert len(kept) >= min(len(named), asked.wanted(copies))
        found = found._replace(ref=found.ref._replace(replicas=kept))
    if asked.ring.takers:
        assert set(found.ref.replicas) == set(asked.placement(found))
        assert not asked.moves(found) and not asked.missing(found)


@pytest.mark.parametrize("newcomer", [6])
def test_a_join_moves_only_what_the_newcomer_gets(newcomer: int) -> None:
    before, after = placement(view(*FIVE)), placement(view(*FIVE, newcomer))
    moved = 0
    for inode in range(1, 600):
        placed = block(*before.placement(block(inode=inode)), inode=inode)
        moves = after.moves(placed)
        assert moves in ((), (newcomer,))
        moved += bool(moves)
    assert 0.6 < moved / (600 * 2 / 6) < 1.4
