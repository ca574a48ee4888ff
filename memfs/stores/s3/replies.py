"""Parses S3's replies: XML into records, error codes into memfs's errors. Pure."""

from __future__ import annotations

import functools
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple
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
_DECLARED: Final = re.compile(rb"\s*<\?xml[^>]*encoding=[\"']([\w-]+)")
_KEY: Final = re.compile("<Key>([^<]*)</Key>")
_SIZE: Final = re.compile(r"<Size>(\d+)</Size>")
_ETAG: Final = re.compile(r'<ETag>("[^<"\n]*")</ETag>')
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
    own, named, made = len(base), len(prefix), ObjectInfo._make
    keys = _decoded(listed.keys) if listed.encoded else listed.keys
    prefixes = _decoded(listed.prefixes) if listed.encoded else listed.prefixes
    entries = [
        made((key[own:], size, modified_ns, tag, False))
        for key, size, modified_ns, tag in zip(
            keys, listed.sizes, listed.times, listed.tags, strict=True
        )
        if is_name(key[named:])
    ]
    entries += [
        ObjectInfo(key[own:-1], 0, 0, b"", True) for key in prefixes if is_name(key[named:-1])
    ]
    count = len(keys) + len(prefixes)
    marker = keys.count(prefix)  # of this very directory
    return Level(tuple(entries), count - marker - len(entries), listed.token, count)


class _Listed(NamedTuple):
    """What a page of ListObjectsV2 says: a column of each part of its objects."""

    keys: list[str]
    sizes: list[int]
    times: list[int]
    """Nanoseconds since the epoch."""
    tags: list[bytes]
    prefixes: list[str]
    """Common ones."""
    encoded: bool
    """Keys and prefixes are encoded for a URL."""
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
        text = body.decode().replace("&quot;", '"').replace("&#34;", '"')
    except UnicodeDecodeError:
        return None
    if "&" in text:
        return None
    begin, end = text.find("<Contents>"), text.rfind("</Contents>")
    objects, rest = (text[begin:end], text[:begin] + text[end:]) if begin >= 0 else ("", text)
    keys, sizes = _KEY.findall(objects), _SIZE.findall(objects)
    times, etags = _TIME.findall(objects), _ETAG.findall(objects)
    if {len(keys), len(sizes), len(times), len(etags)} != {objects.count("<Contents>")}:
        return None
    prefixes, truncated = _PREFIX.findall(rest), _TRUNCATED.findall(rest)
    tokens, encodings = _TOKEN.findall(rest), _ENCODING.findall(rest)
    if len(prefixes) != text.count("<CommonPrefixes>") or len(truncated) != 1:
        return None
    if len(tokens) != text.count("<NextContinuationToken>") or len(tokens) > 1:
        return None
    return _Listed(
        keys,
        list(map(int, sizes)),
        [_minute_ns(minute) + int(second) * 10**9 for minute, second in times],
        "\n".join(etags).encode().split(b"\n") if etags else [],
        prefixes,
        encodings == ["url"],
        tokens[0] if truncated[0].lower() == "true" and tokens else None,
    )


@functools.lru_cache(maxsize=256)
def _minute_ns(text: str) -> int:
    return iso_ns(f"{text}:00Z")


def _by_element(tree: ElementTree.Element) -> _Listed:
    """Whatever is well-formed."""
    objects = tree.findall("Contents")
    sizes = [int(each.findtext("Size", "0")) for each in objects]
    times = [iso_ns(each.findtext("LastModified", "")) for each in objects]
    etags = [each.findtext("ETag", "") for each in objects]
    truncated = tree.findtext("IsTruncated", "").lower() == "true"
    return _Listed(
        [each.findtext("Key", "") for each in objects],
        sizes,
        times,
        list(map(tag_of, etags, sizes, times)),
        [each.findtext("Prefix", "") for each in tree.findall("CommonPrefixes")],
        tree.findtext("EncodingType") == "url",
        tree.findtext("NextContinuationToken") if truncated else None,
    )


def _decoded(raw: list[str]) -> list[str]:
    """Keys that were encoded for a URL; NUL, which is no name, for one that is not UTF-8."""
    if not any("%" in each or "+" in each for each in raw):
        return raw
    return [_text(unquote_to_bytes(each.replace("+", " "))) for each in raw]


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "\0"


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
