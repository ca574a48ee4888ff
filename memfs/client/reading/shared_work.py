"""Long copies and checks of memory, of which a second thread takes a part.

Owns one daemon thread of the process, begun when it is first wanted, where there is a second
processor for it. Must not know blocks. What is shared is a list of pieces of some hundred
microseconds, and each thread takes the next one that nobody has begun: a thread that the system
lets wait before it begins costs nothing, and after one that was held up in the middle of a piece
the next lists are not shared. Invariant: when :func:`shared` has returned or raised, no piece is
being worked on, so memory that pieces refer to is the caller's again.
"""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

INTERRUPTED_SECONDS = 2.0
"""Longest that an interrupt waits for a piece."""

HELD_UP_SECONDS = 0.002
"""Some times as long as a piece takes: the processors have other work."""
ALONE = 400
"""Lists that are not shared then."""

T = TypeVar("T")
R = TypeVar("R")


class _SharedWork(Generic[T, R]):
    """``work(piece)`` for each of ``pieces``, in two threads.

    One begins with the first piece, the other with the last: what each writes to stays in the cache
    of its processor when the same memory is filled again and again.
    """

    __slots__ = ("_error", "_left", "_number", "_over", "_results", "_work")

    def __init__(self, work: Callable[[T], R], pieces: Sequence[T]) -> None:
        self._work = work
        self._number = len(pieces)
        self._left = deque(enumerate(pieces))  # each step of both threads on it is atomic
        self._results: dict[int, R] = {}
        self._error: BaseException | None = None
        self._over = threading.Lock()
        self._over.acquire()

    def finish(self) -> list[R]:
        """Do what nobody has begun, and wait for the rest; results in the order of the pieces.

        Raises what ``work`` raised, here or there.
        """
        left, taken = self._left, 0
        try:
            while left:
                try:
                    number, piece = left.popleft()
                except IndexError:
                    break
                taken += 1
                self._results[number] = self._work(piece)
        finally:
            taken += self._abandon()
            if taken < self._number:  # something was begun there
                _wait(self._over)
        if self._error is not None:
            raise self._error
        return [self._results[number] for number in range(self._number)]

    def help(self) -> None:
        """Take a part, in another thread than :meth:`finish`."""
        left = self._left
        try:
            while left:
                try:
                    number, piece = left.pop()
                except IndexError:
                    break
                self._results[number] = self._work(piece)
        except BaseException as error:
            self._error = error
            self._abandon()
        finally:
            self._over.release()

    def _abandon(self) -> int:
        """Let nothing more be begun; how much that leaves undone."""
        undone = 0
        while self._left:
            try:
                self._left.pop()
            except IndexError:
                break
            undone += 1
        return undone


def shared(work: Callable[[T], R], pieces: Sequence[T]) -> list[R]:
    """Results of ``work`` for each of ``pieces``, with the help of the second thread."""
    second = _second_thread() if len(pieces) > 1 else None
    if second is None:
        return [work(piece) for piece in pieces]
    both = _SharedWork(work, pieces)
    second.put(both.help)
    return both.finish()


def _wait(over: threading.Lock) -> None:
    """For the other thread's last piece; also where a signal handler raises meanwhile."""
    global _alone
    try:
        if not over.acquire(timeout=HELD_UP_SECONDS):
            _alone = ALONE
            over.acquire()
    except BaseException:
        over.acquire(timeout=INTERRUPTED_SECONDS)
        raise


_calls: queue.SimpleQueue[Callable[[], None]] | None = None
_alone = 0
_starting = threading.Lock()


def _second_thread() -> queue.SimpleQueue[Callable[[], None]] | None:
    """Where calls for the second thread go; None on one processor, and on busy ones."""
    global _alone, _calls
    if _alone:
        _alone -= 1  # a count that two threads may get wrong
        return None
    if _calls is None and len(os.sched_getaffinity(0)) > 1:
        with _starting:
            if _calls is None:
                calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
                threading.Thread(
                    target=_serve, args=(calls,), name="memfs copies", daemon=True
                ).start()
                _calls = calls
    return _calls


def _serve(calls: queue.SimpleQueue[Callable[[], None]]) -> None:
    while True:
        calls.get()()


def _after_fork() -> None:
    global _alone, _calls, _starting
    _alone, _calls, _starting = 0, None, threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
