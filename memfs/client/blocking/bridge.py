"""From blocking callers to the event loop that does the work.

Owns the one background thread of this process and its loop. Must not know files. A blocking call
costs one wake-up of the loop and one of the caller (``call_soon_threadsafe`` and a lock): about
25 us, half of what ``asyncio.run_coroutine_threadsafe`` takes.

After a fork the child has no such thread: the bridge notices by the process's ``generation`` and
starts a new one when it is needed; what belonged to the old loop is kept untouched for ever,
since closing it would disturb the parent. At exit the thread is stopped after the sessions.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import inspect
import os
import threading
import weakref
from collections.abc import Callable
from typing import Generic, ParamSpec, Protocol, TypeVar

import uvloop

from memfs.concurrency import Coro
from memfs.machine import check_descriptors

P = ParamSpec("P")
T = TypeVar("T")

CANCEL_SECONDS = 2.0
"""After Ctrl-C: how long the interrupted call may take to stop using the caller's memory."""
EXIT_SECONDS = 5.0
LOOP_DESCRIPTORS = 7
"""What an event loop takes. One that gets them half-way writes to the standard error."""


class Closable(Protocol):
    """A file that is closed at exit."""

    def close(self) -> object:
        """Close it."""


class ClosedAtExit(Closable, Protocol):
    """A session that is closed at exit."""

    def _begin_closing(self) -> None: ...


class Bridge:
    """The background loop of one process generation."""

    def __init__(self) -> None:
        self.generation = generation()
        _keep_standard_streams()
        check_descriptors(LOOP_DESCRIPTORS)
        self.loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        self._files: weakref.WeakSet[Closable] = weakref.WeakSet()
        self._sessions: weakref.WeakSet[ClosedAtExit] = weakref.WeakSet()
        self._ended = False
        self._thread = threading.Thread(target=self._serve, name="memfs", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self._ended = True

    @property
    def inside(self) -> bool:
        """Whether the caller runs in the loop's own thread, where waiting would never end."""
        return threading.current_thread() is self._thread

    def run(self, work: Callable[P, Coro[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work(*args, **kwargs)`` on the loop; returns its result or raises its error.

        An interrupt (Ctrl-C) cancels the work, waits briefly until it has let go, and is raised; a
        result that had come already is closed. The coroutine is made on the loop's thread, where no
        signal handler runs: it never comes into being without being run.
        """
        if self.inside:
            raise RuntimeError("a blocking memfs call was made from the memfs loop itself")
        if not self.running:
            raise RuntimeError("memfs was shut down: the interpreter is exiting")
        call = _Call(functools.partial(work, *args, **kwargs))
        try:
            self.loop.call_soon_threadsafe(call.start)
            call.done.acquire()
            return call.result()
        except BaseException:
            self._interrupt(call)
            raise

    def _interrupt(self, call: _Call[T]) -> None:
        """The caller does not wait any more: nothing goes on, and nothing stays open."""
        if not call.over:
            self.loop.call_soon_threadsafe(call.cancel)
            call.done.acquire(timeout=CANCEL_SECONDS)
        close = getattr(call.unclaimed(), "close", None)
        if inspect.iscoroutinefunction(close):
            self.run(close)
        elif close is not None:
            close()

    def begin(self, work: Callable[P, Coro[object]], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Start ``work`` and do not wait: for finalisers, which may run in any thread."""
        if self.running:
            self.loop.call_soon_threadsafe(_Call(functools.partial(work, *args, **kwargs)).start)

    def close_file_at_exit(self, file: Closable) -> None:
        """Have ``file.close()`` called, if it still exists, while sessions are open."""
        self._files.add(file)

    def close_session_at_exit(self, session: ClosedAtExit) -> None:
        """Have ``session.close()`` called, if it still exists, before the thread stops."""
        self._sessions.add(session)

    @property
    def running(self) -> bool:
        """Whether the loop takes work.

        Not ``is_alive()``: a signal handler that raises in it has some releases of Python believe
        that the thread has ended.
        """
        return not self._ended and not self.loop.is_closed()

    def stop(self) -> None:
        """Close what is still open, files first, end what still goes on, and stop the thread."""
        for session in list(self._sessions):
            session._begin_closing()
        for owner in [*self._files, *self._sessions]:
            with contextlib.suppress(Exception):
                owner.close()
        if self.running:
            ending = _Call(_end_others)
            self.loop.call_soon_threadsafe(ending.start)
            ending.done.acquire(timeout=EXIT_SECONDS)
            self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(EXIT_SECONDS)


async def _end_others() -> None:
    """Cancel all other tasks of this loop and wait until they have let go.

    What is destroyed with its loop complains on stderr, as do its clean-ups, which find no loop.
    """
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _keep_standard_streams() -> None:
    """Open /dev/null as whichever of the descriptors 0 to 2 this process was started without.

    A socket of the loop would get such a number otherwise, and libuv aborts the process over it.
    """
    while True:
        number = os.open(os.devnull, os.O_RDWR)
        if number > 2:
            os.close(number)
            return


class _Call(Generic[T]):
    """One coroutine run on the loop for a waiting thread."""

    __slots__ = ("_begun", "_error", "_result", "_task", "_work", "done", "over")

    def __init__(self, work: Callable[[], Coro[T]]) -> None:
        self.done = threading.Lock()
        """Released when it is over. Whoever acquired it may be interrupted before it knows."""
        self.done.acquire()
        self.over = False
        self._begun = False
        self._work = work
        self._task: asyncio.Task[None] | None = None
        self._result: T
        """There is none before the work has ended, and once it was taken back."""
        self._error: BaseException | None = None

    def start(self) -> None:
        if not self.over:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        """The result is handed over in the same step in which the work ends."""
        self._begun = True
        try:
            self._result = await self._work()
        except BaseException as error:
            self._error = error
        finally:
            self._end()

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        if not self._begun:  # nor will it: a task cancelled before its first step takes none
            self._end()

    def _end(self) -> None:
        self.over = True
        self.done.release()

    def unclaimed(self) -> object:
        """The result that nobody has got, if there is one."""
        result = getattr(self, "_result", None)
        if result is not None:
            del self._result
        return result

    def result(self) -> T:
        error = self._error
        if error is not None:
            try:
                raise error
            finally:
                self._error = None  # no cycle through the traceback's frames
                del error
        return self._result


_generation = 0
_exiting = False
_current: Bridge | None = None
_starting = threading.Lock()
_abandoned: list[object] = []


def generation() -> int:
    """Grows by one in every forked child: what was made in another one is not this process's."""
    return _generation


def serves(generation: int) -> bool:
    """Whether what was made in ``generation`` can be used, or closed, in this process.

    A forked child has nothing to close: what it inherited is its parent's. Starts no thread, which
    at the end of a process would never come to run.
    """
    return generation == _generation and _current is not None and _current.running


def bridge() -> Bridge:
    """The bridge of this process, started when it is first needed."""
    global _current
    current = _current
    if current is None:
        if _exiting:
            raise RuntimeError("memfs was shut down: the interpreter is exiting")
        with _starting:
            if _current is None:
                _current = Bridge()
            current = _current
    return current


_inherited: list[Callable[[], None]] = []


def in_child(action: Callable[[], None]) -> None:
    """Have ``action`` run in every forked child, before anything else of memfs."""
    _inherited.append(action)


def _after_fork() -> None:
    global _generation, _current, _starting
    _generation += 1
    _starting = threading.Lock()
    if _current is not None:
        _abandoned.append(_current)
        _current = None
    for action in _inherited:
        action()


def abandon(inherited: object) -> None:
    """Keep forever what a child inherited from its parent's loop, since finalising would use it."""
    _abandoned.append(inherited)


def _at_exit() -> None:
    global _exiting
    _exiting = True
    if _current is not None:
        _current.stop()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
