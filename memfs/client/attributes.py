"""The asynchronous file system's operations on attributes: modes, owners, times, xattrs.

Owns the calls that change what an inode has besides its content. What they mean, and who may make
them, is the namespace's business.
"""

from __future__ import annotations

from typing import TypedDict, Unpack

from memfs import limits
from memfs.client.access import AccessOperations
from memfs.client.calls import xattrs
from memfs.client.calls.arguments import octets, pair, text, whole
from memfs.client.calls.wire import PathLike
from memfs.client.stat import Stat, nanoseconds, nearest_time_ns
from memfs.errors import AttributeTooLargeError, InvalidArgumentError
from memfs.protocol import messages as m
from memfs.types import XattrMode


class Changes(TypedDict, total=False):
    """The fields of ``SetAttributes`` that a call sets."""

    mode: int | None
    owner: str | None
    group: str | None
    modified_ns: int | None
    accessed_ns: int | None
    replication: int | None
    now: bool
    follow: bool
    by_writers: bool


class AttributeOperations(AccessOperations):
    """Setting attributes; extended ones are read here too."""

    async def _set(self, path: PathLike, timeout: float | None, **fields: Unpack[Changes]) -> Stat:
        where = self._wire(path)
        reply = await self._ask(m.SetAttributes(where.raw, **fields), where.given, timeout)
        return Stat(reply.attributes)

    async def _set_times(
        self, path: PathLike, timeout: float | None, **fields: Unpack[Changes]
    ) -> None:
        if (accessed := fields.get("accessed_ns")) is not None:
            fields["accessed_ns"] = nearest_time_ns(whole("accessed_ns", accessed))
        if (modified := fields.get("modified_ns")) is not None:
            fields["modified_ns"] = nearest_time_ns(whole("modified_ns", modified))
        await self._set(path, timeout, **fields)

    async def chmod(
        self,
        path: PathLike,
        mode: int,
        *,
        follow_symlinks: bool = True,
        timeout: float | None = None,
    ) -> None:
        """Set the permission bits."""
        await self._set(path, timeout, mode=whole("mode", mode) & 0o7777, follow=follow_symlinks)

    async def chown(
        self,
        path: PathLike,
        owner: str | None = None,
        group: str | None = None,
        *,
        follow_symlinks: bool = True,
        timeout: float | None = None,
    ) -> None:
        """Set owner and group by name; None leaves one alone."""
        await self._set(path, timeout, owner=owner, group=group, follow=follow_symlinks)

    async def utime(
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
        if times is not None and ns is not None:
            raise InvalidArgumentError("give times or ns, not both", path=self._wire(path).given)
        if times is not None:
            first, second = pair("times", times)
            ns = (nanoseconds(first), nanoseconds(second))
        if ns is None:
            await self._set(path, timeout, now=True, follow=follow_symlinks)
        else:
            accessed, modified = pair("ns", ns)
            chosen = Changes(accessed_ns=accessed, modified_ns=modified, follow=follow_symlinks)
            await self._set_times(path, timeout, **chosen)

    async def set_times(
        self,
        path: PathLike,
        *,
        modified_ns: int | None = None,
        accessed_ns: int | None = None,
        timeout: float | None = None,
    ) -> None:
        """As ``utime`` for one time or both, by HDFS's rule: whoever may write the file may."""
        times = Changes(modified_ns=modified_ns, accessed_ns=accessed_ns, by_writers=True)
        await self._set_times(path, timeout, **times)

    async def set_replication(
        self, path: PathLike, replication: int, *, timeout: float | None = None
    ) -> None:
        """Set how many copies of each block the file wants."""
        await self._set(path, timeout, replication=whole("replication", replication))

    async def getxattr(self, path: PathLike, name: str, *, timeout: float | None = None) -> bytes:
        """One extended attribute. Raises NoAttributeError (ENODATA)."""
        found = await self.getxattrs(path, name, timeout=timeout)
        return found[name]

    async def getxattrs(
        self, path: PathLike, *names: str, timeout: float | None = None
    ) -> dict[str, bytes]:
        """All extended attributes, or those named. Raises NoAttributeError (ENODATA)."""
        where = self._wire(path)
        request = m.GetXattrs(where.raw, tuple([text("name", each) for each in names]))
        deadline = self._session.deadline(timeout)
        answer = await self._session.primary.call(request, where.given, deadline)
        return xattrs.values(answer.record, answer.payload)

    async def listxattr(self, path: PathLike, *, timeout: float | None = None) -> list[str]:
        """Names of the extended attributes. Needs no permission of the file itself."""
        where = self._wire(path)
        reply = await self._ask(m.GetXattrs(where.raw, values=False), where.given, timeout)
        return [each.name for each in reply.xattrs]

    async def setxattr(
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
        where = self._wire(path)
        value = bytes(octets(value))
        if len(value) > limits.XATTR_VALUE_BYTES:
            reason = f"an attribute's value has {limits.XATTR_VALUE_BYTES} bytes at most"
            raise AttributeTooLargeError(reason, path=where.given)
        request, payload = xattrs.split_value(m.SetXattr(where.raw, name, value, XattrMode(flags)))
        deadline = self._session.deadline(timeout)
        await self._session.primary.call(request, where.given, deadline, payload=payload)

    async def removexattr(self, path: PathLike, name: str, *, timeout: float | None = None) -> None:
        """Remove an extended attribute."""
        where = self._wire(path)
        await self._ask(m.RemoveXattr(where.raw, name), where.given, timeout)
