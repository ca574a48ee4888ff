"""The blocking form of :class:`memfs.client.attributes.AttributeOperations`.

Made from it by `make blocking`: not to be edited.
"""

from __future__ import annotations

from memfs.client.blocking.generated.access import BlockingAccess
from memfs.client.calls.wire import PathLike


class BlockingAttributes(BlockingAccess):
    """As :class:`memfs.client.attributes.AttributeOperations`; each call waits."""

    def chmod(
        self,
        path: PathLike,
        mode: int,
        *,
        follow_symlinks: bool = True,
        timeout: float | None = None,
    ) -> None:
        """Set the permission bits."""
        self._run(self._core.chmod, path, mode, follow_symlinks=follow_symlinks, timeout=timeout)

    def chown(
        self,
        path: PathLike,
        owner: str | None = None,
        group: str | None = None,
        *,
        follow_symlinks: bool = True,
        timeout: float | None = None,
    ) -> None:
        """Set owner and group by name; None leaves one alone."""
        self._run(
            self._core.chown, path, owner, group, follow_symlinks=follow_symlinks, timeout=timeout
        )

    def utime(
        self,
        path: PathLike,
        times: tuple[float, float] | None = None,
        *,
        ns: tuple[int, int] | None = None,
        follow_symlinks: bool = True,
        timeout: float | None = None,
    ) -> None:
        """Set (accessed, modified), in seconds or ``ns``; neither: to the cluster's present time.

        Times outside 64 bits of nanoseconds become the nearest ones inside (the years 1677 and
        2262), as on Linux for file systems with a narrow range.
        """
        self._run(
            self._core.utime, path, times, ns=ns, follow_symlinks=follow_symlinks, timeout=timeout
        )

    def set_replication(
        self, path: PathLike, replication: int, *, timeout: float | None = None
    ) -> None:
        """Set how many copies of each block the file wants."""
        self._run(self._core.set_replication, path, replication, timeout=timeout)

    def getxattr(self, path: PathLike, name: str, *, timeout: float | None = None) -> bytes:
        """One extended attribute. Raises NoAttributeError (ENODATA)."""
        return self._run(self._core.getxattr, path, name, timeout=timeout)

    def getxattrs(
        self, path: PathLike, *names: str, timeout: float | None = None
    ) -> dict[str, bytes]:
        """All extended attributes, or those named. Raises NoAttributeError (ENODATA)."""
        return self._run(self._core.getxattrs, path, *names, timeout=timeout)

    def listxattr(self, path: PathLike, *, timeout: float | None = None) -> list[str]:
        """Names of the extended attributes. Needs no permission of the file itself."""
        return self._run(self._core.listxattr, path, timeout=timeout)

    def setxattr(
        self,
        path: PathLike,
        name: str,
        value: bytes,
        flags: int = 0,
        *,
        timeout: float | None = None,
    ) -> None:
        """Set an extended attribute; ``flags``: ``os.XATTR_CREATE``, ``os.XATTR_REPLACE``.

        A value of more than 64 KiB is refused: AttributeTooLargeError.
        """
        self._run(self._core.setxattr, path, name, value, flags, timeout=timeout)

    def removexattr(self, path: PathLike, name: str, *, timeout: float | None = None) -> None:
        """Remove an extended attribute."""
        self._run(self._core.removexattr, path, name, timeout=timeout)
