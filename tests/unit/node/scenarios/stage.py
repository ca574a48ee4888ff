"""Runs the commands of a scenario: real nodes on simulated hosts, under virtual time.

Owns the cluster of one scenario and what its commands mean (README.md lists them). Every message
and every request to the coordinator takes a millisecond, so a scenario always goes the same way.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import typing
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from memfs.checksum import crc32c
from memfs.cluster.coordinator import StoredView
from memfs.errors import MemfsError
from memfs.paths import Endpoint
from memfs.protocol import frames
from memfs.protocol import messages as m
from memfs.testing.simulation.cluster import PORT, SimulatedCluster
from memfs.testing.simulation.network_conditions import Conditions
from memfs.testing.simulation.virtual import ProcessKilledError
from memfs.transport.connection import Connection
from memfs.transport.dial import dial
from memfs.types import Identity, Member, View
from tests.unit.node.scenarios.events import (
    Events,
    answer_line,
    error_line,
    view_line,
)

TRAVEL_SECONDS = 0.001
PAUSE_SECONDS = 0.1
"""After every command: enough for an answer, too short for a timeout."""
CALL_SECONDS = 1.0
"""How long ``call`` waits before it says that there is no answer yet."""
SLOW_SECONDS = 0.2
"""One way to a coordinator that is slow."""
BLOCK = {"index": 0, "sequence": 1, "block_size": 4096, "group_blocks": 16, "offset": 0}
"""What requests for blocks say unless they are told."""
SETTINGS = {
    "lease_seconds": 3.0,
    "heartbeat_seconds": 1.0,
    "replication": 2,
    "capability_seconds": 0.0,  # requests are made by hand
}


class Stage:
    """What the commands of one scenario act on. Make it inside a virtual loop."""

    def __init__(self) -> None:
        """There is nothing before ``cluster`` or ``start``."""
        self.events = Events()
        self._cluster = self._make_cluster({})
        self._peers: dict[tuple[str, str, str], Connection] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._library: Any = None
        self._members: dict[str, Member] = {}
        """Every incarnation there was, as ``n2`` (the last one) and ``n2@2`` (by its number)."""
        self._commands: dict[str, Callable[..., Any]] = {
            name.removeprefix("do_"): method
            for name, method in inspect.getmembers(self, inspect.ismethod)
            if name.startswith("do_")
        }

    def _make_cluster(self, settings: dict[str, Any]) -> SimulatedCluster:
        conditions = Conditions(TRAVEL_SECONDS, TRAVEL_SECONDS, split_chance=0.0)
        cluster = SimulatedCluster(1, conditions=conditions, **(SETTINGS | settings))
        cluster.coordinator.note = self._coordinator_says
        swap = cluster.coordinator.swap

        def told(expected: int, view: View) -> StoredView | None:
            stored = swap(expected, view)
            if stored is None:
                self.events.tell(
                    "", f"epoch {view.epoch} is not published: the record has moved on"
                )
            return stored

        cluster.coordinator.swap = told  # type: ignore[method-assign]
        return cluster

    async def run(self, command: str) -> list[str]:
        """Carry out one line; what it printed. Raises ValueError for what is no command."""
        name, *words = command.split()
        if name not in self._commands:
            raise ValueError(f"no command {name!r}; there are {', '.join(self._commands)}")
        given = dict(word.split("=", 1) for word in words if "=" in word)
        plain = [word for word in words if "=" not in word]
        result = self._commands[name](*plain, **given)
        if inspect.isawaitable(result):
            await result
        await asyncio.sleep(PAUSE_SECONDS)
        return self.events.take()

    def _coordinator_says(self, kind: str, *details: object) -> None:
        if kind == "coordinator view":
            self.events.tell("", view_line(self._cluster.coordinator.stored.view))
        elif kind.startswith("coordinator re") and details[1] == "swap_view":
            self.events.tell(
                str(details[0]), kind.removeprefix("coordinator ") + ": swap of the view"
            )

    # --- nodes -------------------------------------------------------------------------------

    async def do_cluster(self, nodes: str, **settings: str) -> None:
        """``cluster 3 replication=2``: nodes n1, n2, ... that have settled; only the view is told.

        Time counts from here.
        """
        self._cluster = self._make_cluster(
            {key: _literal(value) for key, value in settings.items()}
        )
        for number in range(1, int(nodes) + 1):
            await self._start(f"n{number}", {})
        await asyncio.sleep(2.0)
        self.events.take()
        self.events.began = asyncio.get_running_loop().time()
        self.do_view()

    async def do_start(self, name: str, **settings: str) -> None:
        """``start n4 weight=50``: a process on a host where none runs, new or after a crash."""
        values = {key: _literal(value) for key, value in settings.items()}
        host = self._cluster.host(name)
        if not host.process.alive:
            host.network.restart()
        self._later(self._start(name, values), name)

    async def _start(self, name: str, settings: dict[str, Any]) -> None:
        self._ways(name)
        await self._cluster.start_node(name, **settings)

    def _ways(self, name: str) -> None:
        faults = self._cluster.coordinator.faults(name)
        faults.delay_min = faults.delay_max = TRAVEL_SECONDS

    def do_crash(self, name: str, how: str = "") -> None:
        """``crash n1``: SIGKILL; ``crash n1 silent``: the power goes, nothing refuses either."""
        self._cluster.crash(name, silent=how == "silent")

    async def do_stop(self, name: str) -> None:
        """``stop n1``: SIGTERM; it goes on in the background."""
        self._later(self._cluster.stop(name), name)

    def do_pause(self, name: str) -> None:
        """``pause n1``: SIGSTOP."""
        self._cluster.host(name).process.pause()

    def do_resume(self, name: str) -> None:
        """``resume n1``: SIGCONT."""
        self._cluster.host(name).process.resume()

    # --- links and the coordinator -----------------------------------------------------------

    def do_block(self, *ways: str) -> None:
        """``block n1>n2 n1-n3``: hold everything back, one way or both."""
        for source, target in _ways(ways):
            self._cluster.fabric.block(source, target)

    def do_unblock(self, *ways: str) -> None:
        """``unblock n1>n2``: what was held back arrives."""
        for source, target in _ways(ways):
            self._cluster.fabric.unblock(source, target)

    def do_cut(self, *ways: str) -> None:
        """``cut n1-n2``: connections break, the next ones do not."""
        for source, target in _ways(ways):
            self._cluster.fabric.cut(source, target)

    def do_coordinator(self, name: str, *what: str) -> None:
        """``coordinator n1 down``, ``cut_requests``, ``cut_replies``, ``late``, ``slow``, ``well``.

        For ``all`` nodes or one. ``late``: requests arrive up to 3 s after they were given up.
        """
        names = list(self._cluster.nodes) if name == "all" else [name]
        for each in names:
            faults = self._cluster.coordinator.faults(each)
            faults.clear()
            self._ways(each)
            for fault in what:
                if fault == "late":
                    faults.late_request, faults.late_seconds = 1.0, 3.0
                elif fault == "slow":
                    faults.delay_min = faults.delay_max = SLOW_SECONDS
                elif fault != "well":
                    assert isinstance(getattr(faults, fault), bool)
                    setattr(faults, fault, True)

    # --- requests ----------------------------------------------------------------------------

    async def do_call(self, sender: str, target: str, message: str, /, **given: str) -> None:
        """``call x n1 MakeDirectory path=/d``: one request of client x, without retries.

        A node's name as the sender: what a late frame of that node would do; ``n2@2`` is the
        incarnation that was member 2. ``user=``, ``cluster=``, ``id=`` (of the request), ``epoch=``
        and ``payload=`` belong to connection and frame, others are the message's; ``view=+1`` is
        the published view with another epoch. ``wait=0`` does not wait for the answer.
        """
        words = [f"{key}={value}" for key, value in given.items() if key not in ("wait", "id")]
        content, user = given.pop("payload", "").encode(), given.pop("user", "root")
        wait, request_id = float(given.pop("wait", CALL_SECONDS)), int(given.pop("id", 0))
        epoch, cluster = int(given.pop("epoch", 0)), given.pop("cluster", "")
        request = self._request(message, given, content)

        async def ask() -> str:
            connection = await self._connection(sender, target, user, cluster)
            answer = await connection.call(
                request,
                (content,) if content else (),
                request_id=request_id or connection.new_request_id(),
                timeout=3600.0,
                epoch=epoch or self._stored_epoch,
            )
            payload = bytes(answer.payload)
            return repr(payload.decode()) if payload else answer_line(answer.record)

        await self._told(sender, " ".join([message, *words]), ask(), wait)

    @property
    def _stored_epoch(self) -> int:
        view = self._cluster.coordinator.stored.view
        return view.epoch if view is not None else 0

    async def _connection(self, sender: str, target: str, user: str, cluster: str) -> Connection:
        key = (sender, target, user)
        if key not in self._peers or self._peers[key].closed:
            host = self._cluster.host(f"host-{sender}")
            hello = self._hello(sender, user, cluster)
            where = Endpoint(target, PORT)
            self._peers[key] = await dial(host.environment(), where, hello, timeout=3600.0)
        return self._peers[key]

    def _hello(self, sender: str, user: str, cluster: str) -> m.Hello:
        for name, node in self._cluster.nodes.items():
            self._members[name] = self._members[f"{name}@{node.member.number}"] = node.member
        versions = (frames.VERSION_MIN, frames.VERSION_MAX)
        member = self._members.get(sender)
        if member is None:
            client = ord(sender)
            return m.Hello(*versions, cluster, m.Role.CLIENT, client, Identity(user))
        return m.Hello(
            *versions,
            cluster,
            m.Role.NODE,
            member.incarnation,
            Identity(user),
            member=member.number,
            incarnation=member.incarnation,
        )

    def _request(self, name: str, given: dict[str, str], payload: bytes) -> Any:
        cls = getattr(m, name)
        hints = typing.get_type_hints(cls)
        values: dict[str, Any] = {"crc": crc32c(payload), "length": len(payload)} | BLOCK
        values = {key: value for key, value in values.items() if key in hints}
        for key, text in given.items():
            if hints[key] is Member:
                values[key] = self._cluster.nodes[text].member
            elif hints[key] is View:
                stored = self._cluster.coordinator.stored.view
                assert stored is not None
                values[key] = stored._replace(epoch=stored.epoch + int(text))
            else:
                values[key] = _typed(hints[key], text)
        return cls(**values)

    def do_hangup(self, sender: str) -> None:
        """``hangup x``: the connections of a client close, as at the end of its process."""
        for (name, _, _), connection in self._peers.items():
            if name == sender:
                connection.close("the process ended")

    async def do_put(self, path: str, size: str) -> None:
        """``put /f 100000``: a file by the client library, with all its retries."""
        if self._library is None:
            self._library = await self._cluster.connect(timeout_seconds=3600.0)
        await self._told("c1", f"put {path}", self._library.write_bytes(path, bytes(int(size))), 10)

    async def _told(
        self, who: str, what: str, work: Awaitable[Any], wait: float = CALL_SECONDS
    ) -> None:
        """Tell the outcome of some work, now or whenever it comes."""
        task = asyncio.ensure_future(work)
        done, _ = await asyncio.wait([task], timeout=wait) if wait else (set(), None)
        if not done:
            self.events.tell(who, f"{what}: no answer yet")

        async def tell() -> None:
            try:
                result = await task
            except MemfsError as error:
                self.events.tell(who, f"{what}: {error_line(error)}")
            else:
                self.events.tell(who, f"{what}: {result if isinstance(result, str) else 'done'}")

        self._later(tell(), who)
        if done:
            await asyncio.sleep(0)

    def _later(self, work: Awaitable[Any], who: str) -> None:
        async def settled() -> None:
            try:
                await work
            except ProcessKilledError:
                pass
            except MemfsError as error:
                self.events.tell(who, error_line(error))

        task = asyncio.create_task(settled())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # --- time, and what there is to see ------------------------------------------------------

    async def do_run(self, seconds: str) -> None:
        """``run 3s``: let time pass."""
        await asyncio.sleep(float(seconds.removesuffix("s")) - PAUSE_SECONDS)

    def do_watch(self, *messages: str) -> None:
        """``watch Replicate RenewLease``: tell these messages as they leave; none: no more."""
        assert all(hasattr(m, name) for name in messages), f"not all of {messages} are messages"
        self.events.watched = set(messages)

    def do_view(self) -> None:
        """``view``: the record at the coordinator."""
        self.events.tell("", view_line(self._cluster.coordinator.stored.view))

    def do_show(self, *names: str) -> None:
        """``show``: what each node that runs is, and holds."""
        for name in names or sorted(self._cluster.nodes):
            node = self._cluster.nodes[name]
            role = node.role
            text = f"{role.title}, knows epoch {node.membership.epoch}"
            if role.namespace is not None:
                text += f", log {role.namespace.applied}, committed {role.committed}"
            if node.store.count:
                text += f", {node.store.count} blocks"
            self.events.tell(name, text)


def _ways(words: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for word in words:
        if ">" in word:
            yield typing.cast("tuple[str, str]", tuple(word.split(">")))
        else:
            first, second = word.split("-")
            yield first, second
            yield second, first


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def _typed(hint: Any, text: str) -> Any:
    if hint is bytes:
        return text.encode()
    return text if hint is str else ast.literal_eval(text)
