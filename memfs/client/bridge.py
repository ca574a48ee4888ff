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
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")

CANCEL_SECONDS = 2.0
"""After Ctrl-C: how long the interrupted call may take to let go of the caller's memory."""
EXIT_SECONDS = 5.0


class Bridge:
    """The background loop of one process generation."""

    def __init__(self) -> None:
        self.generation = generation()
        self.loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        self._files: weakref.WeakSet[Any] = weakref.WeakSet()
        self._sessions: weakref.WeakSet[Any] = weakref.WeakSet()
        self._thread = threading.Thread(target=self._serve, name="memfs", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    @property
    def inside(self) -> bool:
        """Whether the caller runs in the loop's own thread, where waiting would never end."""
        return threading.current_thread() is self._thread

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` on the loop; returns its result or raises its error.

        An interrupt (Ctrl-C) cancels the work, waits briefly until it has let go, and is raised.
        """
        if self.inside:
            work.close()
            raise RuntimeError("a blocking memfs call was made from the memfs loop itself")
        if not self.running:
            work.close()
            raise RuntimeError("memfs was shut down: the interpreter is exiting")
        call = _Call(work)
        self.loop.call_soon_threadsafe(call.start)
        try:
            call.done.acquire()
        except BaseException:
            self.loop.call_soon_threadsafe(call.cancel)
            call.done.acquire(timeout=CANCEL_SECONDS)
            raise
        return call.result()  # type: ignore[no-any-return]

    def begin(self, work: Coroutine[Any, Any, object]) -> None:
        """Start ``work`` and do not wait: for finalisers, which may run in any thread."""
        if not self.running:
            work.close()
            return
        self.loop.call_soon_threadsafe(_Call(work).start)

    def close_file_at_exit(self, file: Any) -> None:
        """Have ``file.close()`` called, if it still exists, while sessions are open."""
        self._files.add(file)

    def close_session_at_exit(self, session: Any) -> None:
        """Have ``session.close()`` called, if it still exists, before the thread stops."""
        self._sessions.add(session)

    @property
    def running(self) -> bool:
        """Whether the loop takes work."""
        return self._thread.is_alive() and not self.loop.is_closed()

    def stop(self) -> None:
        """Close what is still open, files first, and stop the thread."""
        for owner in [*self._files, *self._sessions]:
            with contextlib.suppress(Exception):
                owner.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(EXIT_SECONDS)


class _Call:
    """One coroutine run on the loop for a waiting thread."""

    __slots__ = ("_error", "_result", "_task", "_work", "done")

    def __init__(self, work: Coroutine[Any, Any, Any]) -> None:
        self.done = threading.Lock()
        self.done.acquire()
        self._work = work
        self._task: asyncio.Task[None] | None = None
        self._result: Any = None
        self._error: BaseException | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        """The result is handed over in the same step in which the work ends."""
        try:
            self._result = await self._work
        except BaseException as error:
            self._error = error
        finally:
            self.done.release()

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def result(self) -> Any:
        error = self._error
        if error is not None:
            try:
                raise error
            finally:
                self._error = None  # no cycle through the traceback's frames
                del error
        return self._result


_generation = 0
_current: Bridge | None = None
_starting = threading.Lock()
_abandoned: list[object] = []


def generation() -> int:
    """Grows by one in every forked child: what was made in another one is not this process's."""
    return _generation


def bridge() -> Bridge:
    """The bridge of this process, started when it is first needed."""
    global _current
    current = _current
    if current is None:
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
    """Keep for ever what a child inherited from its parent's loop: finalising it would use it."""
    _abandoned.append(inherited)


def _at_exit() -> None:
    if _current is not None:
        _current.stop()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
