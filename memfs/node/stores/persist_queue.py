"""Which changes are sent to the stores next: pure bookkeeping, told what time it is.

Owns what is being sent, what failed and when that is tried again, and who waits for what. A look
for what is due looks at few changes, however many there are: rounds through all of them are made
in parts, and what somebody waits for comes first.

Invariants: of one name one thing is under way at a time; a change follows earlier deletions of the
same name and of those above it; a directory is deleted after what was in it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, TypeAlias

from memfs import errors
from memfs.node.namespace.tables.unsaved import Key
from memfs.node.namespace.tables.volume import Volume
from memfs.quantities import counted

LOAD_MOST: Final = 32
"""Under way at once: a small file or a deletion counts as 1 ..."""
LARGE_LOAD: Final = 4
"""... and a larger one as this, as it is sent in parts."""
SMALL_BYTES: Final = 256 * 1024
LOOKS: Final = 256
"""Changes looked at in a row, microseconds each."""
FIRST_WAIT_SECONDS: Final = 0.5
LONGEST_WAIT_SECONDS: Final = 60.0

Job: TypeAlias = int | Key
"""A changed slot, or the mount and key of what was deleted."""


class _Failure(NamedTuple):
    """What went wrong, and when it is tried again."""

    times: int
    due: float
    error: errors.MemfsError


class StoreWaiter:
    """Somebody who waits until all of some changes are stored, or one of them failed."""

    def __init__(self, jobs: Iterable[Job], running: Iterable[Job]) -> None:
        """What is ``running`` may have begun with what is over now, keys say: it is tried again."""
        self.left = set(jobs)
        self._again = self.left.intersection(running)
        self.error: errors.MemfsError | None = None
        self.changed = asyncio.Event()

    def ended(self, job: Job, *, stored: bool, error: errors.MemfsError | None) -> bool:
        """A change was tried; returns whether it is to be tried anew at once."""
        if stored:
            self.left.discard(job)
            if not self.left:
                self.changed.set()
            return False
        if error is not None and job not in self._again:
            self.failed(error)
            return False
        self._again.discard(job)
        return True

    def failed(self, error: errors.MemfsError) -> None:
        """There is no use in waiting longer."""
        self.error = error
        self.changed.set()


class PersistQueue:
    """The changes of one term that are due, and those under way."""

    def __init__(self, volume: Volume) -> None:
        """``volume`` has the changes."""
        self._volume = volume
        self._running: dict[Job, int] = {}
        """What is under way, and its load."""
        self._busy: dict[Key, Job] = {}
        """The names of what is under way."""
        self._load = 0
        self._failures: dict[Job, _Failure] = {}
        self._away: dict[int, _Failure] = {}
        """Stores that did not answer, by mount: they are not asked for a while."""
        self._waiting: dict[Job, list[StoreWaiter]] = {}
        self._first: deque[Job] = deque()
        """What somebody waits for, to be begun."""
        self._round = self._unsaved()

    @property
    def running(self) -> Iterable[Job]:
        """What is under way."""
        return self._running.keys()

    def is_unsaved(self, job: Job) -> bool:
        """Does the store lack it still?"""
        mounts = self._volume.mounts
        return job in mounts.tombstones if isinstance(job, tuple) else job in mounts.changes

    def key_of(self, job: Job) -> Key | None:
        """The name in a store that a job is about; None: it has none any more."""
        if isinstance(job, tuple):
            return job
        mounts, tree = self._volume.mounts, self._volume.tree
        mount = mounts.mount_of(tree, job)
        key = mounts.key_of(tree, mount, job) if mount is not None else None
        return (mount.number, key) if mount is not None and key is not None else None

    # --- what is next ------------------------------------------------------------------------

    def begin(self, now: float) -> Iterator[Job]:
        """What is due and there is room for; it counts as under way."""
        looks = min(len(self._first), LOOKS)
        for _ in range(looks):
            if self._load >= LOAD_MOST:
                return
            job = self._first.popleft()
            if job in self._waiting and job not in self._running and self.is_unsaved(job):
                if self._begin(job, now):
                    yield job
                else:
                    self._first.append(job)
        for _ in range(LOOKS - looks):
            if self._load >= LOAD_MOST:
                return
            found = next(self._round, None)
            if found is None:
                self._round = self._unsaved()
                return
            if self._begin(found, now):
                yield found

    def _unsaved(self) -> Iterator[Job]:
        mounts = self._volume.mounts
        yield from mounts.tombstones.in_order()
        yield from mounts.changes.from_slot()

    def _begin(self, job: Job, now: float) -> bool:
        if job in self._running or not self.is_unsaved(job) or not self._is_due(job, now):
            return False
        key = self.key_of(job)
        if key is None or key in self._busy:
            return False
        if isinstance(job, int) and self.follows_deletion(key):
            return False
        self._busy[key] = job
        self._running[job] = self._load_of(job)
        self._load += self._running[job]
        return True

    def _is_due(self, job: Job, now: float) -> bool:
        failure = self._failures.get(job)
        if failure is not None and failure.due > now:
            return False
        mounts, urgent = self._volume.mounts, self._is_waited_for(job)
        number = job[0] if isinstance(job, tuple) else mounts.changes[job].mount
        away = self._away.get(number)
        if away is not None and away.due > now and not urgent:
            return False
        if isinstance(job, tuple):
            below = mounts.tombstones.has_below(job) or mounts.is_burying(job)
            return not (mounts.tombstones[job].directory and below)
        return urgent or job not in self._volume.sessions.writers

    def _is_waited_for(self, job: Job) -> bool:
        """By itself, or as a part of a deleted directory that somebody waits for?"""
        if job in self._waiting or not self._waiting or not isinstance(job, tuple):
            return job in self._waiting
        return any(key in self._waiting for key in _with_those_above(job))

    def follows_deletion(self, key: Key) -> bool:
        """Is a deletion of the same name, or of one above it, still to come first?"""
        tombstones = self._volume.mounts.tombstones
        return bool(tombstones) and any(each in tombstones for each in _with_those_above(key))

    def _load_of(self, job: Job) -> int:
        small = isinstance(job, tuple) or self._volume.mounts.changes[job].size <= SMALL_BYTES
        return 1 if small else LARGE_LOAD

    # --- what became of it -------------------------------------------------------------------

    def ended(self, job: Job, error: errors.MemfsError | None, now: float, spread: float) -> bool:
        """What was under way is not any more, perhaps because of an error; a failed one is tried
        again later, after ``spread`` (about 1) times the usual wait. Returns whether there is
        something to begin now."""
        self._load -= self._running.pop(job)
        number = job[0] if isinstance(job, tuple) else 0
        for key in [key for key, busy in self._busy.items() if busy == job]:
            del self._busy[key]
            number = key[0]
        stored = not self.is_unsaved(job)
        if error is None:
            self._failures.pop(job, None)
        else:
            self._failures[job] = _next(self._failures.get(job), error, now, spread)
        if stored:
            self._away.pop(number, None)
        elif isinstance(error, errors.StoreUnreachableError):
            former = self._away.get(number)
            if former is None or former.due <= now:
                self._away[number] = _next(former, error, now, spread)
        again = False
        for waiter in self._waiting.get(job, ()):
            again |= waiter.ended(job, stored=stored, error=error)
        if error is not None and not stored and isinstance(job, tuple):
            for directory in _with_those_above(job)[:-1]:
                for waiter in self._waiting.get(directory, ()):
                    waiter.failed(error)
        if again:
            self._failures.pop(job, None)
            self._first.append(job)
        return stored or again

    def failures(self) -> dict[int, str]:
        """Why changes are not stored yet, by the number of their mount: of each the last reason."""
        found: dict[int, str] = {}
        for job, failure in list(self._failures.items()):
            if not self.is_unsaved(job):
                del self._failures[job]  # there is nothing to store any more
            elif (key := self.key_of(job)) is not None:
                found[key[0]] = f"{failure.error.message} (tried {counted(failure.times, 'time')})"
        return found

    # --- who waits ---------------------------------------------------------------------------

    def wait_for(self, jobs: Iterable[Job]) -> StoreWaiter:
        """Somebody waits for changes: they come first, whenever they failed last, as what has to
        be deleted before a directory does."""
        waiter = StoreWaiter(jobs, self._running)
        for job in waiter.left:
            self._waiting.setdefault(job, []).append(waiter)
            self._first.append(job)
        for job in [job for job in self._failures if self._is_waited_for(job)]:
            del self._failures[job]
        return waiter

    def look_at(self, waiter: StoreWaiter) -> None:
        """Changes also end because a file is gone, say."""
        waiter.left = {job for job in waiter.left if self.is_unsaved(job)}

    def forget(self, waiter: StoreWaiter, jobs: Iterable[Job]) -> None:
        """Nobody waits for these any more."""
        for job in jobs:
            waiters = self._waiting.get(job, [])
            if waiter in waiters:
                waiters.remove(waiter)
                if not waiters:
                    del self._waiting[job]


def _with_those_above(key: Key) -> list[Key]:
    """The names of all directories above, the topmost first, and the name itself."""
    number, path = key
    parts = path.split(b"/")
    return [(number, b"/".join(parts[:count])) for count in range(1, len(parts) + 1)]


def _next(former: _Failure | None, error: errors.MemfsError, now: float, spread: float) -> _Failure:
    times = 1 if former is None else former.times + 1
    wait = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** min(times - 1, 10))
    return _Failure(times, now + wait * spread, error)
