"""etcd's client: which member is asked, what is known when none answers, tokens, streams."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from memfs import errors
from memfs.cluster import view as rules
from memfs.cluster.coordinator import StoredView
from memfs.cluster.etcd import EtcdCoordinator
from memfs.cluster.etcd_gateway import EtcdGateway, EtcdUser, text_of
from memfs.paths import Endpoint
from memfs.testing.simulation.virtual import run
from memfs.types import Member
from tests.unit.cluster.fake_etcd import FakeEtcd, FakeHttp
from tests.unit.transport.loopback import LoopClock

ENDPOINTS = [Endpoint(f"etcd-{n}", 2379) for n in (1, 2, 3)]
ADDRESSES = [str(endpoint) for endpoint in ENDPOINTS]
A = Member(0, "a", 7, "127.0.0.1", 10500)
FIRST = rules.form("c", A)
SECOND = rules.join(FIRST, A._replace(name="b"))
TIMEOUT = 5.0


class Bench:
    """One client, the members it knows, and the way to them."""

    def __init__(self, credentials: EtcdUser | None = None) -> None:
        self.etcd = FakeEtcd()
        self.http = FakeHttp(self.etcd)
        self.gateway = EtcdGateway(
            LoopClock(), self.http, ENDPOINTS, credentials=credentials, timeout_seconds=TIMEOUT
        )
        self.coordinator = EtcdCoordinator(LoopClock(), self.gateway, "memfs")

    def modes(self, *modes: str) -> None:
        self.http.modes = dict(zip(ADDRESSES, modes, strict=True))
        self.http.asked.clear()

    @property
    def asked(self) -> list[str]:
        return [address for address, _ in self.http.asked]


def simulate(
    scenario: Callable[[Bench], Awaitable[Any]], credentials: EtcdUser | None = None
) -> None:
    async def main() -> None:
        await scenario(Bench(credentials))

    run(main())


def now() -> float:
    return asyncio.get_running_loop().time()


# --- which member is asked ------------------------------------------------------------------------


def test_a_member_that_answers_is_asked_again() -> None:
    async def scenario(bench: Bench) -> None:
        bench.modes("refused", "", "")
        await bench.coordinator.read_view()
        await bench.coordinator.swap_view(0, FIRST)
        assert bench.asked == [ADDRESSES[0], *[ADDRESSES[1]] * 2]

    simulate(scenario)


@pytest.mark.parametrize("mode", ["refused", "silent", "deaf", "broken", "leaderless", "gibberish"])
def test_a_read_goes_round_until_a_member_answers(mode: str) -> None:
    async def scenario(bench: Bench) -> None:
        stored = await bench.coordinator.swap_view(0, FIRST)
        bench.modes(mode, mode, "")
        assert await bench.coordinator.read_view() == stored
        assert bench.asked == ADDRESSES
        assert now() < TIMEOUT

    simulate(scenario)


def test_silent_members_cost_a_read_little_and_a_slow_one_gets_the_rest() -> None:
    async def scenario(bench: Bench) -> None:
        bench.modes("silent", "silent", "")
        await bench.coordinator.read_view()
        assert now() < 0.3 * TIMEOUT
        bench.modes("silent", "silent", "silent")
        reading = asyncio.ensure_future(bench.coordinator.read_view())
        await asyncio.sleep(0.25 * TIMEOUT)
        bench.modes("silent", "silent", "")
        bench.http.seconds = 0.2 * TIMEOUT
        await reading

    simulate(scenario)


@pytest.mark.parametrize("mode", ["refused", "silent", "deaf", "broken", "leaderless", "gibberish"])
def test_when_nobody_answers_every_call_ends_in_time(mode: str) -> None:
    async def scenario(bench: Bench) -> None:
        bench.modes(mode, mode, mode)
        calls: list[Callable[[], Awaitable[Any]]] = [
            bench.coordinator.read_view,
        ]
        for call in calls:
            began = now()
            with pytest.raises(errors.UnavailableError, match="no member of etcd answers"):
                await call()
            assert now() - began < TIMEOUT + 0.1
        began = now()
        await bench.coordinator.wait_for_change(0, 3.0)
        assert now() - began == pytest.approx(3.0)

    simulate(scenario)


def test_several_calls_that_fail_together_do_not_skip_the_good_member() -> None:
    async def scenario(bench: Bench) -> None:
        bench.modes("broken", "", "broken")
        await asyncio.gather(*(bench.coordinator.read_view() for _ in range(5)))
        assert ADDRESSES[2] not in bench.asked

    simulate(scenario)


# --- the outcome of a swap ------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["silent", "deaf", "broken", "leaderless", "gibberish", "full"])
def test_a_swap_that_may_have_arrived_is_never_sent_again(mode: str) -> None:
    async def scenario(bench: Bench) -> None:
        bench.modes(mode, "", "")
        with pytest.raises(errors.OutcomeUnknownError):
            await bench.coordinator.swap_view(0, FIRST)
        assert bench.asked == ADDRESSES[:1]
        assert now() <= TIMEOUT / 2
        applied = mode in ("deaf", "broken", "full")
        assert (await bench.coordinator.read_view()).view == (FIRST if applied else None)
        assert bench.asked == ADDRESSES[:2]

    simulate(scenario)


def test_a_swap_that_was_not_sent_goes_to_the_next_member() -> None:
    async def scenario(bench: Bench) -> None:
        bench.modes("refused", "refused", "")
        stored = await bench.coordinator.swap_view(0, FIRST)
        assert stored is not None
        bench.modes("refused", "refused", "refused")
        with pytest.raises(errors.UnavailableError):
            await bench.coordinator.swap_view(stored.revision, SECOND)
        bench.modes("", "", "")
        assert await bench.coordinator.read_view() == stored

    simulate(scenario)


def test_the_identical_swap_again_ends_the_doubt() -> None:
    async def scenario(bench: Bench) -> None:
        bench.modes("broken", "", "")
        with pytest.raises(errors.OutcomeUnknownError):
            await bench.coordinator.swap_view(0, FIRST)
        assert await bench.coordinator.swap_view(0, FIRST) is None
        assert (await bench.coordinator.read_view()).view == FIRST

    simulate(scenario)


# --- what is stored -------------------------------------------------------------------------------


def test_the_layout_of_the_keys() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.coordinator.swap_view(0, FIRST)
        assert sorted(bench.etcd.pairs) == [b"memfs/view"]

    simulate(scenario)


def test_prefixes_are_worlds_apart() -> None:
    async def scenario(bench: Bench) -> None:
        other = EtcdCoordinator(LoopClock(), bench.gateway, "memfs2")
        await bench.coordinator.swap_view(0, FIRST)
        assert await other.read_view() == (0, None)

    simulate(scenario)


def test_a_foreign_record_is_refused() -> None:
    async def scenario(bench: Bench) -> None:
        put = {"key": text_of(b"memfs/view"), "value": text_of(b"not ours")}
        bench.etcd.handle("/v3/kv/txn", {"success": [{"request_put": put}]}, "")
        with pytest.raises(errors.DataLossError, match="memfs/view holds no view"):
            await bench.coordinator.read_view()

    simulate(scenario)


def test_what_was_deleted_and_made_again_has_another_revision() -> None:
    async def scenario(bench: Bench) -> None:
        stored = await bench.coordinator.swap_view(0, FIRST)
        assert stored is not None
        del bench.etcd.pairs[b"memfs/view"]
        assert await bench.coordinator.swap_view(stored.revision, SECOND) is None
        again = await bench.coordinator.swap_view(0, FIRST)
        assert again is not None
        assert again.revision > stored.revision

    simulate(scenario)


# --- users ----------------------------------------------------------------------------------------

USER = EtcdUser("memfs", "secret")


def test_a_token_is_fetched_once_and_again_when_it_is_refused() -> None:
    async def scenario(bench: Bench) -> None:
        bench.etcd.user = ("memfs", "secret")
        await bench.coordinator.read_view()
        await bench.coordinator.read_view()
        paths = [path for _, path in bench.http.asked]
        assert paths == ["/v3/auth/authenticate", "/v3/kv/range", "/v3/kv/range"]
        bench.etcd.tokens.clear()
        assert (await bench.coordinator.swap_view(0, FIRST)) is not None

    simulate(scenario, USER)


def test_a_wrong_password_is_a_wrong_setting() -> None:
    async def scenario(bench: Bench) -> None:
        bench.etcd.user = ("memfs", "other")
        with pytest.raises(errors.ConfigError, match=r"invalid user ID or password.*etcd_user"):
            await bench.coordinator.read_view()
        assert bench.asked == ADDRESSES[:1]

    simulate(scenario, USER)


def test_a_user_where_there_are_none_is_a_wrong_setting() -> None:
    async def scenario(bench: Bench) -> None:
        with pytest.raises(errors.ConfigError, match="not enabled"):
            await bench.coordinator.read_view()

    simulate(scenario, USER)


def test_a_password_changed_while_serving_ends_no_task() -> None:
    async def scenario(bench: Bench) -> None:
        bench.etcd.user = ("memfs", "secret")
        await bench.coordinator.read_view()
        bench.etcd.user, bench.etcd.tokens = ("memfs", "changed"), set()
        with pytest.raises(errors.UnavailableError, match="invalid user ID"):
            await bench.coordinator.swap_view(0, FIRST)

    simulate(scenario, USER)


def test_no_password_in_what_is_said() -> None:
    async def scenario(bench: Bench) -> None:
        bench.modes("refused", "silent", "gibberish")
        with pytest.raises(errors.UnavailableError) as caught:
            await bench.coordinator.read_view()
        assert "secret" not in str(caught.value)

    simulate(scenario, USER)


# --- watches --------------------------------------------------------------------------------------


async def swap_after(bench: Bench, seconds: float, expected: StoredView | None) -> None:
    await asyncio.sleep(seconds)
    view = SECOND if expected else FIRST
    assert await bench.coordinator.swap_view(expected.revision if expected else 0, view)


@pytest.mark.parametrize("chunk", [1, 7, 10_000])
def test_a_watch_wakes_however_its_lines_are_cut(chunk: int) -> None:
    async def scenario(bench: Bench) -> None:
        bench.http.chunk = chunk
        waiting = asyncio.ensure_future(bench.coordinator.wait_for_change(0, 9.0))
        await swap_after(bench, 1.0, None)
        await waiting
        assert now() < 1.1
        assert bench.etcd.watches == []

    simulate(scenario)


def test_a_watch_survives_a_break_and_a_compaction_meanwhile() -> None:
    async def scenario(bench: Bench) -> None:
        stored = await bench.coordinator.swap_view(0, FIRST)
        assert stored is not None
        waiting = asyncio.ensure_future(bench.coordinator.wait_for_change(stored.revision, 60.0))
        await asyncio.sleep(1)
        bench.modes("refused", "refused", "refused")
        bench.etcd.break_watches()
        await asyncio.sleep(1)
        bench.etcd.revision += 100
        bench.etcd.compact()
        bench.modes("", "", "")
        await asyncio.sleep(1)
        assert not waiting.done()
        await swap_after(bench, 0.0, stored)
        await waiting
        assert now() < 4

    simulate(scenario)


def test_a_change_while_the_watch_is_broken_is_seen_by_reading() -> None:
    async def scenario(bench: Bench) -> None:
        waiting = asyncio.ensure_future(bench.coordinator.wait_for_change(0, 60.0))
        await asyncio.sleep(1)
        bench.etcd.watches.clear()  # a member that fell silent
        await swap_after(bench, 1.0, None)
        await waiting
        assert now() < 12

    simulate(scenario)


def test_a_cancelled_wait_leaves_no_watch() -> None:
    async def scenario(bench: Bench) -> None:
        waiting = asyncio.ensure_future(bench.coordinator.wait_for_change(0, 60.0))
        await asyncio.sleep(1)
        assert len(bench.etcd.watches) == 1
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert bench.etcd.watches == []

    simulate(scenario)
