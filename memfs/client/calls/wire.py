"""Turning what callers call a path into what the protocol calls one.

Callers give absolute paths, ``memfs://`` URLs, ``os.PathLike`` and paths of the cluster; the result
is cached, because the same paths come again and a stat has no time to spare.
"""

from __future__ import annotations

import functools
import os
import re
from abc import ABC, abstractmethod
from typing import Final, NamedTuple, TypeAlias

from memfs import limits, paths
from memfs.config import ClientConfig
from memfs.errors import InvalidArgumentError, InvalidPathError, PathNotFoundError
from memfs.paths import Endpoint
from memfs.types import View


class ClusterPath(ABC):
    """What stands for a path of a cluster: accepted wherever memfs takes a path.

    It has no ``__fspath__``: the builtin ``open`` and ``os`` would take it for a local file.
    """

    __slots__ = ()

    @abstractmethod
    def __str__(self) -> str:
        """The absolute path."""


_tuple = tuple.__new__
"""Makes a named tuple in a third of the time that its name takes."""

PathLike: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes] | ClusterPath


class WirePath(NamedTuple):
    """A path in its three forms."""

    given: str
    """As the caller wrote it: what errors name."""
    text: str
    """Absolute and normalised: what results are made of."""
    raw: bytes
    """What requests carry: a slash at the end stays, it insists on a directory."""
    nodes: tuple[Endpoint, ...] = ()
    """Those that a URL names."""


_PLAIN: Final = re.compile(r"(?:/[^/.\0][^/\0]{0,62})+")
"""An absolute path of short names that is its own normal form, as most are: 63 characters have 252
bytes at most."""
_PLAIN_CHARACTERS: Final = limits.PATH_BYTES // 4
assert limits.NAME_BYTES >= 4 * 63


@functools.lru_cache(maxsize=4096)
def _from_text(given: str) -> WirePath:
    if len(given) <= _PLAIN_CHARACTERS and _PLAIN.fullmatch(given):
        try:
            return _tuple(WirePath, (given, given, given.encode("utf-8"), ()))
        except UnicodeEncodeError:
            pass  # it is refused below
    if not given:  # as for the kernel: whoever has lost a name does not mean the root
        raise PathNotFoundError("an empty path: no such file or directory")
    normal = _normalise(given)
    raw = paths.encode(normal + (_ending(given) if normal != "/" else ""))
    return WirePath(given, normal, raw, named_nodes(given))


def _ending(given: str) -> str:
    """A slash at the end insists on a directory, as for the kernel; a dot names the directory."""
    return "/." if given.endswith("/.") else "/" if given.endswith("/") else ""


def _normalise(text: str) -> str:
    """Absolute, without empty components; ``..`` stays, for only the walk knows the symlinks."""
    if text.startswith(paths.SCHEME + ":/"):
        text = paths.parse_url(text).path
    if ".." in text:
        return "/" + "/".join(part for part in text.split("/") if part not in ("", "."))
    return paths.normalise(text)


def text_of(path: PathLike) -> str:
    """The text of ``path`` as the caller wrote it. Raises InvalidPathError, TypeError."""
    if isinstance(path, ClusterPath):
        return str(path)
    plain = os.fspath(path)
    if isinstance(plain, bytes):
        try:
            return plain.decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidPathError(f"{plain!r} is not valid UTF-8") from None
    return plain


def name_of(path: PathLike) -> str | bytes:
    """What an open file is called, as the builtin ``open`` has it: bytes stay bytes."""
    return str(path) if isinstance(path, ClusterPath) else os.fspath(path)


def normal_text(path: PathLike) -> str:
    """The absolute, normalised text of ``path``, whether or not a file can have that name."""
    return _normalise(text_of(path))


def named_nodes(text: str) -> tuple[Endpoint, ...]:
    """The nodes that a URL names; none for a plain path."""
    return paths.parse_url(text).endpoints if text.startswith(paths.SCHEME + "://") else ()


def check_cluster(
    given: str, named: tuple[Endpoint, ...], config: ClientConfig, view: View
) -> None:
    """Refuse a URL of which no node is a configured one or a member. Raises InvalidArgumentError"""
    known = [*config.endpoints, *(Endpoint(each.host, each.port) for each in view.members)]
    if named and not {_host(node) for node in named} & {_host(node) for node in known}:
        raise InvalidArgumentError(
            f"the URL names {','.join(map(str, named))}, which is not in the cluster of "
            f"{','.join(map(str, config.endpoints))}: connect there, or give the path alone",
            path=given,
        )


def _host(node: Endpoint) -> Endpoint:
    """An endpoint as it compares: this host has several names."""
    host = node.host.lower()
    return Endpoint("localhost" if host in ("127.0.0.1", "::1") else host, node.port)


def wire(path: PathLike) -> WirePath:
    """All forms of ``path``. Raises InvalidPathError, NameTooLongError, TypeError, and
    PathNotFoundError for an empty one."""
    return _from_text(path if type(path) is str else text_of(path))
