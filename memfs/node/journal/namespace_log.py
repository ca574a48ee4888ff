"""The namespace on disk: snapshots, and the replicated log since the newest.

Owns one history of the namespace, called a generation: a snapshot and every entry after it. A node
whose state is replaced (a backup that gets a snapshot) begins a new generation. Knows nothing of
acknowledgements: it reports how far the log is durable.

Invariant: a generation on the disk holds every entry from its snapshot up to ``durable``. The
newest complete snapshot decides which generation counts; older ones are removed after it.
"""

from __future__ import annotations

import asyncio
import functools
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, TypeAlias

from memfs import limits
from memfs.checksum import crc32c
from memfs.errors import DataLossError, NoSpaceError, ProtocolError
from memfs.logs import fields
from memfs.node.journal.commits import Commits, log
from memfs.node.journal.series import FoundRecord, LogRecord, Series
from memfs.node.log.entries import unpack_entries
from memfs.node.log.recent import RecentLog
from memfs.node.namespace import Namespace
from memfs.transport.disk import Disk, DiskFile
from memfs.transport.environment import Environment

KIND: Final = 1
_ENTRIES: Final = 1
_META: Final = struct.Struct(">QQI")
_SNAPSHOT: Final = re.compile(r"(\d{8})-(\d{20})\.snapshot")
_OURS: Final = re.compile(r"(\d{8})-.*\.(segment|snapshot|new)")
_READ_BYTES: Final = 1 * limits.MIB
_SYNC_BYTES: Final = 1 * limits.MIB
"""Bytes of a snapshot between two syncs. A sync of the log waits behind at most one of them, which
would take 40 ms with 8 MiB."""
RESTS: Final = 3.0
"""How long the event loop does other work than a snapshot, in the time that this took: a snapshot
has a quarter of its time at most."""
TURN_SECONDS: Final = 0.0005
"""... and so long, and a piece more, before it rests: most pieces take 0.05 ms, a turn of the loop
with commands takes 5."""
_LOG_BYTES: Final = 2 * limits.MIB
"""A shorter log is no reason for a snapshot: it has 50,000 files of a batch, replayed in 0.6 s."""
_LOG_SHARE: Final = 24
"""... nor is one that is shorter than this part of the last snapshot. A file takes 110 bytes in a
snapshot and 0.5 us to load; in the log it takes at least 40 bytes, and 10 us to replay. So at most
a ninth of the files is replayed, which takes twice as long as loading the others, and each file
that is created is written into about nine snapshots in all."""


class _Append(NamedTuple):
    last: int
    """Index of the last entry."""
    record: LogRecord


class _DropBefore(NamedTuple):
    """A snapshot is durable: drop the log before it."""

    snapshot: int
    """Log index that it includes."""


class _Rotate(NamedTuple):
    """A snapshot is taken here."""


class Recovered(NamedTuple):
    """The state recovered from a journal."""

    namespace: Namespace
    recent: RecentLog
    """The end of the log, for others that lack it."""


_Item: TypeAlias = _Append | _DropBefore | _Rotate


class _SnapshotFile:
    """A snapshot on its way to the disk. What does not get there is removed.

    Its methods run in worker threads, one after the other, and raise OSError.
    """

    def __init__(self, disk: Disk, path: str) -> None:
        """It has the name ``path`` once it is durable as a whole."""
        self.written = 0
        """Bytes so far."""
        self._disk = disk
        self._path = path
        self._file: DiskFile | None = None

    def write(self, pieces: Sequence[bytes]) -> None:
        """Add pieces, and make them durable."""
        try:
            if self._file is None:
                self._file = self._disk.open(self._path + ".new", create=True)
            self._file.write(pieces, self.written)
            self.written += sum(map(len, pieces))
            self._file.sync()
        except OSError:
            self.abandon()
            raise

    def finish(self, pieces: Sequence[bytes]) -> None:
        """Add the last pieces, and make it all durable under its name."""
        self.write(pieces)
        assert self._file is not None
        try:
            self._file.truncate(self.written)
            self._file.sync()
        except OSError:
            self.abandon()
            raise
        self._file.close()
        self._disk.rename(self._path + ".new", self._path)

    def abandon(self) -> None:
        """Remove what was written; no other method may be under way."""
        if self._file is not None:
            self._file.close()
            self._disk.remove(self._path + ".new")


class NamespaceLog:
    """The journal of one node's copy of the namespace."""

    def __init__(
        self,
        environment: Environment,
        directory: str,
        cluster: str,
        *,
        segment_bytes: int,
        relieve: Callable[[], bool] = lambda: False,
        advanced: Callable[[], None] = lambda: None,
    ) -> None:
        """``advanced`` is called when more is durable; ``relieve`` frees space on a full disk."""
        self.appended = 0
        """Index of the last entry given to it."""
        self.durable = 0
        """Index up to which everything is on the disk."""
        self.complete = False
        """Whether it will hold everything given to it; else it has to begin anew."""
        self.follows: Namespace | None = None
        """Whose history it holds: the entries given to it are those applied to this one."""
        self.commits: Commits[_Item] = Commits(
            environment, "namespace", self._write, written=self._written, relieve=relieve
        )
        self.advanced = advanced
        self._environment = environment
        self._disk: Disk = environment.disk
        self._directory = directory
        self._cluster = cluster
        self._segment_bytes = segment_bytes
        self._generation = 0
        self._beginnings = 0
        self._base: asyncio.Future[None] | None = None
        """Done when the beginning of this history is durable."""
        self._last_written = 0
        self._snapshot_bytes = 0
        self._snapshotting = False
        self._series = self._make_series()

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return self._series.size + self._snapshot_bytes

    @property
    def written(self) -> int:
        """Bytes of log written since the start."""
        return self._series.written

    # --- the log -----------------------------------------------------------------------------

    def append(self, entries: bytes, first: int, last: int, digest: int) -> None:
        """Queue a run of packed entries; ``digest``: of the namespace after ``last``."""
        if not self.complete:
            return
        assert first == self.appended + 1, f"entry {first} after {self.appended}"
        meta = _META.pack(first, last, digest)
        record = LogRecord(_ENTRIES, meta, (entries,), len(entries), crc32c(entries))
        self.appended = last
        self.commits.add(_Append(last, record), len(entries))

    async def until_durable(self) -> None:
        """Wait until all that was appended is on the disk. Raises NoSpaceError."""
        if not self.complete:
            raise NoSpaceError("the node's journal is incomplete: see its log")
        if self._base is not None:
            await asyncio.shield(self._base)
        await self.commits.drain()

    def abandon(self, reason: str) -> None:
        """Stop writing this generation; what is on disk stays, out of date."""
        if self.complete:
            log.error("journal is incomplete", extra=fields(reason=reason))
        self.complete, self.follows = False, None
        self.commits.clear()

    def _write(self, items: list[_Item]) -> None:
        """Write and sync a batch; runs in a worker thread."""
        records: list[_Append] = []
        for item in items:
            if isinstance(item, _Append):
                records.append(item)
                continue
            self._commit(records)
            records = []
            if isinstance(item, _Rotate):
                self._series.rotate()
            else:
                self._forget_before(item.snapshot)
        self._commit(records)

    def _commit(self, items: list[_Append]) -> None:
        if items:
            first = _META.unpack(items[0].record.meta)[0]
            self._series.commit([item.record for item in items], first)
            self._last_written = items[-1].last

    def _written(self, items: list[_Item]) -> None:
        for item in reversed(items):
            if isinstance(item, _Append):
                self.durable = item.last
                self.advanced()
                return

    # --- snapshots ---------------------------------------------------------------------------

    @property
    def wants_snapshot(self) -> bool:
        """Whether replaying the log would take much longer than loading the snapshot."""
        worth = max(min(self._segment_bytes, _LOG_BYTES), self._snapshot_bytes // _LOG_SHARE)
        return self.complete and not self._snapshotting and self._series.size > worth

    async def begin(self, namespace: Namespace) -> None:
        """Begin a new generation with the present state; durable when this returns.

        Entries may be appended meanwhile. Raises NoSpaceError, after which the journal is
        incomplete.
        """
        self._beginnings += 1
        mine, base = self._beginnings, asyncio.get_running_loop().create_future()
        pieces, index = namespace.snapshot(), namespace.applied
        self.commits.clear()
        self.appended, self.complete, self.follows = index, True, namespace
        self._base = base
        try:
            await self.commits.wait_idle()
            await self._store_base(pieces, index, mine)
        except BaseException as error:
            failure = NoSpaceError(f"the journal cannot begin: {error}")
            if not base.done():
                base.set_exception(failure)
                base.exception()  # nobody may be waiting
            if mine == self._beginnings:
                self.abandon(failure.message)
            if isinstance(error, OSError):
                raise failure from error
            raise
        self.durable = index
        base.set_result(None)
        self.commits.resume()
        self.advanced()

    async def _store_base(self, pieces: Iterator[bytes], index: int, mine: int) -> None:
        """Store the first snapshot of a generation, unless a later generation has begun."""
        run = self._environment.disk.run
        self._check_present(mine)
        await run(self._open_generation)
        self._check_present(mine)
        await self._store(pieces, index, mine)
        self._check_present(mine)
        await run(self._remove_others)
        self._check_present(mine)

    def _check_present(self, mine: int) -> None:
        if mine != self._beginnings:
            raise NoSpaceError("the journal begins anew")

    def _open_generation(self) -> None:
        found = map(_OURS.fullmatch, self._disk.names(self._directory))
        self._generation = 1 + max([self._generation, *(int(m[1]) for m in found if m)])
        self._series = self._make_series()

    async def snapshot(self, namespace: Namespace) -> None:
        """Store a snapshot of the present state, then drop the log before it."""
        assert namespace.applied == self.appended, "entries that the journal was not given"
        mine, index = self._beginnings, namespace.applied
        pieces = namespace.snapshot()
        self._snapshotting = True
        self.commits.add(_Rotate(), 0)
        try:
            await self._store(pieces, index, mine, rests=RESTS)
            if mine == self._beginnings:
                self.commits.add(_DropBefore(index), 0)
        except (OSError, NoSpaceError) as error:
            log.warning("no snapshot could be written", extra=fields(reason=error))
        finally:
            self._snapshotting = False

    async def _store(
        self, pieces: Iterator[bytes], index: int, mine: int, *, rests: float = 0.0
    ) -> None:
        """Write a snapshot, unless a later generation begins meanwhile.

        The pieces are made here, in the event loop, which rests ``rests`` times as long as they
        take: another thread would keep it from Python for longer than that.
        """
        run, now = self._environment.disk.run, self._environment.clock.monotonic
        file = _SnapshotFile(
            self._disk, self._path(f"{self._generation:08d}-{index:020d}.snapshot")
        )
        made, size, busy, began = list[bytes](), 0, 0.0, now()
        for piece in pieces:
            made.append(piece)
            size += len(piece)
            busy += now() - began
            if busy >= TURN_SECONDS:
                await asyncio.sleep(rests * busy)
                busy = 0.0
            if size >= _SYNC_BYTES:
                await run(functools.partial(file.write, made))
                made, size = [], 0
            if mine != self._beginnings:
                await run(file.abandon)
                self._check_present(mine)
            began = now()
        await run(functools.partial(file.finish, made))
        self._snapshot_bytes = file.written

    def _forget_before(self, index: int) -> None:
        segments = self._series.segments
        done = sum(after.header.first <= index + 1 for after in segments[1:])
        if self._series.rotated and self._last_written <= index:
            done = len(segments)
        self._series.drop_oldest(done)
        for name, found in self._snapshots():
            if found < index:
                self._disk.remove(self._path(name))
        self._disk.sync_directory(self._directory)

    # --- files -------------------------------------------------------------------------------

    def _path(self, name: str) -> str:
        return f"{self._directory}/{name}"

    def _make_series(self) -> Series:
        return Series(
            self._disk,
            self._directory,
            kind=KIND,
            cluster=self._cluster,
            dice=self._environment.random,
            segment_bytes=self._segment_bytes,
            check_bodies=True,
            prefix=f"{self._generation:08d}-",
        )

    def _snapshots(self) -> list[tuple[str, int]]:
        """Name and log index of this generation's snapshots, oldest first."""
        found = map(_SNAPSHOT.fullmatch, self._disk.names(self._directory))
        return [(m[0], int(m[2])) for m in found if m and int(m[1]) == self._generation]

    def _remove_others(self) -> None:
        """Remove every generation but this one, and what was never finished."""
        for name in self._disk.names(self._directory):
            match = _OURS.fullmatch(name)
            if match and (int(match[1]) != self._generation or match[2] == "new"):
                self._disk.remove(self._path(name))
        self._disk.sync_directory(self._directory)

    # --- recovery ----------------------------------------------------------------------------

    async def recover(self) -> Recovered | None:
        """The namespace after the last durable entry; None if the journal holds none.

        Raises DataLossError for damage. Writing may continue afterwards.
        """
        found = await self._environment.disk.run(self._load)
        if found is not None:
            self.appended = self.durable = found.namespace.applied
            self.complete, self.follows = True, found.namespace
        return found

    def _load(self) -> Recovered | None:
        self._disk.make_directory(self._directory)
        found = [m for m in map(_SNAPSHOT.fullmatch, self._disk.names(self._directory)) if m]
        if not found:
            self._remove_others()
            return None
        newest = max(found, key=lambda match: (int(match[1]), int(match[2])))
        self._generation = int(newest[1])
        self._remove_others()
        namespace = self._restore(self._path(newest[0]))
        recovered = Recovered(namespace, RecentLog(namespace.applied, namespace.digest))
        self._series = self._make_series()
        for segment in self._series.recover():
            self._replay(recovered, segment)
        return recovered

    def _restore(self, path: str) -> Namespace:
        file = self._disk.open(path)
        self._snapshot_bytes = file.size()
        starts = range(0, self._snapshot_bytes, _READ_BYTES)
        try:
            return Namespace.restore(file.read(at, _READ_BYTES) for at in starts)
        except ProtocolError as error:
            raise DataLossError(
                f"{error.message}: restore the file from a copy, or move the journal directory "
                "away and start without it, so that the cluster heals from the other nodes",
                path=path,
            ) from error
        finally:
            file.close()

    def _replay(self, recovered: Recovered, found: FoundRecord) -> None:
        namespace, path = recovered.namespace, found.segment.path
        if found.torn:
            log.warning("torn tail cut off", extra=fields(path=path, bytes=found.torn))
        file = self._disk.open(path)
        try:
            for frame in found.frames:
                _, last, digest = _META.unpack(frame.meta)
                for entry in unpack_entries(file.read(frame.body_at, frame.length)):
                    if entry.index <= namespace.applied:
                        continue
                    if entry.index != namespace.applied + 1:
                        raise DataLossError(
                            f"entries {namespace.applied + 1} to {entry.index - 1} are missing "
                            f"before byte {frame.at}",
                            path=path,
                        )
                    namespace.apply(entry)
                    recovered.recent.append(entry, namespace.digest)
                if last == namespace.applied and digest != namespace.digest:
                    raise DataLossError(
                        f"entry {last} leads to another state than it once did: was the journal "
                        "written by another version of memfs?",
                        path=path,
                    )
        finally:
            file.close()
