"""Under which number a process that was taken out of the cluster comes back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from memfs.cluster import view as rules
from memfs.node.membership.bootstrap import Bootstrap
from memfs.types import Member, View


def node(name: str) -> Member:
    return Member(0, name, 7, name, 1)


class World:
    """A node ``b`` that was member 2 of three, and is none now."""

    def __init__(self) -> None:
        before = rules.join(rules.form("c", node("a")), node("b"))
        self.before = rules.join(before, node("c"))
        self.dropped = 0
        self.membership: Any = SimpleNamespace(
            taken_out=self.before,
            member=node("b"),
            environment=SimpleNamespace(clock=SimpleNamespace(monotonic=lambda: 0.0)),
        )
        self.bootstrap = Bootstrap(self.membership, self.drop)

    def drop(self) -> None:
        self.dropped += 1

    def former(self, view: View) -> int:
        return self.bootstrap._former_number(view)


def test_it_comes_back_under_the_number_that_files_know_its_blocks_by() -> None:
    world = World()
    assert world.former(rules.leave(world.before, 2)) == 2
    assert world.dropped == 0


def test_a_process_that_was_never_a_member_holds_nothing() -> None:
    world = World()
    world.membership.taken_out = None
    assert world.former(world.before) == 0
    assert world.dropped == 0


def test_where_the_cluster_may_have_been_formed_again_it_drops_its_blocks() -> None:
    world = World()
    alone = rules.leave(rules.leave(world.before, 2), 3)
    assert world.former(rules.reform(alone, node("a"))) == 0
    assert world.dropped == 1
    assert world.former(alone) == 0, "what is dropped does not come back"
