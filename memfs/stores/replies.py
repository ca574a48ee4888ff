"""Versions, sizes and times of objects in HTTP replies. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

from memfs.stores.interface import ObjectInfo


def info_of(key: str, headers: Mapping[str, str], size: int | None = None) -> ObjectInfo:
    """The object that a reply's headers describe."""
    length = int(headers.get("content-length", "0")) if size is None else size
    modified_ns = http_ns(headers.get("last-modified", ""))
    tag = tag_of(headers.get("etag", ""), length, modified_ns)
    return ObjectInfo(key, length, modified_ns, tag)


def tag_of(etag: str, size: int, modified_ns: int) -> bytes:
    """A version of a strong ETag; of size and time where there is none.

    Some servers leave the quotes out in some replies, so they are put where they belong.
    """
    etag = etag.strip()
    if not etag or etag.startswith("W/"):
        return b"%x-%x" % (size, modified_ns)
    return f'"{etag.strip(chr(34))}"'.encode()


def is_etag(tag: bytes) -> bool:
    """Whether the store itself can compare this version."""
    return tag.startswith(b'"')


def iso_ns(text: str) -> int:
    """Nanoseconds of a time as in XML, whole seconds; 0 when it cannot be read."""
    try:
        return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()) * 10**9
    except ValueError:
        return 0


def http_ns(text: str) -> int:
    """Nanoseconds of a time as in headers; 0 when it cannot be read."""
    try:
        return int(parsedate_to_datetime(text).timestamp()) * 10**9
    except (TypeError, ValueError):
        return 0
