"""Parses S3's replies: XML into records, error codes into memfs's errors. Pure."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from memfs.errors import (
    InvalidArgumentError,
    MemfsError,
    StoreDeniedError,
    StoreMissingError,
    StoreUnreachableError,
)
from memfs.stores.errors import of_status
from memfs.stores.interface import ObjectInfo
from memfs.stores.key_names import is_name
from memfs.stores.replies import iso_ns, tag_of
from memfs.types import Buffer

NO_BUCKET: Final = "NoSuchBucket"


@dataclass(frozen=True, slots=True)
class Level:
    """One page of ListObjectsV2 with a delimiter."""

    entries: tuple[ObjectInfo, ...]
    unreachable: int
    token: str | None
    count: int
    """Number of keys and prefixes in the page, including the directory's own marker."""


def root(body: Buffer, what: str) -> ElementTree.Element:
    """The XML of a reply, without namespaces. Raises StoreUnreachableError."""
    try:
        tree = ElementTree.fromstring(bytes(body))
    except ElementTree.ParseError:
        raise StoreUnreachableError(f"{what}: the store's answer is no XML") from None
    for element in tree.iter():
        element.tag = element.tag.rpartition("}")[2]
    return tree


def level(body: Buffer, base: str, prefix: str, what: str) -> Level:
    """The page of the level ``prefix``; keys of entries are relative to ``base``."""
    tree = root(body, what)
    plain = tree.findtext("EncodingType") != "url"
    entries, unreachable, count = [], 0, 0
    for raw, info in _raw_entries(tree):
        count += 1
        key = raw if plain else _decoded(raw)
        if key == prefix:
            continue  # the marker of this very directory
        name = None if key is None else key[len(prefix) :].removesuffix("/")
        if key is None or name is None or not is_name(name):
            unreachable += 1
            continue
        if info is None:
            entries.append(ObjectInfo(key[len(base) : -1], 0, 0, b"", True))
        else:
            size, modified_ns, etag = info
            tag = tag_of(etag, size, modified_ns)
            entries.append(ObjectInfo(key[len(base) :], size, modified_ns, tag))
    truncated = tree.findtext("IsTruncated", "").lower() == "true"
    token = tree.findtext("NextContinuationToken") if truncated else None
    return Level(tuple(entries), unreachable, token, count)


def _raw_entries(
    tree: ElementTree.Element,
) -> Iterator[tuple[str, tuple[int, int, str] | None]]:
    """Keys as they came, with size, time and ETag; None for a common prefix."""
    for element in tree.findall("Contents"):
        yield (
            element.findtext("Key", ""),
            (
                int(element.findtext("Size", "0")),
                iso_ns(element.findtext("LastModified", "")),
                element.findtext("ETag", ""),
            ),
        )
    for element in tree.findall("CommonPrefixes"):
        yield element.findtext("Prefix", ""), None


def _decoded(raw: str) -> str | None:
    """A key that was encoded for a URL; None when it is not UTF-8."""
    try:
        return unquote_to_bytes(raw.replace("+", " ")).decode()
    except UnicodeDecodeError:
        return None


def code_of(body: Buffer) -> str:
    """The error code in the reply, empty when there is none."""
    if not len(body):
        return ""
    try:
        return root(body, "").findtext("Code", "")
    except StoreUnreachableError:
        return ""


def error_of(status: int, headers: Mapping[str, str], body: Buffer, what: str) -> MemfsError:
    """The error for an S3 reply."""
    code = code_of(body)
    if code == NO_BUCKET:
        return StoreMissingError(f"{what}: the store has no such bucket")
    region = headers.get("x-amz-bucket-region")
    if region and status in (301, 307, 400):
        return InvalidArgumentError(
            f"{what}: the bucket is in another region; give --option region={region}"
        )
    if code == "RequestTimeTooSkewed":
        return StoreDeniedError(f"{what}: the clock of the node is wrong ({status} {code})")
    return of_status(status, what, code)
