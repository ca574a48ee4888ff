"""The blocking face of :class:`memfs.client.locking.FileLock`."""

from __future__ import annotations

from memfs.client import locking
from memfs.client.blocking import bridge as bridges
from memfs.client.calls import unclosed
from memfs.client.calls.bound import Bound


class FileLock(Bound):
    """A lock on a whole file, as flock(2)'s; held from the beginning until :meth:`close`.

    It is this process's: a child made by ``fork`` does not have it.
    """

    def __init__(self, lock: locking.FileLock) -> None:
        self._lock = lock
        self._generation = bridges.generation()

    @property
    def path(self) -> str:
        """Of the file that stands for the lock."""
        return self._lock.path

    @property
    def closed(self) -> bool:
        """Whether it was unlocked."""
        return self._lock.closed

    @property
    def lost(self) -> bool:
        """Is it known that the cluster ended it, because it received nothing from this client?"""
        return self._lock.lost

    def close(self) -> None:
        """Unlock. Raises LocksLostError when others may have had the lock meanwhile."""
        if bridges.serves(self._generation):
            bridges.bridge().run(self._lock.close)

    def __del__(self) -> None:
        if self.closed or self._lock.over:
            return
        if bridges.serves(self._generation):
            unclosed.warn("lock", self)
            bridges.bridge().begin(self._lock.close)
        else:
            self._lock.forget()

    def __repr__(self) -> str:
        return repr(self._lock)

    def __enter__(self) -> FileLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
