"""The workers of one gateway add up their metrics: each of them answers for all.

The process that started the workers holds one end of a socket to each, without a name that anybody
else could connect to. A worker that is asked for ``/metrics`` asks it for the total; it asks every
worker, waits a little, and adds up. Invariant (counters never fall): what a worker counted until
its last report stays in the total when it has ended, and nothing is shown that was not reported.

Lines of JSON: ``{"total": n}`` and ``{"report": n}`` ask, the same with ``metrics`` answer.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
from collections.abc import Callable
from typing import Final

from memfs import limits
from memfs.errors import UnavailableError
from memfs.monitoring.metrics import FamilySnapshot, SampleSnapshot, Snapshot
from memfs.types import Json

REPORT_SECONDS: Final = 1.0
"""A worker that does not answer within this counts with its last report."""
TOTAL_SECONDS: Final = 3.0
LINE_BYTES: Final = 16 * limits.MIB  # 65 operations of 22 samples take 0.2 MiB
_CUMULATIVE: Final = frozenset({"counter", "histogram"})
_OLDEST: Final = "process_start_time_seconds"


class Total:
    """The sum of snapshots of several processes."""

    def __init__(self) -> None:
        self._heads: dict[str, tuple[str, str]] = {}
        self._samples: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}

    def add(self, snapshot: Snapshot, *, ended: bool = False) -> None:
        """Add a process's snapshot; of one that has ended only its counters, not its gauges."""
        for family in snapshot:
            if ended and family.kind not in _CUMULATIVE:
                continue
            self._heads.setdefault(family.name, (family.kind, family.help))
            sums = self._samples.setdefault(family.name, {})
            for sample in family.samples:
                key = sample.name, tuple(sample.labels.items())
                if key in sums and sample.name == _OLDEST:
                    sums[key] = min(sums[key], sample.value)
                else:
                    sums[key] = sums.get(key, 0.0) + sample.value

    def snapshot(self) -> Snapshot:
        """The sum."""
        return [
            FamilySnapshot(
                name,
                *head,
                [
                    SampleSnapshot(sample, dict(labels), value)
                    for (sample, labels), value in self._samples[name].items()
                ],
            )
            for name, head in self._heads.items()
        ]


class WorkerLink:
    """The worker's end of the socket: reports when asked to, and asks for the total."""

    def __init__(self, connection: socket.socket) -> None:
        """``connection``: to the process that started this one. Needs :meth:`start`."""
        self._connection = connection
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Snapshot]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self, report: Callable[[], Snapshot]) -> None:
        """Begin to answer with ``report``."""
        reader, self._writer = await asyncio.open_connection(
            sock=self._connection, limit=LINE_BYTES
        )
        self._serving = asyncio.create_task(self._serve(reader, report), name="worker link")

    async def close(self) -> None:
        """Stop."""
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)
        if self._writer is not None:
            self._writer.close()

    async def total(self) -> Snapshot:
        """The metrics of all workers. Raises UnavailableError when no answer comes."""
        number = next(self._numbers)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            assert self._writer is not None, "started before it is asked"
            self._writer.write(_line({"total": number}))
            return await asyncio.wait_for(future, TOTAL_SECONDS)
        except (TimeoutError, OSError):
            raise UnavailableError("the gateway's other workers cannot be asked") from None
        finally:
            self._waiting.pop(number, None)

    async def _serve(self, reader: asyncio.StreamReader, report: Callable[[], Snapshot]) -> None:
        assert self._writer is not None, "connected before it is served"
        while line := await reader.readline():
            message = json.loads(line)
            if "report" in message:
                self._writer.write(_line({"report": message["report"], "metrics": report()}))
            else:
                future = self._waiting.get(message["total"])
                if future is not None and not future.done():
                    future.set_result(_snapshot(message))


class WorkerTotals:
    """The parent's end: asks the workers and adds up."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._workers: set[_Worker] = set()
        self._ended = Total()
        self._ended_snapshot: Snapshot = []

    async def serve(self, connection: socket.socket) -> None:
        """Serve one worker until it has ended."""
        reader, writer = await asyncio.open_connection(sock=connection, limit=LINE_BYTES)
        worker = _Worker(writer)
        self._workers.add(worker)
        totals: set[asyncio.Task[None]] = set()
        try:
            while line := await reader.readline():
                message = json.loads(line)
                if "report" in message:
                    worker.reported(message["report"], _snapshot(message))
                else:
                    task = asyncio.create_task(self._answer(worker, message["total"]))
                    totals.add(task)
                    task.add_done_callback(totals.discard)
        except ConnectionError:
            pass  # it was killed with something unread
        finally:
            self._workers.discard(worker)
            worker.forget()
            self._ended.add(worker.last, ended=True)
            self._ended_snapshot = self._ended.snapshot()
            for task in totals:
                task.cancel()
            writer.close()

    async def total(self) -> Snapshot:
        """The metrics of all workers, including those that have ended."""
        number = next(self._numbers)
        asked = list(self._workers)
        await asyncio.gather(*(each.ask(number) for each in asked))
        total = Total()
        total.add(self._ended_snapshot)
        for each in self._workers.intersection(asked):
            total.add(each.last)
        return total.snapshot()

    async def _answer(self, worker: _Worker, number: int) -> None:
        worker.send({"total": number, "metrics": await self.total()})


class _Worker:
    """One worker, and what it last reported."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.last: Snapshot = []
        self._writer = writer
        self._waiting: dict[int, asyncio.Future[None]] = {}

    def send(self, message: dict[str, object]) -> None:
        self._writer.write(_line(message))

    async def ask(self, number: int) -> None:
        """Ask it for a report and wait a little."""
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        self.send({"report": number})
        await asyncio.wait([future], timeout=REPORT_SECONDS)
        self._waiting.pop(number, None)

    def reported(self, number: int, snapshot: Snapshot) -> None:
        self.last = snapshot
        future = self._waiting.get(number)
        if future is not None and not future.done():
            future.set_result(None)

    def forget(self) -> None:
        """Give up waiting for its report."""
        for future in self._waiting.values():
            if not future.done():
                future.set_result(None)


def _line(message: dict[str, object]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def _snapshot(message: dict[str, Json]) -> Snapshot:
    return [
        FamilySnapshot(name, kind, text, [SampleSnapshot(*sample) for sample in samples])
        for name, kind, text, samples in message["metrics"]
    ]
