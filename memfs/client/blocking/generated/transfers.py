"""The blocking form of :class:`memfs.client.filesystem.AsyncFileSystem`.

Made from it by `make blocking`: not to be edited.
"""

from __future__ import annotations

import os
from typing import Unpack

from memfs.client.blocking.generated.signatures import BlockingSignatures
from memfs.client.calls.wire import PathLike
from memfs.client.transfer.copy_options import CopyKeywords, StoreKeywords
from memfs.client.transfer.copying import Transferred


class BlockingTransfers(BlockingSignatures):
    """As :class:`memfs.client.filesystem.AsyncFileSystem`; each call waits."""

    def put(
        self, local: str | os.PathLike[str], target: PathLike, **options: Unpack[StoreKeywords]
    ) -> Transferred:
        """Copy a local file or tree into the cluster, as ``target``, in parallel.

        Keyword options: ``preserve`` (modes, times, hard links), ``xattrs`` (with ``preserve``),
        ``follow_symlinks`` (those below ``local`` too), ``replication``, ``recover`` (as of
        :meth:`open`), ``progress`` (called with ``ProgressEvent``, on the event loop's thread),
        ``choose`` (which items to copy), ``return_errors``, ``timeout``; see
        :func:`memfs.client.transfer.copy_calls.put`. Files appear when they are complete, and
        existing ones keep what they have but their content.
        """
        return self._run(self._core.put, local, target, **options)

    def get(
        self, source: PathLike, local: str | os.PathLike[str], **options: Unpack[CopyKeywords]
    ) -> Transferred:
        """Copy a file or tree of the cluster to the local disk as ``local``; options: ``put``."""
        return self._run(self._core.get, source, local, **options)
