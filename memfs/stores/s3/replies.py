"""Parses S3's replies: XML into records, error codes into memfs's errors. Pure."""

from __future__ import annotations

import functools
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import unquote_to_bytes

from memfs.errors import (
    InvalidArgumentError,
    MemfsError,
    StoreMissingError,
    StoreUnreachableError,
)
from memfs.stores.errors import of_status
from memfs.stores.interface import ObjectInfo
from memfs.stores.key_names import is_name
from memfs.stores.replies import iso_ns, tag_of
from memfs.types import Buffer

NO_BUCKET: Final = "NoSuchBucket"
_RawEntry: TypeAlias = tuple[str, tuple[int, int, str] | None]
"""A key as it came, with size, time and ETag; None for a common prefix."""
_DECLARED: Final = re.compile(rb"\s*<\?xml[^>]*encoding=[\"']([\w-]+)")
_KEY: Final = re.compile("<Key>([^<]*)</Key>")
_SIZE: Final = re.compile(r"<Size>(\d+)</Size>")
_ETAG: Final = re.compile("<ETag>([^<]*)</ETag>")
_TIME: Final = re.compile(
    r"<LastModified>(\d{4}-\d\d-\d\dT\d\d:\d\d):(\d\d)(?:\.\d+)?Z</LastModified>"
)
_PREFIX: Final = re.compile("<CommonPrefixes>\\s*<Prefix>([^<]*)</Prefix>\\s*</CommonPrefixes>")
_TRUNCATED: Final = re.compile(r"<IsTruncated>(\w+)</IsTruncated>")
_TOKEN: Final = re.compile("<NextContinuationToken>([^<]*)</NextContinuationToken>")
_ENCODING: Final = re.compile(r"<EncodingType>(\w+)</EncodingType>")


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
    text = bytes(body)
    listed = _in_columns(text) or _by_element(root(text, what))
    entries, unreachable = [], 0
    for raw, info in listed.entries:
        key = _decoded(raw) if listed.encoded and ("%" in raw or "+" in raw) else raw
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
    return Level(tuple(entries), unreachable, listed.token, len(listed.entries))


class _Listed(NamedTuple):
    """What a page of ListObjectsV2 says."""

    entries: list[_RawEntry]
    encoded: bool
    """Keys are encoded for a URL."""
    token: str | None


def _in_columns(body: bytes) -> _Listed | None:
    """A page as servers write it: each kind of element by itself, a tenth of the time that a tree
    takes. None: something is not as plain as that."""
    if b"<!" in body or not body.rstrip().endswith(b"</ListBucketResult>"):
        return None
    declared = _DECLARED.match(body)
    if declared is not None and declared[1].lower() != b"utf-8":
        return None
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    keys, sizes = _KEY.findall(text), _SIZE.findall(text)
    times, etags = _TIME.findall(text), _ETAG.findall(text)
    prefixes, truncated = _PREFIX.findall(text), _TRUNCATED.findall(text)
    tokens, encodings = _TOKEN.findall(text), _ENCODING.findall(text)
    objects = text.count("<Contents>")
    if {len(keys), len(sizes), len(times), len(etags)} != {objects}:
        return None
    if len(prefixes) != text.count("<CommonPrefixes>") or len(truncated) != 1:
        return None
    if len(tokens) != text.count("<NextContinuationToken>") or len(tokens) > 1:
        return None
    if any("&" in each for each in (*keys, *prefixes, *tokens)):
        return None
    seconds = [_minute_ns(minute) + int(second) * 10**9 for minute, second in times]
    plain = [each.replace("&quot;", "").replace("&#34;", "") for each in etags]
    if any("&" in each for each in plain):
        return None
    known = zip(map(int, sizes), seconds, plain, strict=True)
    entries: list[_RawEntry] = list(zip(keys, known, strict=True))
    entries += [(each, None) for each in prefixes]
    more = truncated[0].lower() == "true"
    return _Listed(entries, encodings == ["url"], tokens[0] if more and tokens else None)


@functools.lru_cache(maxsize=256)
def _minute_ns(text: str) -> int:
    return iso_ns(f"{text}:00Z")


def _by_element(tree: ElementTree.Element) -> _Listed:
    """Whatever is well-formed."""
    truncated = tree.findtext("IsTruncated", "").lower() == "true"
    token = tree.findtext("NextContinuationToken") if truncated else None
    encoded = tree.findtext("EncodingType") == "url"
    return _Listed(list(_raw_entries(tree)), encoded, token)


def _raw_entries(tree: ElementTree.Element) -> Iterator[_RawEntry]:
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
    return of_status(status, what, code)
