"""Paths and URLs."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memfs import paths
from memfs.errors import InvalidPathError, NameTooLongError
from memfs.paths import Endpoint, Location


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("host", Endpoint("host", 10500)),
        ("host:1", Endpoint("host", 1)),
        ("1.2.3.4:65535", Endpoint("1.2.3.4", 65535)),
        ("[::1]:9", Endpoint("::1", 9)),
        ("[fe80::1%lo]:9", Endpoint("fe80::1%lo", 9)),
    ],
)
def test_endpoints(text: str, wanted: Endpoint) -> None:
    assert paths.parse_endpoint(text) == wanted


@pytest.mark.parametrize(
    "text", ["", ":1", "a:", "a:0", "a:65536", "a:b", "a/b", "::1", "a:1:2", "a:\uff11", "[::1%]:1"]
)
def test_no_endpoints(text: str) -> None:
    with pytest.raises(InvalidPathError):
        paths.parse_endpoint(text)


@pytest.mark.parametrize(
    "endpoint", [Endpoint("a", 1), Endpoint("::1", 2), Endpoint("fe80::1%lo", 3)]
)
def test_endpoint_text_round_trip(endpoint: Endpoint) -> None:
    assert paths.parse_endpoint(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("/a/b", Location((), "/a/b")),
        ("a/b", Location((), "/a/b")),
        ("/a/hdfs://b:1/c", Location((), "/a/hdfs:/b:1/c")),
        ("memfs:///a", Location((), "/a")),
        ("memfs:/a", Location((), "/a")),
        ("memfs://", Location((), "/")),
        ("memfs://dir/file", Location((), "/dir/file")),
        ("memfs://host:1", Location((Endpoint("host", 1),), "/")),
        ("memfs://host:1/x/", Location((Endpoint("host", 1),), "/x")),
        ("memfs://a:1,b:2/x", Location((Endpoint("a", 1), Endpoint("b", 2)), "/x")),
        ("memfs:///a:1,b/x", Location((), "/a:1,b/x")),
        ("memfs:/a:b/x", Location((), "/a:b/x")),
        ("memfs://[::1]:5/x", Location((Endpoint("::1", 5),), "/x")),
    ],
)
def test_urls(url: str, wanted: Location) -> None:
    assert paths.parse_url(url) == wanted


@pytest.mark.parametrize(
    "authority",
    ["a:1,b", "a:", "a:x", "a:1x", "a:-1", "a:0", "a:65536", "a:\uff11", "me@a:1", "::1", "a:1:2"],
)
def test_what_is_no_address_is_no_path_of_another_cluster(authority: str) -> None:
    for rest in ("", "/", "/x"):
        with pytest.raises(InvalidPathError, match="is no address: write host:port"):
            paths.parse_url(f"memfs://{authority}{rest}")


@pytest.mark.parametrize(
    "url",
    [
        "memfs://ann:swordfish@a:1/x",
        "memfs://a:1,ann:swordfish@b:1",
        "memfs://:swordfish@a",
        "hdfs://ann:swordfish@a/x",
        "ann:swordfish@a:1",
        "a:1,ann:swordfish@b",
    ],
)
@pytest.mark.parametrize("read", [paths.parse_url, paths.parse_endpoint, paths.endpoints_of])
def test_no_refusal_shows_a_password(read: Callable[[str], object], url: str) -> None:
    try:
        read(url)
    except InvalidPathError as error:
        assert "swordfish" not in str(error)
        assert ":***@" in str(error)
    else:
        assert "://" not in url, "a path of the default cluster"


@pytest.mark.parametrize("url", ["memfs://host", "memfs://host/x", "host:1", "host", "/a/b"])
def test_a_path_names_no_cluster(url: str) -> None:
    with pytest.raises(InvalidPathError, match="names a path: write memfs://host:port"):
        paths.endpoints_of(url)


def test_urls_that_name_a_cluster() -> None:
    assert paths.endpoints_of("memfs://a:1,b:2/x") == (Endpoint("a", 1), Endpoint("b", 2))
    assert paths.endpoints_of("memfs://") == paths.endpoints_of("memfs:///") == ()


def test_other_schemes() -> None:
    with pytest.raises(InvalidPathError, match="scheme"):
        paths.parse_url("hdfs://a:1/x")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "/"),
        ("/", "/"),
        ("//", "/"),
        ("///a//b/", "/a/b"),
        ("a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/../..", "/"),
        (pathlib.PurePosixPath("/a"), "/a"),
    ],
)
def test_normalise(text: str, wanted: str) -> None:
    assert paths.normalise(text) == wanted


def test_bytes_are_no_path() -> None:
    with pytest.raises(InvalidPathError):
        paths.normalise(b"/a")  # type: ignore[arg-type]


@given(st.text(alphabet="ab./", max_size=12))
def test_normalise_is_idempotent_and_absolute(text: str) -> None:
    once = paths.normalise(text)
    assert once.startswith("/") and "//" not in once
    assert paths.normalise(once) == once
    assert once == "/" or not once.endswith("/")


def test_wire_round_trip() -> None:
    assert paths.decode(paths.encode("/ä/日本")) == "/ä/日本"


@pytest.mark.parametrize("path", ["/\ud800", "/a\0b"])
def test_encode_refuses(path: str) -> None:
    with pytest.raises(InvalidPathError):
        paths.encode(path)


def test_limits_are_in_bytes() -> None:
    paths.encode("/" + "ä" * 127)
    with pytest.raises(NameTooLongError):
        paths.encode("/" + "ä" * 128)
    with pytest.raises(NameTooLongError):
        paths.encode("/a" * 2049)


def test_split() -> None:
    assert paths.split(b"/a//./b/../c/") == [b"a", b"b", b"..", b"c"]
    assert paths.split(b"/") == []


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"a\0", b"\xff"])
def test_bad_names(name: bytes) -> None:
    with pytest.raises(InvalidPathError):
        paths.check_name(name)


def test_good_names() -> None:
    paths.check_name(b"...")
    paths.check_name(b"a" * 255)
    with pytest.raises(NameTooLongError):
        paths.check_name(b"a" * 256)


def test_join() -> None:
    assert paths.join("/", "a") == "/a"
    assert paths.join("/a", "b") == "/a/b"
