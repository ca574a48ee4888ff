"""The asynchronous file system: names, attributes, contents, and copies of whole trees.

Every method takes ``timeout=``, seconds for the whole call, retries included; without it what is
cut into many requests has the configured time for each. Errors are those of ``memfs.errors``, which
inherit the builtin ones and carry the path as it was given in ``filename``.
"""

from __future__ import annotations

import os
from typing import Unpack

from memfs.client.calls.bound import Bound
from memfs.client.calls.wire import PathLike
from memfs.client.signing import SignatureOperations
from memfs.client.transfer import copy_calls as transfer
from memfs.client.transfer.copy_options import CopyKeywords, StoreKeywords
from memfs.client.transfer.copying import Transferred


class AsyncFileSystem(Bound, SignatureOperations):
    """A cluster seen as a file system; all methods are coroutines unless they say otherwise.

    Paths are absolute, ``str`` or ``os.PathLike``; ``memfs://`` URLs are accepted, those
    that name nodes of another cluster refused.
    Use it from the event loop in which it was made. Obtained from :func:`memfs.aio.connect`.
    """

    async def put(
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
        return await transfer.put(self, local, self._wire(target).text, **options)

    async def get(
        self, source: PathLike, local: str | os.PathLike[str], **options: Unpack[CopyKeywords]
    ) -> Transferred:
        """Copy a file or tree of the cluster to the local disk as ``local``; options: ``put``."""
        return await transfer.get(self, self._wire(source).text, local, **options)
