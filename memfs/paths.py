"""Paths and URLs: pure functions between what people type and what the protocol carries.

On the wire a path is UTF-8 ``bytes``; inside the client it is ``str``, absolute and normalised.
"""

from __future__ import annotations

import os
import posixpath
import re
from typing import NamedTuple

from memfs import limits
from memfs.errors import InvalidPathError, NameTooLongError

DEFAULT_PORT = 10500
SCHEME = "memfs"
ETCD_PORT = 2379

_AUTHORITY = re.compile(
    r"^(?P<host>\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]|[^/:\[\],@]+):(?P<port>[0-9]{1,5})$"
)
_SECRET = re.compile(r"(?P<user>(?:^|//|,)[^/:@,]*):[^/@,]*@")
_ETCD_PREFIX = re.compile(r"[\w.-]+(/[\w.-]+)*", re.ASCII)


class Endpoint(NamedTuple):
    """A host and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class Location(NamedTuple):
    """A parsed ``memfs://`` URL: no endpoints means "the default cluster"."""

    endpoints: tuple[Endpoint, ...]
    path: str


def without_password(url: str) -> str:
    """``url`` as it may be shown: what is between a user's name and ``@`` is no more than ``***``.

    URLs of memfs carry no credentials, but who believes that they do has typed one already.
    """
    return _SECRET.sub(r"\g<user>:***@", url)


def parse_endpoint(text: str, default_port: int = DEFAULT_PORT) -> Endpoint:
    """``host``, ``host:port`` or ``[v6]:port``. Raises InvalidPathError."""
    found = _AUTHORITY.match(text)
    if found is None and text and ":" not in text and "/" not in text and _is_host(text):
        return Endpoint(text, default_port)
    if found is None or not 0 < int(found["port"]) < 65536 or not _is_host(found["host"]):
        raise InvalidPathError(f"{without_password(text)!r} is no address: write host:port")
    return Endpoint(found["host"].strip("[]"), int(found["port"]))


def _is_host(text: str) -> bool:
    """Whether a name can be looked up: an empty or overlong label makes the resolver raise."""
    try:
        text.encode("idna")
    except UnicodeError:
        return False
    return True


def parse_url(url: str) -> Location:
    """Split a URL or plain path into endpoints and absolute path.

    An authority counts only when it has a port: libraries collapse slashes, so
    ``memfs://dir/file`` means ``/dir/file``. Several endpoints are separated by commas.
    Raises InvalidPathError for another scheme, and for what has a colon and is no address: as a
    path it would lead to another cluster.
    """
    scheme, mark, rest = url.partition("://")
    if not mark or "/" in scheme:
        if url.startswith(SCHEME + ":/"):  # pathlib turns memfs:///a into memfs:/a
            return Location((), normalise(url[len(SCHEME) + 1 :]))
        return Location((), normalise(url))
    if scheme != SCHEME:
        raise InvalidPathError(f"{without_password(url)!r}: the scheme is not {SCHEME}://")
    authority, slash, path = rest.partition("/")
    parts = authority.split(",")
    if authority and all(_AUTHORITY.match(part) for part in parts):
        return Location(tuple(parse_endpoint(part) for part in parts), normalise(slash + path))
    if ":" in authority:
        text = f"{without_password(authority)!r} is no address: write host:port"
        if "@" not in authority:
            text += f", or {SCHEME}:///{rest} for a path"
        raise InvalidPathError(text)
    return Location((), normalise("/" + rest))


def endpoints_of(url: str) -> tuple[Endpoint, ...]:
    """The nodes of a URL that names a cluster; none: the default one. Raises InvalidPathError for
    one that names only a path: whoever wrote a host without its port means no other cluster.
    """
    location = parse_url(url)
    if not location.endpoints and location.path != "/":
        shown = without_password(url)
        raise InvalidPathError(f"{shown!r} names a path: write {SCHEME}://host:port")
    return location.endpoints


class EtcdUrl(NamedTuple):
    """Where an etcd cluster is, and under which prefix a memfs cluster keeps its keys there."""

    secure: bool
    """TLS."""
    endpoints: tuple[Endpoint, ...]
    prefix: str

    def __str__(self) -> str:
        scheme = "etcds" if self.secure else "etcd"
        return f"{scheme}://{','.join(map(str, self.endpoints))}/{self.prefix}"


def parse_etcd_url(url: str) -> EtcdUrl:
    """``etcd://h1:2379,h2:2379[/prefix]``, ``etcds://...`` with TLS. Raises InvalidPathError."""
    scheme, _, rest = url.partition("://")
    authority, _, prefix = rest.partition("/")
    if "@" in authority:
        raise InvalidPathError("no user belongs into the URL: set etcd_user and etcd_password")
    if scheme not in ("etcd", "etcds") or not authority:
        raise InvalidPathError(f"{url!r} is no etcd: write etcd://host:2379,host:2379/prefix")
    prefix = prefix or SCHEME
    if not _ETCD_PREFIX.fullmatch(prefix):
        raise InvalidPathError(
            f"{prefix!r} is no prefix: write letters, digits and ._- in parts separated by /"
        )
    endpoints = tuple(parse_endpoint(part, ETCD_PORT) for part in authority.split(","))
    return EtcdUrl(scheme == "etcds", endpoints, prefix)


def normalise(path: str | os.PathLike[str]) -> str:
    """Make a path absolute and free of ``.``, empty components and trailing slashes.

    ``..`` is resolved lexically. Raises InvalidPathError, NameTooLongError.
    """
    text = os.fspath(path)
    if not isinstance(text, str):
        raise InvalidPathError(f"a path is text, not {type(text).__name__}")
    text = posixpath.normpath("/" + text)
    return "/" + text.lstrip("/")


def encode(path: str) -> bytes:
    """The wire form of a path, checked as the node will. Raises as :func:`split`."""
    try:
        raw = path.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidPathError("the path is not valid Unicode", path=repr(path)) from None
    split(raw)
    return raw


def decode(raw: bytes) -> str:
    """The text form of a wire path or name."""
    return raw.decode("utf-8")


def split(raw: bytes) -> list[bytes]:
    """Components of a wire path; empty ones and ``.`` vanish, ``..`` stays for the walk to resolve.

    Raises InvalidPathError, NameTooLongError.
    """
    if len(raw) > limits.PATH_BYTES:
        raise NameTooLongError(f"the path has {len(raw)} bytes, more than {limits.PATH_BYTES}")
    if b"\0" in raw:
        raise InvalidPathError("a path cannot hold a NUL byte")
    parts = [part for part in raw.split(b"/") if part and part != b"."]
    for part in parts:
        if len(part) > limits.NAME_BYTES:
            raise NameTooLongError(f"a name has {len(part)} bytes, more than {limits.NAME_BYTES}")
    return parts


def check_name(name: bytes) -> None:
    """Check one new name. Raises InvalidPathError, NameTooLongError."""
    if len(name) > limits.NAME_BYTES:
        raise NameTooLongError(f"the name has {len(name)} bytes, more than {limits.NAME_BYTES}")
    if not name or name in (b".", b"..") or b"/" in name or b"\0" in name:
        raise InvalidPathError(f"{name!r} cannot be the name of a file")
    try:
        name.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidPathError(f"{name!r} is not valid UTF-8") from None


def join(directory: str, name: str) -> str:
    """``directory/name`` without doubled slashes."""
    return directory + name if directory.endswith("/") else f"{directory}/{name}"
