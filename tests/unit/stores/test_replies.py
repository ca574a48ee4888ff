"""What S3 and web servers answer, read right: odd keys, versions, errors, links."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memfs.errors import (
    InvalidArgumentError,
    MemfsError,
    ObjectChangedError,
    ObjectMissingError,
    StoreDeniedError,
    StoreMissingError,
    StoreUnreachableError,
    StoreUnsupportedError,
)
from memfs.stores.errors import of_status
from memfs.stores.range_reader import translated
from memfs.stores.replies import tag_of
from memfs.stores.s3.replies import error_of, level
from memfs.stores.websites import links

LISTING = b"""<?xml version="1.0"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>
<NextContinuationToken>go+on</NextContinuationToken>
<Contents><Key>p/d/</Key><Size>0</Size><LastModified>2026-11-29T10:00:00.000Z</LastModified></Contents>
<Contents><Key>p/d/a+b%2Bc</Key><Size>5</Size><ETag>&quot;e1&quot;</ETag>
<LastModified>2026-11-29T10:00:00.500Z</LastModified></Contents>
<Contents><Key>p/d/%FF</Key><Size>1</Size></Contents>
<Contents><Key>p/d/..</Key><Size>1</Size></Contents>
<CommonPrefixes><Prefix>p/d/sub/</Prefix></CommonPrefixes>
<CommonPrefixes><Prefix>p/d//</Prefix></CommonPrefixes>
</ListBucketResult>"""


def test_a_level_with_odd_keys() -> None:
    page = level(LISTING, "p/", "p/d/", "test")
    assert [(entry.key, entry.size, entry.is_directory) for entry in page.entries] == [
        ("d/a b+c", 5, False),
        ("d/sub", 0, True),
    ]
    assert page.entries[0].tag == b'"e1"' and page.entries[0].modified_ns == 1795946400 * 10**9
    assert (page.unreachable, page.token, page.count) == (3, "go+on", 6)


TEXT = st.text("abé/ .~%+-_0&<>\"'", min_size=1, max_size=9)
OBJECTS = st.tuples(
    TEXT,
    st.integers(0, 1 << 40),
    st.integers(0, 4_000_000_000),
    st.sampled_from(['"e"', "e", "", 'W/"e"']),
)


@given(
    objects=st.lists(OBJECTS, max_size=6),
    prefixes=st.lists(TEXT, max_size=3),
    url=st.booleans(),
    token=st.sampled_from([None, "on", "a&b", ""]),
    fraction=st.sampled_from(["", ".000", ".5"]),
)
def test_pages_are_read_alike_by_column_and_by_element(
    objects: list[tuple[str, int, int, str]],
    prefixes: list[str],
    url: bool,
    token: str | None,
    fraction: str,
) -> None:
    def key(text: str) -> str:
        return escape(quote(text, "/") if url else text)

    def when(seconds: int) -> str:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")

    rows = [
        f"<Contents><Key>p/{key(name)}</Key><LastModified>{when(at)}{fraction}Z</LastModified>"
        f"<ETag>{escape(etag, {chr(34): '&quot;'})}</ETag><Size>{size}</Size>"
        "<Owner><ID>i</ID></Owner></Contents>"
        for name, size, at, etag in objects
    ]
    rows += [
        f"<CommonPrefixes><Prefix>p/{key(each)}/</Prefix></CommonPrefixes>" for each in prefixes
    ]
    more = (
        "" if token is None else f"<NextContinuationToken>{escape(token)}</NextContinuationToken>"
    )
    body = (
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3">'
        "<Prefix>p/</Prefix>"
        f"<IsTruncated>{'false' if token is None else 'true'}</IsTruncated>{more}"
        f"{''.join(rows)}{'<EncodingType>url</EncodingType>' if url else ''}</ListBucketResult>"
    )
    by_element = level(f"<!-- a comment -->{body[38:]}".encode(), "", "p/", "test")
    assert level(body.encode(), "", "p/", "test") == by_element


@pytest.mark.parametrize(
    "wrong", [b"", b"<a>", b"\xff", LISTING[:-20], LISTING[:-45] + b"</ListBucketResult>"]
)
def test_a_page_that_is_broken_off_is_no_page(wrong: bytes) -> None:
    with pytest.raises(StoreUnreachableError):
        level(wrong, "", "", "test")


@pytest.mark.parametrize(("etag", "tag"), [('"x"', b'"x"'), ("x", b'"x"'), ('W/"x"', b"5-7")])
def test_versions_are_strong_etags(etag: str, tag: bytes) -> None:
    assert tag_of(etag, 5, 7) == tag


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "SignatureDoesNotMatch", StoreDeniedError),
        (400, "ExpiredToken", StoreDeniedError),
        (404, "NoSuchBucket", StoreMissingError),
        (404, "NoSuchKey", ObjectMissingError),
        (404, "", ObjectMissingError),
        (412, "PreconditionFailed", ObjectChangedError),
        (416, "InvalidRange", ObjectChangedError),
        (503, "SlowDown", StoreUnreachableError),
        (200, "InternalError", StoreUnreachableError),
        (501, "NotImplemented", StoreUnsupportedError),
        (400, "EntityTooSmall", InvalidArgumentError),
    ],
)
def test_errors(status: int, code: str, kind: type[MemfsError]) -> None:
    body = f"<Error><Code>{code}</Code><Message>a-secret</Message></Error>".encode()
    error = error_of(status, {}, body, "s3://bucket/key")
    assert type(error) is kind
    assert "a-secret" not in str(error) and "\n" not in str(error)


def test_the_library_says_of_expired_keys_what_the_store_said() -> None:
    """It has no class for them."""

    class GenericError(Exception):
        pass

    said = (
        "Error performing GET http://x/b/k in 1ms - Server returned non-2xx status code: 400 Bad "
        "Request: <Error><Code>{}</Code><Message>a-secret</Message></Error>"
    )
    error = translated(GenericError(said.format("ExpiredToken")), "key")
    assert type(error) is StoreDeniedError and "expired" in str(error)
    assert "a-secret" not in str(error)
    other = translated(GenericError(said.format("EntityTooSmall")), "key")
    assert type(other) is InvalidArgumentError and "a-secret" not in str(other)
    busy = translated(GenericError(said.format("RequestTimeout")), "key")
    assert type(busy) is StoreUnreachableError


def test_another_region_is_named() -> None:
    error = error_of(301, {"x-amz-bucket-region": "eu-west-1"}, b"", "bucket")
    assert "region=eu-west-1" in str(error)


def test_an_answer_that_is_no_xml_is_no_empty_listing() -> None:
    with pytest.raises(StoreUnreachableError):
        level(b"<html>proxy error", "", "", "test")


def test_every_status_has_an_error() -> None:
    assert all(isinstance(of_status(status, "x"), MemfsError) for status in range(100, 600))


def test_links_of_a_page() -> None:
    page = (
        '<a href="../">up</a><a href="?C=M;O=A">order</a><a href="a%20b">x</a><a href="sub/">x</a>'
        '<a href="http://other/d/x">x</a><a href="/d/absolute">x</a><a href="deep/er">x</a>'
        '<a href="a%20b">again</a><a href="%FF">x</a>'
    )
    found = links(page, "http://here/d/")
    assert found == ["a b", "sub", "absolute", "\udcff"]
