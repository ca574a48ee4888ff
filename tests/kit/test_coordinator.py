"""The coordinator with faults: what is lost, what is late, and that the record stays true."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from memfs import errors
from memfs.cluster import view as rules
from memfs.testing.simulation.coordinator import FakeCoordinator, FakeCoordinatorClient
from memfs.testing.simulation.trace import Trace
from memfs.testing.simulation.virtual import Process, run
from memfs.types import Member

A = Member(0, "a", 7, "a", 10500)
B = Member(0, "b", 8, "b", 10500)
FIRST = rules.form("c", A)
SECOND = rules.join(FIRST, B)

Scenario = Callable[[FakeCoordinator, FakeCoordinatorClient], Coroutine[Any, Any, None]]


def simulate(scenario: Scenario, seed: int = 1) -> FakeCoordinator:
    async def main() -> FakeCoordinator:
        shared = FakeCoordinator(random.Random(seed))
        await scenario(shared, shared.client("a"))
        return shared

    return run(main())


def now() -> float:
    return asyncio.get_running_loop().time()


def test_a_refusal_is_certain_and_quick():
    async def scenario(shared, client):
        shared.faults("a").down = True
        with pytest.raises(errors.UnavailableError):
            await client.swap_view(0, FIRST)
        assert now() < 0.1
        assert await shared.client("b").read_view() == (0, None)
        shared.heal()
        assert (await client.swap_view(0, FIRST)).view == FIRST

    simulate(scenario)


def test_a_lost_request_leaves_the_outcome_open_though_nothing_was_done():
    async def scenario(shared, client):
        shared.faults("a").lose_request = 1.0
        with pytest.raises(errors.OutcomeUnknownError):
            await client.swap_view(0, FIRST)
        assert now() >= shared.timeout_seconds
        with pytest.raises(errors.UnavailableError):
            await client.read_view()
        await asyncio.sleep(60)

    assert simulate(scenario).stored == (0, None)


def test_a_lost_reply_hides_a_swap_that_was_made():
    async def scenario(shared, client):
        shared.faults("a").lose_reply = 1.0
        with pytest.raises(errors.OutcomeUnknownError):
            await client.swap_view(0, FIRST)
        shared.heal()
        assert (await client.read_view()).view == FIRST

    simulate(scenario)


def test_a_late_swap_is_applied_after_the_node_gave_up_even_if_it_died():
    async def scenario(shared, client):
        shared.faults("a").late_request = 1.0
        process = Process("a")
        task = process.spawn(client.swap_view(0, FIRST))
        await asyncio.sleep(0.5)
        process.kill()
        assert not task.done()
        await asyncio.sleep(0.6)
        assert shared.stored.view is None
        await asyncio.sleep(20)
        assert shared.stored.view == FIRST

    simulate(scenario)


def test_a_second_swap_at_the_same_revision_ends_the_doubt():
    async def scenario(shared, client):
        shared.faults("a").late_request = 1.0
        with pytest.raises(errors.OutcomeUnknownError):
            await client.swap_view(0, FIRST)
        shared.heal()
        won = await client.swap_view(0, FIRST)
        await asyncio.sleep(60)
        assert shared.stored == won
        assert len(shared.history) == 2

    simulate(scenario)


@pytest.mark.parametrize(("cut", "applied"), [("cut_requests", False), ("cut_replies", True)])
def test_one_way_cuts(cut, applied):
    async def scenario(shared, client):
        setattr(shared.faults("a"), cut, True)
        with pytest.raises(errors.OutcomeUnknownError):
            await client.swap_view(0, FIRST)
        assert (shared.stored.view is not None) == applied

    simulate(scenario)


def test_requests_on_their_way_are_lost_when_it_goes_down():
    async def scenario(shared, client):
        shared.faults("a").delay_min = shared.faults("a").delay_max = 0.1
        swap = asyncio.ensure_future(client.swap_view(0, FIRST))
        await asyncio.sleep(0.15)
        shared.down = True
        with pytest.raises(errors.OutcomeUnknownError):
            await swap

    assert simulate(scenario).stored == (0, None)


def test_a_slow_way_takes_its_time_both_ways():
    async def scenario(shared, client):
        shared.faults("a").delay_min = shared.faults("a").delay_max = 0.2
        await client.read_view()
        assert now() == pytest.approx(0.6)

    simulate(scenario)


def test_a_change_wakes_who_waits_for_it_unless_the_hint_is_lost():
    async def scenario(shared, client):
        other = shared.client("b")
        shared.faults("b").lose_hint = 1.0
        waits = [asyncio.ensure_future(c.wait_for_change(0, 5.0)) for c in (client, other)]
        await asyncio.sleep(1)
        await client.swap_view(0, FIRST)
        await waits[0]
        assert now() < 1.1
        await waits[1]
        assert now() == pytest.approx(5.0)

    simulate(scenario)


def test_a_wait_returns_at_once_for_an_old_revision_and_never_spins():
    async def scenario(shared, client):
        await client.swap_view(0, FIRST)
        await client.wait_for_change(0, 5.0)
        assert now() < 0.1
        shared.down = True
        before = now()
        await client.wait_for_change(0, 5.0)
        assert now() == pytest.approx(before + 5.0)

    simulate(scenario)


def reborn(epoch: int) -> Member:
    return B._replace(incarnation=epoch)


def swarm(seed: int) -> str:
    """Two nodes swap as they can, under every fault at once; the digest of the trace."""

    async def main() -> str:
        trace = Trace()
        dice = random.Random(seed)
        shared = FakeCoordinator(dice, note=lambda *event: trace.add(now(), *event))
        for name in "ab":
            faults = shared.faults(name)
            faults.lose_request = faults.lose_reply = faults.late_request = 0.2
            faults.lose_hint = 0.2
        await asyncio.gather(*(struggle(shared.client(name)) for name in "ab"))
        revisions = [stored.revision for stored in shared.history]
        epochs = [stored.view.epoch for stored in shared.history if stored.view]
        assert revisions == sorted(set(revisions))
        assert epochs == list(range(1, len(epochs) + 1)), "a swap was applied twice"
        assert len(epochs) > 5
        return trace.digest()

    async def struggle(client: FakeCoordinatorClient) -> None:
        revision = 0
        for _ in range(20):
            try:
                revision, view = await client.read_view()
                successor = rules.join(view, reborn(view.epoch)) if view else FIRST
                await client.swap_view(revision, successor)
            except (errors.UnavailableError, errors.OutcomeUnknownError):
                await client.wait_for_change(revision, 1.0)

    return run(main())


def test_the_same_seed_gives_the_same_run():
    assert swarm(3) == swarm(3)
    assert len({swarm(seed) for seed in range(10)}) == 10
