"""A deterministic event loop: time is a number that jumps to the next timer when all is quiet.

Owns virtual time, the order in which callbacks run, and the life of simulated processes: every
callback belongs to the :class:`Process` of the context that scheduled it, so a process can be
killed (nothing of it ever runs again, not even ``finally``) or paused (it all runs later).
Knows nothing of networks or of memfs. Invariant: no real clock, selector, thread or hash of an
address decides anything, so one program and one seed always give one run.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import inspect
from collections import deque
from collections.abc import Callable, Generator
from contextvars import Context, ContextVar, copy_context
from typing import Any, NoReturn, TypeVar

from memfs.concurrency import Coro

T = TypeVar("T")

_RESOLUTION = 1e-9
_BURIAL_SECONDS = 60.0
_process: ContextVar[Process | None] = ContextVar("process", default=None)


class DeadlockError(RuntimeError):
    """Nothing is ready and no timer is set, so the program would wait for ever."""


class StepLimitError(RuntimeError):
    """The program ran more callbacks than allowed: it probably loops without waiting."""


class ProcessKilledError(RuntimeError):
    """The process that was to run a coroutine has ended."""


class Process:
    """One simulated process: whatever is scheduled from within its context."""

    def __init__(self, name: str) -> None:
        """Args: ``name``, for messages."""
        self.name = name
        self.alive = True
        self.paused = False
        self.context: Context = copy_context()
        self.context.run(_process.set, self)
        self.calls: dict[asyncio.Future[None], asyncio.Task[Any]] = {}
        """What :meth:`perform` runs now."""
        self._deferred: list[asyncio.Handle] = []
        self._remains: list[asyncio.Task[object]] = []

    def __repr__(self) -> str:
        state = "dead" if not self.alive else "paused" if self.paused else "running"
        return f"<Process {self.name} {state}>"

    def run(self, function: Callable[..., T], *arguments: object) -> T:
        """Call ``function`` as this process."""
        return self.context.copy().run(function, *arguments)

    def spawn(self, coroutine: Coro[T]) -> asyncio.Task[T]:
        """Start a task of this process."""
        loop = asyncio.get_running_loop()
        return loop.create_task(coroutine, context=self.context.copy())

    async def perform(self, coroutine: Coro[T]) -> T:
        """Await a coroutine from outside, run as this process.

        Raises :class:`ProcessKilledError` when the process ends first, and CancelledError when the
        task itself was cancelled from elsewhere.
        """
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self.alive:
            coroutine.close()
            raise ProcessKilledError(self.name)
        task = self.calls[ended] = self.spawn(coroutine)
        task.add_done_callback(lambda _done: _set_done(ended))
        try:
            await ended
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            del self.calls[ended]
        result: T = task.result()
        return result

    def kill(self) -> None:
        """End it like SIGKILL: no callback of it runs from now on."""
        self.alive = False
        self._deferred.clear()
        # Kept, so that no garbage collection runs their ``finally`` in the middle of the run.
        self._remains = [task for task in asyncio.all_tasks() if _process_of(task) is self]
        for ended in self.calls:
            if not ended.done():
                ended.set_exception(ProcessKilledError(self.name))

    def pause(self) -> None:
        """Stop it like SIGSTOP: what falls due waits for :meth:`resume`."""
        self.paused = True

    def resume(self) -> None:
        """Continue it like SIGCONT: all that fell due meanwhile runs now, in order."""
        self.paused = False
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.requeue(self._deferred)
        self._deferred = []

    def admits(self, handle: asyncio.Handle) -> bool:
        """Whether ``handle`` may run now; while paused it is kept for later."""
        if self.alive and self.paused:
            self._deferred.append(handle)
        return self.alive and not self.paused


def current_process() -> Process | None:
    """The process that the running code belongs to, None outside of any."""
    return _process.get()


class SerialTask(asyncio.Task[T]):
    """A task whose hash is its serial number: sets of tasks iterate in one order in every run."""

    serial = 0
    process: Process | None = None

    def __hash__(self) -> int:
        return self.serial


def _set_done(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)


def _process_of(task: asyncio.Task[object]) -> Process | None:
    return task.process if isinstance(task, SerialTask) else None


def tasks_of(process: Process) -> list[asyncio.Task[object]]:
    """The tasks of a process that have not ended, oldest first."""
    return sorted((t for t in asyncio.all_tasks() if _process_of(t) is process), key=hash)


class SerialFuture(asyncio.Future[T]):
    """A future with the same property."""

    serial = 0

    def __hash__(self) -> int:
        return self.serial


class VirtualLoop(asyncio.BaseEventLoop):
    """The event loop. ``time()`` starts at 0 and moves only while nothing is ready to run.

    ``run_in_executor`` runs inline; real sockets, readers, signals and subprocesses are refused.
    Use :func:`run` rather than the class.
    """

    # Private state of BaseEventLoop that a loop with its own turn has to share.
    _ready: deque[asyncio.Handle]
    _stopping: bool
    _timer_cancelled_count: int

    def __init__(self, step_limit: int = 20_000_000) -> None:
        """Args: ``step_limit``, callbacks granted before :class:`StepLimitError`."""
        super().__init__()
        self._now = 0.0
        self._serial = 0
        self._step_limit = self._steps_left = step_limit
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._clock_resolution = _RESOLUTION
        self.failures: list[dict[str, Any]] = []
        self.set_task_factory(self._make_task)
        self.set_exception_handler(lambda _loop, details: self.failures.append(details))

    @property
    def steps(self) -> int:
        """Callbacks that ran, or were to run, so far."""
        return self._step_limit - self._steps_left

    # --- what asyncio asks of a loop ---------------------------------------------------------

    def time(self) -> float:
        """Virtual seconds since the start."""
        return self._now

    def create_future(self) -> asyncio.Future[Any]:
        """A future with a reproducible hash."""
        future: SerialFuture[object] = SerialFuture(loop=self)
        future.serial = self._next_serial()
        return future

    def run_in_executor(  # type: ignore[override]
        self, executor: object, function: Callable[..., T], *arguments: Any
    ) -> asyncio.Future[T]:
        """Run ``function`` at once, in this thread."""
        future = self.create_future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *arguments: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run ``callback`` at virtual time ``when``."""
        timer = asyncio.TimerHandle(when, callback, arguments, self, context)
        heapq.heappush(self._timers, (when, self._next_serial(), timer))
        timer._scheduled = True  # type: ignore[attr-defined]
        return timer

    def _make_task(
        self,
        _loop: asyncio.AbstractEventLoop,
        coroutine: Coro[T] | Generator[Any, None, T],
        context: Context | None = None,
    ) -> SerialTask[T]:
        serial = self._next_serial()
        task = SerialTask(coroutine, loop=self, name=f"task-{serial}", context=context)
        task.serial = serial
        task.process = context.get(_process) if context is not None else _process.get()
        return task

    def _next_serial(self) -> int:
        self._serial += 1
        return self._serial

    def _write_to_self(self) -> None:
        pass

    def close(self) -> None:
        """Forget every timer, too."""
        super().close()
        self._timers.clear()

    # --- one turn ----------------------------------------------------------------------------

    def requeue(self, handles: list[asyncio.Handle]) -> None:
        """Run handles that were held back, before anything else that is ready."""
        self._ready.extendleft(reversed(handles))

    def _run_once(self) -> None:
        """Jump to the next timer if nothing is ready, then run what is ready.

        One function, without a call that can be avoided: a simulation spends much of its time here.
        """
        ready, timers = self._ready, self._timers
        while timers and timers[0][2]._cancelled:
            self._timer_cancelled_count -= 1
            heapq.heappop(timers)[2]._scheduled = False  # type: ignore[attr-defined]
        if timers:
            if not ready and not self._stopping and timers[0][0] > self._now:
                self._now = timers[0][0]
            end = self._now + _RESOLUTION
            while timers and timers[0][0] < end:
                timer = heapq.heappop(timers)[2]
                timer._scheduled = False  # type: ignore[attr-defined]
                ready.append(timer)
        elif not ready and not self._stopping:
            self._report_deadlock()
        count = len(ready)
        self._steps_left -= count
        if self._steps_left < 0:
            raise StepLimitError(f"the step limit was reached at {self._now:.3f} s")
        for _ in range(count):
            handle = ready.popleft()
            if not handle._cancelled:
                context: Context = handle._context  # type: ignore[attr-defined]
                process = context.get(_process)
                if process is None or process.admits(handle):
                    try:  # as Handle._run does, without its frame
                        context.run(handle._callback, *handle._args)  # type: ignore[attr-defined]
                    except (SystemExit, KeyboardInterrupt):
                        raise
                    except BaseException as error:
                        message = f"exception in callback {handle!r}"
                        self.call_exception_handler({"message": message, "exception": error})

    def _report_deadlock(self) -> NoReturn:
        waiting = sorted(asyncio.all_tasks(self), key=hash)
        names = "; ".join(f"{task.get_name()} {task.get_coro()!r}" for task in waiting[:10])
        raise DeadlockError(f"at {self._now:.6f} s {len(waiting)} tasks wait for ever: {names}")


def run(main: Coro[T], *, step_limit: int = 20_000_000) -> T:
    """Run ``main`` to its end on a fresh loop, then cancel what is left and close the loop.

    Raises what ``main`` raises; :class:`DeadlockError`; and, when ``main`` succeeded, the first
    exception that a callback or a forgotten task raised.
    """
    loop = VirtualLoop(step_limit)
    try:
        result = loop.run_until_complete(main)
        failures = list(loop.failures)
    finally:
        _bury(loop)
        loop.close()
    if failures:
        raise failures[0].get("exception") or RuntimeError(failures[0]["message"])
    return result


def _bury(loop: VirtualLoop) -> None:
    """Cancel every task, those of killed processes too; abandon what cannot end."""
    pending: list[SerialTask[object]] = sorted(asyncio.all_tasks(loop), key=hash)  # type: ignore[arg-type]
    for task in pending:
        if task.process is not None:
            task.process.alive, task.process.paused = True, False
    waiting = _cancel_all(pending)
    try:
        loop.run_until_complete(waiting)
    except (DeadlockError, StepLimitError, TimeoutError):
        waiting.close()  # while the loop, whose timer it gives back, is still open
    for task in pending:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        coroutine = task.get_coro()
        if inspect.iscoroutine(coroutine) and not task.done():
            with contextlib.suppress(RuntimeError):  # it waits for something even now
                coroutine.close()  # while the loop is open; not whenever it is collected


async def _cancel_all(tasks: list[SerialTask[object]]) -> None:
    for task in tasks:
        task.cancel()  # here, where a loop runs: a request that is given up resets its connection
    if tasks:
        done, _ = await asyncio.wait(tasks, timeout=_BURIAL_SECONDS)
        for task in done:
            if not task.cancelled():
                task.exception()  # nobody else looks at it any more
