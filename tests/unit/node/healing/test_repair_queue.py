"""What a scan counts: copies that are missing, at risk, or still to be moved."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from memfs.node.healing.repair_queue import BALANCING, DEPARTURES, RESCUES, Findings, RepairQueue
from memfs.node.namespace import Run
from memfs.types import BlockVersion

from .fakes import FakeMembership


class World:
    """The repairs of a primary among members, some of them silent or on their way out."""

    def __init__(
        self, members: int, silent: tuple[int, ...] = (), leaving: int | tuple[int, ...] = ()
    ) -> None:
        self.membership = FakeMembership(*range(1, members + 1))
        view = self.membership.view
        told = tuple(m._replace(leaving=m.number in leaving) for m in view.members)
        self.membership.latest = view._replace(members=told)
        self.membership.now = 100.0
        self.membership.lives = {
            n: float("-inf") if n in silent else 100.0 for n in range(1, members + 1)
        }
        role: Any = SimpleNamespace(membership=self.membership, leads=True)
        corrupt: Any = SimpleNamespace(copies={}, followers=[], lost=lambda version, holders: None)
        self.repairs = RepairQueue(role, corrupt, 1.0)
        self.repairs.look_at_members()

    def scan(self, *replicas: tuple[int, ...], copies: int = 2) -> Findings:
        found, placement = Findings(), self.repairs.placement()
        for inode, holders in enumerate(replicas, 1):
            run = Run(holders, copies, 4096, 4, [(inode, 0, 1, 1, 100, 7)])
            self.repairs.examine(run, placement, placement.ring.takers != placement.members, found)
        return found


def test_too_few_nodes_for_the_copies_that_were_asked_for() -> None:
    found = World(1).scan((1,), (1,))
    assert (found.under_replicated, found.blocks) == (2, 0)
    found = World(3).scan((1, 2), (2, 3))
    assert (found.under_replicated, found.blocks) == (0, 0)
    found = World(2).scan((1, 9), (1, 2), copies=3)  # one can be mended, up to two
    assert (found.under_replicated, found.blocks) == (1, 1)
    assert found.most_copies == 3


def test_a_node_on_its_way_out_takes_no_copies() -> None:
    assert World(2, leaving=(2,)).scan((1, 2), (1,)).under_replicated == 1


def test_what_is_on_silent_members_is_at_risk_at_once() -> None:
    found = World(4, silent=(3, 4)).scan((1, 2), (1, 3), (3, 4))
    assert found.exposed == {1: 1, 0: 1}
    assert (found.endangered_now, found.blocks) == (2, 0)
    found = World(4, silent=(3,)).scan((3, 9))  # a copy short already: counted once
    assert (found.endangered_now, found.blocks) == (1, 1)


def test_silence_and_its_end_make_the_next_scan_due() -> None:
    world = World(3)
    world.repairs.scan_at = 50.0
    world.repairs.look_at_members()
    assert world.repairs.scan_at == 50.0
    world.membership.lives[3] = 0.0
    world.repairs.look_at_members()
    assert (world.repairs.scan_at, world.repairs.silent) == (0.0, {3})


def test_a_departure_counts_what_is_still_to_be_moved() -> None:
    world = World(3, leaving=(3,))
    found = world.scan((1, 3), (1, 2, 3), (1, 2))
    assert found.leaving_blocks == {3: 1} and found.leaving == {3: 100}
    assert found.named == {3: 2}
    found.moved(1, 100, (3,))
    assert (found.leaving_blocks[3], found.leaving[3]) == (0, 0)


def test_what_only_leaving_members_hold_is_moved_first() -> None:
    world = World(5, leaving=(4, 5))
    world.scan((1, 4), (4, 5), (1, 2), (5, 4))
    inodes = [
        [version.inode for situation in queue.situations for version in queue.first(situation, 9)]
        for queue in world.repairs.queues
    ]
    assert inodes[RESCUES] == [2, 4] and inodes[DEPARTURES] == [1]
    assert RESCUES < DEPARTURES < BALANCING
    assert set(inodes[BALANCING]) <= {3}


def test_what_is_dealt_with_while_the_scan_counts_is_counted_down_where_it_was_counted() -> None:
    world = World(3)
    repairs = world.repairs
    placement = repairs.placement()
    met, not_met = (1, 0, 1, 1, 100, 7), (2, 0, 1, 1, 100, 7)
    counting = repairs.counting = Findings()
    repairs.examine(Run((1, 9), 2, 4096, 4, [met]), placement, False, counting)
    assert counting.blocks == 1
    both = [met, not_met]
    assert repairs.counted_in(both) == [(repairs.findings, both), (counting, [met])]
    repairs.give_up([BlockVersion(*met[:4])])
    assert repairs.counted_in(both) == [(repairs.findings, both), (counting, [])]


def test_what_a_scan_has_found_so_far_is_told_if_it_is_more() -> None:
    repairs = World(3).repairs
    assert repairs.shown is repairs.findings
    repairs.counting = Findings()
    assert repairs.shown is repairs.findings
    repairs.counting.blocks = 1
    assert repairs.shown is repairs.counting
