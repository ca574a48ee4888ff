"""Standard input and output as byte streams beside a running event loop.

A pipe can block for hours; the loop must turn meanwhile, or the leases of open files end. So the
system calls are made in a daemon thread, which, unlike a thread of an executor, does not hold up
the end of the process when Ctrl-C comes while it waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import queue
import threading
from collections.abc import Callable

from memfs.cli.streams import OUTPUT, OutputError

PIECE_BYTES = 4 * 1024 * 1024
_CACHED_BYTES = 256 * 1024
"""Read and written by one thread, one after the other: half of a second-level cache. With twice the
memory, and a thread each, the bytes go through main memory: 1.6 times the processor time."""
_CAPACITY_BYTES = 1024 * 1024
"""Of a pipe that much goes through: what anybody may have (pipe-max-size). With the usual 64 KiB
the two processes wait for each other sixteen times as often."""


class Pipe:
    """A file descriptor whose reads and writes are awaited, one at a time."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._widened = False
        self._loop = asyncio.get_running_loop()
        self._calls: queue.SimpleQueue[tuple[Callable[[], int], asyncio.Future[int]]]
        self._calls = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True, name=f"pipe {descriptor}").start()

    @classmethod
    async def opened(cls, name: str, flags: int) -> Pipe:
        """The pipe or device ``name``: a named pipe waits for its other end."""
        pipe = cls(-1)
        pipe._descriptor = await pipe._call(lambda: os.open(name, flags | os.O_CLOEXEC))
        return pipe

    async def close(self) -> None:
        """Give back a descriptor of :meth:`opened`."""

        def end() -> int:
            os.close(self._descriptor)
            return 0

        await self._call(end)

    async def read_into(self, buffer: memoryview) -> int:
        """Fill ``buffer`` as far as the stream reaches; fewer bytes only at its end."""

        def fill() -> int:
            filled = 0
            while filled < len(buffer):
                count = os.readv(self._descriptor, [buffer[filled:]])
                if count == 0:
                    break
                filled += count
            return filled

        return await self._call(fill)

    async def write(self, data: memoryview) -> None:
        """Write all of ``data``. Raises BrokenPipeError, and OutputError for the output."""
        await self._written(lambda: self._drain(data), len(data))

    async def write_from(self, read: Callable[[memoryview], int], count: int) -> int:
        """Write ``count`` bytes that ``read`` fills memory with, in the thread of the pipe.

        Ends where it fills none; returns the bytes written. Raises as :meth:`write`.
        """

        def pass_on() -> int:
            memory, done = memoryview(bytearray(min(count, _CACHED_BYTES))), 0
            while done < count and (got := read(memory[: count - done])) > 0:
                done += self._drain(memory[:got])
            return done

        return await self._written(pass_on, count)

    def _drain(self, data: memoryview) -> int:
        at = 0
        while at < len(data):
            at += os.write(self._descriptor, data[at:])
        return at

    async def _written(self, work: Callable[[], int], size: int) -> int:
        if not self._widened and size >= _CAPACITY_BYTES:
            self._widened = True
            with contextlib.suppress(OSError):  # no pipe, or its user has too many
                fcntl.fcntl(self._descriptor, fcntl.F_SETPIPE_SZ, _CAPACITY_BYTES)
        try:
            return await self._call(work)
        except BrokenPipeError:
            raise
        except OSError as error:
            if self._descriptor == OUTPUT:
                raise OutputError(error) from None
            raise

    async def _call(self, function: Callable[[], int]) -> int:
        done: asyncio.Future[int] = self._loop.create_future()
        self._calls.put((function, done))
        return await done

    def _run(self) -> None:
        while True:
            function, done = self._calls.get()
            try:
                result, error = function(), None
            except OSError as caught:
                result, error = 0, caught
            try:
                self._loop.call_soon_threadsafe(_set_outcome, done, result, error)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return


def _set_outcome(done: asyncio.Future[int], result: int, error: OSError | None) -> None:
    if done.done():
        return
    if error is not None:
        done.set_exception(error)
    else:
        done.set_result(result)
