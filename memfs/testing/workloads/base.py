"""What all workloads share: clients, pace, sticky readers, and the end of a run.

Owns the clients and the loops around their calls. Must not know what a call means, nor which
cluster it runs on: time comes from the given clock and ``asyncio.sleep``. Invariant: every call
that can change something is in the history before it is made.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import itertools
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from memfs.client.filesystem import AsyncFileSystem
from memfs.concurrency import Coro
from memfs.errors import ClusterError, LeaseHeldError, MemfsError, PathExistsError
from memfs.testing.checkers.violation import Guarantee, Violation
from memfs.testing.history import FINAL, Call, History, Outcome

T = TypeVar("T")
Connect = Callable[[], Awaitable[AsyncFileSystem]]
RETRY_SECONDS = 0.2


@dataclass(frozen=True)
class Sizes:
    """How large a workload is."""

    writers: int = 2
    """Clients that change something."""
    readers: int = 1
    """Clients that only read, each with the connections and the view that it once had: whoever
    is cut off together with an old primary must not be told old things."""
    keys: int = 3
    """Files, logs or directories at work at a time."""
    file_bytes: int = 12_000
    """Largest whole file."""
    large_bytes: int = 120_000
    """Largest file of the workload with large files."""
    fill_bytes: int = 4_000_000
    """Most that the workload that fills memory holds."""
    pause_seconds: float = 0.03
    """Mean pause of a client between two calls."""
    timeout_seconds: float = 10.0
    """Budget of a call."""
    cancel_chance: float = 0.0
    """Share of the changing calls that are cancelled while under way."""
    verify_seconds: float = 60.0
    """How long the cluster may take at the end until everything can be read."""


class Workload(abc.ABC):
    """One kind of work in one directory. Subclasses say what a writer and a reader do."""

    def __init__(
        self,
        connect: Connect,
        *,
        seed: int | str,
        history: History,
        clock: Callable[[], float],
        top: str,
        sizes: Sizes | None = None,
    ) -> None:
        """Args: ``connect``, makes one more client; ``clock``, seconds, that of ``history``;
        ``top``, a directory that nothing else uses and that does not exist yet."""
        self.top = top
        self.history = history
        self.sizes = sizes or Sizes()
        self.random = random.Random(f"{type(self).__name__} {seed}")
        self.found: list[Violation] = []
        """Broken promises seen on the way."""
        self._connect = connect
        self._clock = clock
        self._seed = seed
        self._writers: list[AsyncFileSystem] = []
        self._readers: list[AsyncFileSystem] = []
        self._verifier: AsyncFileSystem | None = None
        self._stopped = False
        self._tokens = itertools.count()

    @property
    def name(self) -> str:
        """Counts for reports."""
        return type(self).__name__

    # --- the three steps ---------------------------------------------------------------------

    async def prepare(self) -> None:
        """Connect the clients and make what the work begins with, on a healthy cluster."""
        self._writers = [await self._connect() for _ in range(self.sizes.writers)]
        self._readers = [await self._connect() for _ in range(self.sizes.readers)]
        await self.surely(lambda: self._writers[0].makedirs(self.top, exist_ok=True))
        await self.set_up(self._writers[0])

    async def run(self, until: float) -> None:
        """Work until the clock says ``until``."""
        async with asyncio.TaskGroup() as group:
            for number, fs in enumerate(self._writers):
                group.create_task(self._loop(self.write, fs, f"{self.name}-w{number}", until))
            for number, fs in enumerate(self._readers):
                group.create_task(self._loop(self.read, fs, f"{self.name}-r{number}", until))

    def stop(self) -> None:
        """Let every client finish the call that it is making; ``run`` returns then."""
        self._stopped = True

    async def verify(self) -> list[Violation]:
        """Read everything once the cluster is healed, and check the history."""
        self._verifier = fs = await self.surely(self._connect)
        try:
            return self.found + await self.check_history(fs)
        except MemfsError as error:
            text = f"{type(error).__name__}: {error}"
            return [*self.found, Violation(Guarantee.UNREADABLE, self.top, text)]

    async def close(self) -> None:
        """Close the clients."""
        for fs in (*self._writers, *self._readers, self._verifier):
            if fs is not None:
                with contextlib.suppress(MemfsError):
                    await fs.close()
        self._writers, self._readers, self._verifier = [], [], None

    # --- what a subclass says ----------------------------------------------------------------

    async def set_up(self, fs: AsyncFileSystem) -> None:
        """Make what the work begins with."""
        return

    @abc.abstractmethod
    async def write(self, fs: AsyncFileSystem, process: str, dice: random.Random) -> None:
        """One or a few changing calls of one client."""

    @abc.abstractmethod
    async def read(self, fs: AsyncFileSystem, process: str, dice: random.Random) -> None:
        """One or a few reads of one sticky reader."""

    @abc.abstractmethod
    async def check_history(self, fs: AsyncFileSystem) -> list[Violation]:
        """Read what is there at the end, as process ``FINAL``, and run the checker."""

    # --- for subclasses ----------------------------------------------------------------------

    def path(self, *names: object) -> str:
        """A path below the workload's directory; also the key in the history."""
        return "/".join([self.top, *map(str, names)])

    def token(self, process: str) -> str:
        """A value that nothing else of this workload's run has."""
        return f"{process}:{next(self._tokens)}"

    def calls(self, key: str) -> list[Call]:
        """The history of one key."""
        return self.history.of(key)

    async def record(
        self, process: str, key: str, name: str, argument: object, work: Coro[object]
    ) -> Call:
        """One call; now and then it is cancelled on its way."""
        if process == FINAL or self.random.random() >= self.sizes.cancel_chance:
            return await self.history.record(process, key, name, argument, work)
        call = self.history.begin(process, key, name, argument)
        task = asyncio.ensure_future(self.history.follow(call, work))
        await asyncio.wait([task], timeout=self.random.uniform(0, 0.02))
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()
        elif call.outcome is Outcome.RUNNING:  # before it took its first step
            work.close()
            self.history.fail(call, asyncio.CancelledError("before it began"))
        return call

    async def look(self, key: str, name: str, work: Callable[[], Awaitable[T]]) -> T:
        """One read by ``FINAL``, in the history, repeated until the cluster answers."""
        call = self.history.begin(FINAL, key, name)
        result = await self.surely(work)
        self.history.end(call, result)
        return result

    async def surely(self, work: Callable[[], Awaitable[T]]) -> T:
        """Repeat something harmless until the cluster can do it, ``verify_seconds`` at most."""
        deadline = self._clock() + self.sizes.verify_seconds
        while True:
            try:
                return await work()
            except (ClusterError, LeaseHeldError):
                if self._clock() >= deadline:
                    raise
            await asyncio.sleep(RETRY_SECONDS)

    async def make_directory(self, fs: AsyncFileSystem, path: str) -> None:
        """A directory that may exist already, because an answer was lost."""
        with contextlib.suppress(PathExistsError):
            await self.surely(lambda: fs.mkdir(path))

    async def _loop(
        self,
        step: Callable[[AsyncFileSystem, str, random.Random], Awaitable[None]],
        fs: AsyncFileSystem,
        process: str,
        until: float,
    ) -> None:
        dice = random.Random(f"{process} {self._seed}")
        while self._clock() < until and not self._stopped:
            await step(fs, process, dice)
            await asyncio.sleep(dice.expovariate(1 / self.sizes.pause_seconds))
