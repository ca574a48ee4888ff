"""The blocking form of :class:`memfs.client.signing.SignatureOperations`.

Made from it by `make blocking`: not to be edited.
"""

from __future__ import annotations

import os

from memfs.client.blocking.generated.contents import BlockingContents
from memfs.client.calls.wire import PathLike
from memfs.security.signature import Signature


class BlockingSignatures(BlockingContents):
    """As :class:`memfs.client.signing.SignatureOperations`; each call waits."""

    def sign(
        self,
        path: PathLike,
        key: bytes | str | os.PathLike[str],
        *,
        version: int | None = None,
        timeout: float | None = None,
    ) -> Signature:
        """Sign a file's content, path and version; the signature is an extended attribute of it.

        ``key``: an Ed25519 private key, its 32 bytes, as text, or a ``Path`` of a key file.
        ``version``: None: one more than the file's signature before has.
        """
        return self._run(self._core.sign, path, key, version=version, timeout=timeout)

    def verify(
        self,
        path: PathLike,
        *keys: bytes | str | os.PathLike[str],
        at_least: int = 0,
        timeout: float | None = None,
    ) -> Signature:
        """Check that a file is what one of the ``keys`` (public ones) signed under this path.

        All of it is read. ``at_least``: the oldest version that is accepted, for only who knows
        which one is the newest can tell that an older one was put back. Raises IntegrityError.
        """
        return self._run(self._core.verify, path, *keys, at_least=at_least, timeout=timeout)

    def read_signed(
        self,
        path: PathLike,
        *keys: bytes | str | os.PathLike[str],
        at_least: int = 0,
        timeout: float | None = None,
    ) -> bytes:
        """The whole content, of which the very bytes returned were checked as by ``verify``."""
        return self._run(self._core.read_signed, path, *keys, at_least=at_least, timeout=timeout)
