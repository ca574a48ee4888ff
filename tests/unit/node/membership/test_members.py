"""Views that other nodes tell: checked, and believed only as far as that costs nothing."""

from __future__ import annotations

import asyncio
import random
from typing import Any, cast

import pytest

from memfs import errors
from memfs.cluster import view as rules
from memfs.cluster.coordinator import StoredView
from memfs.limits import EPOCHS_AT_ONCE
from memfs.node.membership.members import Membership
from memfs.node.tasks import Tasks
from memfs.transport.environment import Environment
from memfs.types import Member, NodeUsage, View


def node(name: str) -> Member:
    return Member(0, name, 1, "127.0.0.1", 10500)


def three() -> View:
    view = rules.form("c", node("a"))
    for name in ("b", "c"):
        view = rules.join(view, node(name))
        view = rules.expand(view, view.members[-1].number)
    return view


class Clock:
    def monotonic(self) -> float:
        return 0.0


class Coordinator:
    """Tells one view, or nothing."""

    def __init__(self, view: View) -> None:
        self.view: View | None = view
        self.revision = view.epoch
        self.reachable = True

    async def read_view(self) -> StoredView:
        if not self.reachable:
            raise errors.UnavailableError("gone")
        return StoredView(self.revision, self.view)

    async def swap_view(self, expected: int, view: View) -> StoredView | None:
        if self.revision != expected or (self.view and self.view.cluster != view.cluster):
            return None
        self.revision, self.view = self.revision + 1, view
        return StoredView(self.revision, view)


class Pool:
    """Connections, of which there are none."""

    def retain(self, members: Any) -> None:
        pass


def member_of(view: View, name: str) -> tuple[Membership, Coordinator]:
    coordinator = Coordinator(view)
    environment = Environment(
        cast(Any, Clock()), random.Random(0), cast(Any, None), cast(Any, None)
    )
    membership = Membership(
        environment,
        cast(Any, coordinator),
        cast(Any, Pool()),
        Tasks(),
        node(name),
        heartbeat_seconds=1.0,
        member_timeout_seconds=1.0,
        usage=lambda: NodeUsage(0, 0, 0, 0),
    )
    membership.adopt(view)
    return membership, coordinator


NO_VIEWS = {
    "far": lambda view: view._replace(epoch=view.epoch + EPOCHS_AT_ONCE + 1),
    "endless": lambda view: view._replace(epoch=2**62),
    "primary is no member": lambda view: view._replace(epoch=view.epoch + 1, primary=9),
    "other cluster": lambda view: view._replace(epoch=view.epoch + 1, cluster="d"),
    "nobody": lambda view: view._replace(epoch=view.epoch + 1, members=()),
    "twice in sync": lambda view: view._replace(epoch=view.epoch + 1, in_sync=(1, 2, 2)),
    "never published": lambda view: rules.promote(view, 2),
    "without this node": lambda view: rules.leave(view, 3),
}


@pytest.mark.parametrize("change", NO_VIEWS.values(), ids=list(NO_VIEWS))
def test_what_was_never_published_is_refused(change: Any) -> None:
    async def main() -> None:
        view = three()
        membership, _ = member_of(view, "c")
        with pytest.raises(errors.ProtocolError):
            await membership.learn_view(change(view))
        assert membership.view == view

    asyncio.run(main())


def test_a_published_view_is_adopted() -> None:
    async def main() -> None:
        view = three()
        membership, coordinator = member_of(view, "c")
        coordinator.view = rules.promote(view, 2)
        await membership.learn_view(coordinator.view)
        assert membership.view == coordinator.view

    asyncio.run(main())


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("c", lambda view: rules.leave(view, 3)),
        ("a", lambda view: rules.promote(view, 2)),
    ],
    ids=["left out", "deposed"],
)
def test_nothing_is_dropped_without_the_coordinators_word(name: str, change: Any) -> None:
    async def main() -> None:
        view = three()
        membership, coordinator = member_of(view, name)
        coordinator.reachable = False
        newer = change(view)
        with pytest.raises(errors.UnavailableError, match="confirm"):
            await membership.learn_view(newer)
        assert membership.view == view
        coordinator.reachable, coordinator.view = True, newer
        await membership.learn_view(newer)
        assert membership.view == newer

    asyncio.run(main())


def test_a_new_primary_is_followed_while_the_coordinator_is_out_of_reach() -> None:
    async def main() -> None:
        view = three()
        membership, coordinator = member_of(view, "c")
        coordinator.reachable = False
        newer = rules.promote(view, 2)
        await membership.learn_view(newer)
        assert membership.view == newer

    asyncio.run(main())


OTHER_LIVES = {
    "another cluster": lambda view: rules.promote(view, 2)._replace(cluster="d"),
    "no cluster": lambda view: None,
    "an older record": lambda view: rules.form("c", node("a")),
}


@pytest.mark.parametrize("change", OTHER_LIVES.values(), ids=list(OTHER_LIVES))
@pytest.mark.parametrize("later", [5, -1])
def test_a_coordinator_of_another_life_is_refused(change: Any, later: int) -> None:
    """It was wiped, restored from a copy, or is another cluster's at the same address."""

    async def main() -> None:
        view = three()
        membership, coordinator = member_of(view, "a")
        stored = await membership.publisher.read()
        coordinator.view = other = change(view)
        coordinator.revision = stored.revision + later
        with pytest.raises(errors.UnavailableError, match="coordinator"):
            await membership.publisher.read()
        with pytest.raises(errors.UnavailableError, match="coordinator"):
            await membership.publisher.change(lambda found: found and rules.promote(found, 3))
        assert membership.view == view and membership.number == 1
        assert coordinator.view == other

    asyncio.run(main())
