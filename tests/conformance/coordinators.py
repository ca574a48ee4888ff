"""What every coordinator does, without faults: one suite, run against each of them.

Used by ``tests/unit/cluster/test_coordinators.py`` (virtual time) and, on real members,
``tests/integration/test_etcd.py``. A check gets a bench whose clients share one fresh record, and
reads the time from the event loop, so it runs under either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import pytest

from memfs import errors
from memfs.cluster import view as rules
from memfs.cluster.coordinator import Coordinator, StoredView
from memfs.types import Member, View


class Bench(Protocol):
    """Makes clients of one record, which nobody has written yet."""

    async def client(self) -> Coordinator:
        """One more client; the bench closes it."""


Check = Callable[[Bench], Coroutine[Any, Any, None]]
CHECKS: list[Check] = []


def check(function: Check) -> Check:
    CHECKS.append(function)
    return function


def node(name: str, incarnation: int = 1, **fields: Any) -> Member:
    return Member(0, name, incarnation, "127.0.0.1", 10500)._replace(**fields)


def following(view: View) -> View:
    """A legal successor."""
    return rules.join(view, node("joiner", view.epoch))


FIRST = rules.form("c", node("a"))
SECOND = following(FIRST)


def now() -> float:
    return asyncio.get_running_loop().time()


@check
async def nothing_is_there_at_first(bench: Bench) -> None:
    coordinator = await bench.client()
    assert await coordinator.read_view() == StoredView(0, None)


@check
async def a_cluster_is_formed_once(bench: Bench) -> None:
    first, second = await bench.client(), await bench.client()
    formed = await first.swap_view(0, FIRST)
    assert formed is not None
    assert formed.revision > 0
    assert formed.view == FIRST
    assert await second.swap_view(0, rules.form("another", node("b"))) is None
    assert await second.read_view() == formed


@check
async def a_swap_needs_the_current_revision(bench: Bench) -> None:
    coordinator = await bench.client()
    formed = await coordinator.swap_view(0, FIRST)
    assert formed is not None
    for wrong in (0, formed.revision - 1, formed.revision + 1, 1 << 40):
        assert await coordinator.swap_view(wrong, SECOND) is None
    assert await coordinator.read_view() == formed


@check
async def revisions_grow_and_lead_from_swap_to_swap(bench: Bench) -> None:
    coordinator = await bench.client()
    revision, view = 0, FIRST
    for _ in range(5):
        stored = await coordinator.swap_view(revision, view)
        assert stored is not None
        assert stored.revision > revision
        assert await coordinator.read_view() == stored
        revision, view = stored.revision, following(view)


@check
async def the_record_comes_back_as_it_was_whatever_is_in_it(bench: Bench) -> None:
    coordinator = await bench.client()
    view = FIRST
    for number in range(200):
        member = node(f"knoten-{number:03}-ü", (1 << 62) + number, domain=f"rack-{number}/" * 10)
        view = rules.join(view, member)
    stored = await coordinator.swap_view(0, view)
    assert stored is not None
    assert (await (await bench.client()).read_view()) == StoredView(stored.revision, view)


@check
async def of_many_swaps_at_one_revision_one_wins(bench: Bench) -> None:
    coordinators = [await bench.client() for _ in range(8)]
    views = [rules.form(f"c{n}", node("a")) for n in range(8)]
    swaps = zip(coordinators, views, strict=True)
    results = await asyncio.gather(*(c.swap_view(0, view) for c, view in swaps))
    [winner] = [result for result in results if result is not None]
    assert await coordinators[0].read_view() == winner


@check
async def racing_swaps_lose_no_update(bench: Bench) -> None:
    coordinators = [await bench.client() for _ in range(6)]
    formed = await coordinators[0].swap_view(0, FIRST)
    assert formed is not None

    async def add(coordinator: Coordinator, name: str) -> list[int]:
        won: list[int] = []
        while len(won) < 4:
            revision, view = await coordinator.read_view()
            assert view is not None
            if stored := await coordinator.swap_view(
                revision, rules.join(view, node(f"{name}-{len(won)}"))
            ):
                won.append(stored.revision)
        return won

    won = await asyncio.gather(*(add(c, f"n{i}") for i, c in enumerate(coordinators)))
    revisions = [revision for each in won for revision in each]
    assert len(set(revisions)) == 24
    last = await coordinators[0].read_view()
    assert last.view is not None
    assert last.revision == max(revisions)
    assert last.view.epoch == 25
    assert len({member.name for member in last.view.members}) == 25


@check
async def a_change_wakes_everybody_who_waits(bench: Bench) -> None:
    coordinators = [await bench.client() for _ in range(3)]
    began = now()
    waits = [asyncio.ensure_future(c.wait_for_change(0, 20.0)) for c in coordinators]
    await asyncio.sleep(0.3)
    assert not any(wait.done() for wait in waits)
    stored = await coordinators[0].swap_view(0, FIRST)
    assert stored is not None
    await asyncio.gather(*waits)
    assert now() < began + 5.0
    wait = asyncio.ensure_future(coordinators[1].wait_for_change(stored.revision, 20.0))
    await asyncio.sleep(0.3)
    assert not wait.done()
    await coordinators[2].swap_view(stored.revision, SECOND)
    await wait
    assert now() < began + 10.0


@check
async def who_knows_an_old_revision_does_not_wait(bench: Bench) -> None:
    coordinator = await bench.client()
    began = now()
    stored = await coordinator.swap_view(0, FIRST)
    assert stored is not None
    await coordinator.wait_for_change(0, 20.0)
    await coordinator.wait_for_change(stored.revision + 1, 20.0)
    assert now() < began + 3.0


@check
async def a_wait_ends_when_its_time_is_over(bench: Bench) -> None:
    coordinator = await bench.client()
    await coordinator.swap_view(0, FIRST)
    revision, _ = await coordinator.read_view()
    began = now()
    await coordinator.wait_for_change(revision, 0.4)
    assert 0.35 < now() - began < 3.0
    await coordinator.wait_for_change(revision, 0.0)


@check
async def what_is_cancelled_leaves_a_client_that_works(bench: Bench) -> None:
    coordinator = await bench.client()
    await coordinator.swap_view(0, FIRST)
    for call in (coordinator.read_view(), coordinator.wait_for_change(0, 9)):
        task = asyncio.ensure_future(call)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    wait = asyncio.ensure_future(coordinator.wait_for_change(1 << 40, 9))
    wait.cancel()
    assert (await coordinator.read_view()).view == FIRST


@check
async def closing_is_for_oneself(bench: Bench) -> None:
    coordinator, other = await bench.client(), await bench.client()
    await coordinator.swap_view(0, FIRST)
    await coordinator.close()
    await coordinator.close()
    with pytest.raises(errors.UnavailableError):
        await coordinator.read_view()
    with pytest.raises(errors.UnavailableError):
        await coordinator.swap_view(0, SECOND)
    assert (await other.read_view()).view == FIRST
