"""Sessions over simulated streams: routing, retries under one id, failover, the budget."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from memfs import errors
from memfs.client.session import view_search
from memfs.client.session.connecting import connect_session
from memfs.client.session.discovery import STAGGER_SECONDS
from memfs.client.session.primary_requests import ATTEMPT_SECONDS
from memfs.client.session.session import Session
from memfs.config import ClientConfig
from memfs.paths import Endpoint
from memfs.protocol import messages as m
from memfs.testing.simulation.network import Fabric
from memfs.testing.simulation.virtual import run
from memfs.transport.environment import Environment
from memfs.transport.server import IncomingCall, Reply, Server
from memfs.types import Attributes, Member, View
from tests.unit.transport.loopback import LoopClock, NoDisk

ATTRIBUTES = Attributes(2, 0, 0o644, 1, "ann", "staff", 0, 0, 0, 0, 4096, 16, 1, 1, 1)
FOUND = m.LookupReply(ATTRIBUTES)
MADE = m.MadeReply(ATTRIBUTES)


class ScriptedNode:
    """A node that answers every command and query through ``answer``."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number
        self.calls: list[IncomingCall[object]] = []
        self.answer: Callable[[IncomingCall[object]], Any] = lambda call: FOUND
        self.view: View | None = None

    def welcome(self, hello: m.Hello, connection: Any) -> m.Welcome:
        return m.Welcome(1, "c", f"n{self.number}", self.number, self.number, self.view)

    def sink(self, call: IncomingCall[object]) -> None:
        return None

    async def handle(self, call: IncomingCall[object]) -> Reply:
        if isinstance(call.request, (m.Ping, m.Goodbye)):
            self.calls.append(call)
            return Reply(m.Empty())
        self.calls.append(call)
        found = self.answer(call)
        if asyncio.iscoroutine(found):
            found = await found
        return Reply(found, epoch=self.view.epoch if self.view else 0)

    def denied(self, call: Any, error: Any) -> None:
        raise AssertionError("nobody asks for what is for nodes only")

    def connection_closed(self, connection: Any) -> None:
        pass


class World:
    """Nodes n1, n2, ... of one view and the environment of a client."""

    def __init__(self, nodes: int = 3) -> None:
        self.fabric = Fabric(3)
        self.nodes = {number: ScriptedNode(self, number) for number in range(1, nodes + 1)}
        self.servers: dict[int, Server] = {}
        members = tuple(Member(n, f"n{n}", n, f"n{n}", 10500) for n in self.nodes)
        self.view = View("c", 1, 1, (1,), members, nodes + 1)

    def environment(self, host: str) -> Environment:
        return Environment(LoopClock(), random.Random(7), self.fabric.host(host), NoDisk())

    async def start(self) -> None:
        for number, node in self.nodes.items():
            server = self.servers[number] = Server(self.environment(f"n{number}"), node)
            await server.listen(Endpoint(f"n{number}", 10500))
        self.publish(primary=1)

    def publish(self, primary: int, epoch: int = 1) -> None:
        self.view = self.view._replace(primary=primary, in_sync=(primary,), epoch=epoch)
        for node in self.nodes.values():
            node.view = self.view

    async def session(self, *hosts: str, **options: Any) -> Session:
        endpoints = tuple(Endpoint(host, 10500) for host in hosts or ("n1",))
        config = ClientConfig(endpoints=endpoints, user="ann", **options)
        return await connect_session(config, self.environment("client"))

    async def stop(self, number: int) -> None:
        await self.servers.pop(number).close()

    async def close(self) -> None:
        for number in list(self.servers):
            await self.stop(number)


def in_world(
    *hosts: str, nodes: int = 3, **options: Any
) -> Callable[[Callable[[World, Session], Awaitable[None]]], Callable[[], None]]:
    """A test gets a world that runs and a session with it that is open."""

    def decorate(test: Callable[[World, Session], Awaitable[None]]) -> Callable[[], None]:
        async def main() -> None:
            world = World(nodes)
            await world.start()
            session = await world.session(*hosts, **options)
            await test(world, session)
            await session.close()
            await world.close()

        return lambda: run(main())

    return decorate


def test_any_endpoint_will_do():
    async def main():
        world = World()
        await world.start()
        session = await world.session("nowhere", "n3")
        assert await session.ask(m.Lookup(b"/")) == FOUND
        assert [len(node.calls) for node in world.nodes.values()] == [1, 0, 0]
        await session.close()
        assert isinstance(world.nodes[1].calls[-1].request, m.Goodbye)
        await world.close()

    run(main())


def test_nobody_there_names_what_was_tried():
    async def main():
        world = World()
        world.fabric.host("nowhere")
        world.fabric.host("nothing")
        with pytest.raises(errors.UnavailableError) as caught:
            await world.session("nowhere", "nothing")
        assert "nowhere:10500" in str(caught.value) and "nothing:10500" in str(caught.value)
        assert asyncio.get_running_loop().time() < 1, "a refusal is not waited for"

    run(main())


def test_a_node_that_starts_is_waited_for():
    async def main():
        world = World()
        await world.start()
        view = world.nodes[1].view
        world.nodes[1].view = None
        asyncio.get_running_loop().call_later(3, setattr, world.nodes[1], "view", view)
        session = await world.session()
        assert session.known.epoch == 1
        await session.close()
        await world.close()

    run(main())


@in_world()
async def test_a_command_is_retried_under_its_id_until_it_is_known(
    world: World, session: Session
) -> None:
    ids: list[int] = []

    def answer(call: IncomingCall[object]) -> Any:
        ids.append(call.header.request_id)
        if len(ids) < 3:
            return asyncio.sleep(1000)
        return MADE

    world.nodes[1].answer = answer
    assert await session.ask(m.MakeDirectory(b"/d"), deadline=session.deadline(60)) == MADE
    assert len(set(ids)) == 1 and len(ids) == 3
    world.nodes[1].answer = lambda call: asyncio.sleep(1000)
    began = asyncio.get_running_loop().time()
    with pytest.raises(errors.OutcomeUnknownError) as caught:
        await session.ask(m.MakeDirectory(b"/e"), "/e", session.deadline(25))
    assert caught.value.filename == "/e"
    assert asyncio.get_running_loop().time() - began < 26


@in_world()
async def test_no_space_says_nothing_of_an_attempt_that_was_not_answered(
    world: World, session: Session
) -> None:
    def answer(call: IncomingCall[object]) -> Any:
        if len(world.nodes[1].calls) < 2:
            return asyncio.sleep(1000)
        raise errors.NoSpaceError("the disk is full")

    world.nodes[1].calls.clear()
    world.nodes[1].answer = answer
    with pytest.raises(errors.OutcomeUnknownError, match="the disk is full"):
        await session.ask(m.MakeDirectory(b"/d"), deadline=session.deadline(60))
    with pytest.raises(errors.NoSpaceError):
        await session.ask(m.MakeDirectory(b"/e"), deadline=session.deadline(60))


@in_world()
async def test_a_query_without_answer_is_no_unknown_outcome(world: World, session: Session) -> None:
    world.nodes[1].answer = lambda call: asyncio.sleep(1000)
    with pytest.raises(errors.DeadlineError):
        await session.ask(m.Lookup(b"/"), deadline=session.deadline(2))


@in_world()
async def test_requests_follow_the_primary(world: World, session: Session) -> None:
    await session.ask(m.Lookup(b"/"))
    world.publish(primary=2, epoch=2)

    def refuse(call: IncomingCall[object]) -> Any:
        raise errors.NotPrimaryError("not any more")

    world.nodes[1].answer = refuse
    assert await session.ask(m.Lookup(b"/a")) == FOUND
    assert session.known.epoch == 2 and world.nodes[2].calls
    await world.stop(2)
    world.publish(primary=3, epoch=3)
    world.nodes[3].answer = lambda call: MADE
    assert await session.ask(m.MakeDirectory(b"/a")) == MADE
    assert world.nodes[3].calls


@in_world()
async def test_a_paused_primary_is_left_for_the_next(world: World, session: Session) -> None:
    world.nodes[1].answer = lambda call: asyncio.sleep(1000)
    asyncio.get_running_loop().call_later(5, world.publish, 2, 2)
    began = asyncio.get_running_loop().time()
    assert await session.ask(m.Lookup(b"/")) == FOUND
    assert asyncio.get_running_loop().time() - began < ATTEMPT_SECONDS + 1


@in_world()
async def test_errors_of_the_request_are_not_retried(world: World, session: Session) -> None:

    def missing(call: IncomingCall[object]) -> Any:
        raise errors.PathNotFoundError("no such file")

    world.nodes[1].answer = missing
    with pytest.raises(FileNotFoundError) as caught:
        await session.ask(m.Lookup(b"/x"), "memfs:///x")
    assert caught.value.filename == "memfs:///x"
    assert len(world.nodes[1].calls) == 1


@in_world()
async def test_a_newer_epoch_in_a_reply_is_noticed(world: World, session: Session) -> None:
    world.publish(primary=1, epoch=7)
    await session.ask(m.Lookup(b"/"))
    await asyncio.sleep(1)
    assert session.known.epoch == 7


@in_world()
async def test_pings_go_on_while_something_is_held(world: World, session: Session) -> None:
    session.keepalive.hold()
    await asyncio.sleep(31)
    pings = sum(isinstance(call.request, m.Ping) for call in world.nodes[1].calls)
    assert pings >= 6 and session.keepalive.silence() < 6
    session.keepalive.unhold()
    await asyncio.sleep(20)
    after = sum(isinstance(call.request, m.Ping) for call in world.nodes[1].calls)
    assert after <= pings + 1


@pytest.mark.parametrize("after", [0, 0.0001, 0.001, 0.002, 0.01, 0.1])
def test_a_session_whose_end_is_cancelled_leaves_nothing_open(after: float) -> None:
    async def main() -> None:
        world = World()
        await world.start()
        session = await world.session()
        await session.ask(m.Lookup(b"/"))
        connection = session.routing.open_primary
        world.nodes[1].answer = lambda call: asyncio.sleep(1000)
        waiting = asyncio.ensure_future(session.ask(m.Lookup(b"/")))
        await asyncio.sleep(1)
        closing = asyncio.ensure_future(session.close())
        await asyncio.wait((closing,), timeout=after)
        closing.cancel()
        await asyncio.wait((closing,))
        assert after == 0 or (connection is not None and connection.closed)
        await session.close()
        assert connection is not None and connection.closed
        await asyncio.gather(waiting, return_exceptions=True)
        await world.close()

    run(main())


@pytest.mark.parametrize(
    ("hosts", "after"), [(("n1",), 0.0), (("nowhere", "n2", "n3"), STAGGER_SECONDS)]
)
def test_connecting_that_is_cancelled_at_any_moment_leaves_nothing_open(
    hosts: tuple[str, ...], after: float
) -> None:
    async def main() -> None:
        world = World()
        await world.start()
        before = asyncio.all_tasks()
        cancelled = 0
        while True:
            connecting = asyncio.ensure_future(world.session(*hosts))
            await asyncio.sleep(after + cancelled * 0.0001)
            connecting.cancel()
            await asyncio.wait((connecting,))
            if not connecting.cancelled():
                break
            cancelled += 1
            await asyncio.sleep(1)
            assert [server.statistics().connections for server in world.servers.values()] == [0] * 3
            assert asyncio.all_tasks() == before
        assert cancelled > 3
        await connecting.result().close()
        await world.close()

    run(main())


@pytest.mark.parametrize("silent", [True, False])
@pytest.mark.parametrize("after", [0.0, 0.01, 0.02, 0.05, 0.1, 0.3, 0.35, 0.5, 1.0, 3.0, 10.5, 11])
def test_no_search_outlives_its_session(
    monkeypatch: pytest.MonkeyPatch, silent: bool, after: float
) -> None:
    """A loop that ends meanwhile would say so on stderr."""

    async def main() -> None:
        world = World(2)
        await world.start()
        session = await world.session()
        before = asyncio.all_tasks()
        if silent:
            world.fabric.isolate("client")
        else:
            await world.close()
        waiting = [asyncio.ensure_future(session.ask(m.Lookup(b"/"))) for _ in range(3)]
        await asyncio.sleep(after)
        await session.close()
        monkeypatch.setattr(view_search, "find_view", None)  # what is called now fails
        left = asyncio.all_tasks() - before - set(waiting)
        assert not [task for task in left if "_search" in repr(task) or "_ask" in repr(task)]
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(each, errors.MemfsError) for each in answers), answers
        world.fabric.heal()
        await world.close()

    run(main())


@in_world()
async def test_another_event_loop_is_told_what_is_wrong(world: World, session: Session) -> None:
    session.primary._loop = asyncio.new_event_loop()
    with pytest.raises(RuntimeError, match="belongs to another event loop"):
        await session.ask(m.Lookup(b"/"))
    session.primary._loop.close()
    session.primary._loop = asyncio.get_running_loop()


@in_world()
async def test_cancelling_a_request_tells_the_node(world: World, session: Session) -> None:
    stopped: list[bool] = []

    async def hang() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            stopped.append(True)

    world.nodes[1].answer = lambda call: hang()
    task = asyncio.ensure_future(session.ask(m.MakeDirectory(b"/d")))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.sleep(1)
    assert task.cancelled() and stopped


@pytest.mark.parametrize("request_", [m.Lookup(b"/f"), m.MakeDirectory(b"/d", 0o755)])
def test_a_request_refused_as_malformed_is_not_sent_again(request_: Any) -> None:
    """As a node refuses whose record it cannot read; others on the connection do not suffer."""

    @in_world(timeout_seconds=30.0)
    async def test(world: World, session: Session) -> None:
        def answer(call: IncomingCall[object]) -> Any:
            if call.request == request_:
                raise errors.InvalidArgumentError("malformed: path must be bytes, not int")
            return FOUND

        for node in world.nodes.values():
            node.answer = answer
        refused, served = await asyncio.gather(
            session.ask(request_), session.ask(m.Lookup(b"/")), return_exceptions=True
        )
        assert type(refused) is errors.InvalidArgumentError and "malformed" in str(refused)
        assert served == FOUND
        asked = [call.request for node in world.nodes.values() for call in node.calls]
        assert asked.count(request_) == 1

    test()


def test_a_request_that_is_malformed_is_not_sent_at_all() -> None:
    @in_world()
    async def test(world: World, session: Session) -> None:
        with pytest.raises(TypeError, match="path must be bytes"):
            await session.ask(m.Lookup(5))  # type: ignore[arg-type]  # that is the point
        assert await session.ask(m.Lookup(b"/")) == FOUND
        assert [len(node.calls) for node in world.nodes.values()] == [1, 0, 0]

    test()
