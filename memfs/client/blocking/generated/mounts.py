"""The blocking form of :class:`memfs.client.mounts.MountOperations`.

Made from it by `make blocking`: not to be edited.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from memfs.client.blocking.generated.attributes import BlockingAttributes
from memfs.client.calls.wire import PathLike
from memfs.client.mounts import LoadReport, MountInfo
from memfs.client.stat import Stat
from memfs.client.transfer.copying import Progress
from memfs.types import Residence


class BlockingMounts(BlockingAttributes):
    """As :class:`memfs.client.mounts.MountOperations`; each call waits."""

    def mount(
        self,
        path: PathLike,
        url: str,
        *,
        mode: str = "dual-async",
        options: Mapping[str, str] | None = None,
        read_only: bool = False,
        shared: bool = False,
        policy: str = "aged",
        ttl: float = 0.0,
        sync_interval: float = 60.0,
        copies: int = 1,
        update: bool = False,
        quota: int = 0,
        timeout: float | None = None,
    ) -> MountInfo:
        """Show what an external store holds below a directory, which is made or empty (superuser).

        ``url``: ``s3://bucket/prefix``, ``file:///directory`` of every node, ...; ``options`` are
        the store's, never a secret: name a file on the nodes instead. ``mode`` says when the store
        has what is written. What was asked of the store counts for ``sync_interval`` seconds (0:
        for one request, -1: until ``sync_metadata``); blocks in memory that nobody read for
        ``ttl`` seconds go (0: when room is needed); ``copies`` nodes keep each. ``update``: change
        how a mount is mounted. ``quota``: bytes that its blocks may take on all nodes together (0:
        as many as there is room for). The store is asked at once: what is wrong is raised.
        """
        return self._run(
            self._core.mount,
            path,
            url,
            mode=mode,
            options=options,
            read_only=read_only,
            shared=shared,
            policy=policy,
            ttl=ttl,
            sync_interval=sync_interval,
            copies=copies,
            update=update,
            quota=quota,
            timeout=timeout,
        )

    def unmount(
        self, path: PathLike, *, discard: bool = False, timeout: float | None = None
    ) -> None:
        """Take a mount away; the store keeps what it has (superuser).

        Refused while it lacks changes, unless they are to be given up (``discard``).
        """
        self._run(self._core.unmount, path, discard=discard, timeout=timeout)

    def mounts(self, *, timeout: float | None = None) -> list[MountInfo]:
        """All mounts, in the order in which they were made; without secrets."""
        return self._run(self._core.mounts, timeout=timeout)

    def residence(
        self, files: Sequence[Stat], *, timeout: float | None = None
    ) -> list[Residence | None]:
        """The state of files of external stores, and how much of each is in memory.

        ``files`` are results of ``stat`` or of a listing; the answers are in their order, None for
        what is below no mount. Only what a store alone has is asked about, a thousand at a time.
        """
        return self._run(self._core.residence, files, timeout=timeout)

    def sync_metadata(self, path: PathLike = "/", *, timeout: float | None = None) -> int:
        """Ask the stores anew about all that is known below a path; how many questions it took.

        Without ``timeout`` it takes as long as they do: where that is more than half a minute, the
        number is that of the directories.
        """
        return self._run(self._core.sync_metadata, path, timeout=timeout)

    def persist(self, path: PathLike, *, timeout: float | None = None) -> int:
        """Return when the store has all that was changed below a path; how many changes.

        Raises what keeps the store from having it. Without ``timeout`` it takes as long as the
        cluster answers; the changes of the last half minute are counted then.
        """
        return self._run(self._core.persist, path, timeout=timeout)

    def free(self, path: PathLike, *, timeout: float | None = None) -> LoadReport:
        """Give up memory of what the store has too, pinned or not, below a path; changes stay."""
        return self._run(self._core.free, path, timeout=timeout)

    def pin(
        self, path: PathLike, *, ttl: float = 0.0, unpin: bool = False, timeout: float | None = None
    ) -> None:
        """Keep what is in memory of a file, or of all below a directory, for ``ttl`` seconds.

        0: until it is unpinned. Pinned blocks are not evicted, whatever else needs room; what is
        not in memory yet is fetched by :meth:`load`, or when it is read.
        """
        self._run(self._core.pin, path, ttl=ttl, unpin=unpin, timeout=timeout)

    def load(
        self,
        path: PathLike,
        *,
        metadata_only: bool = False,
        bandwidth: float = 0.0,
        progress: Progress | None = None,
        return_errors: bool = False,
        timeout: float | None = None,
    ) -> LoadReport:
        """Have the nodes fetch all that the store holds below a path, spread over them.

        ``metadata_only``: names and attributes alone, directory by directory.

        ``bandwidth``: bytes a second at most, of all nodes together; 0: as fast as it goes.
        ``progress`` is called with a :class:`ProgressEvent` as blocks arrive, on the event loop's
        thread.

        Blocks that are in memory already cost a question each, so that a load that was interrupted
        goes on where it was. A file that cannot be fetched does not stop the others: its error is
        raised at the end, the first one, or with ``return_errors`` all are in ``failures``. What
        concerns all files, as a store out of reach does, is raised at once. Without ``timeout``
        each step has the configured budget, and all of it takes as long as it takes.
        """
        return self._run(
            self._core.load,
            path,
            metadata_only=metadata_only,
            bandwidth=bandwidth,
            progress=progress,
            return_errors=return_errors,
            timeout=timeout,
        )
