"""The small parts: request lines, buffers, groups, proxies, peers, extended attributes, ACLs."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memfs import limits
from memfs.gateway.auth import groups
from memfs.gateway.auth.authentication import RequestUser
from memfs.gateway.auth.proxies import Proxies
from memfs.gateway.call import normal, parent
from memfs.gateway.hadoop.exceptions import RemoteException
from memfs.gateway.hadoop.parameters import Parameters
from memfs.gateway.http import budget, gateway_peers
from memfs.gateway.http.connection import encode_raw
from memfs.gateway.http.redirects import file_url
from memfs.gateway.operations import acls, xattrs
from memfs.gateway.operations.file_status import matches
from memfs.gateway.operations.reading import _ranged
from memfs.types import AclEntry, AclKind, Member

# --- paths and addresses -------------------------------------------------------------------------


def test_raw_bytes_are_encoded() -> None:
    assert encode_raw("GET /é%20 HTTP/1.1".encode()) == b"GET /%C3%A9%20 HTTP/1.1"
    assert encode_raw(b"GET / HTTP/1.1") == b"GET / HTTP/1.1"


@pytest.mark.parametrize(
    ("given_", "wanted"), [("", "/"), ("/", "/"), ("//a//b/", "/a/b"), ("/a b", "/a b")]
)
def test_paths(given_: str, wanted: str) -> None:
    assert normal(given_) == wanted


@pytest.mark.parametrize("path", ["/.", "/..", "/a/../b", "/a/./b"])
def test_dots_are_refused(path: str) -> None:
    with pytest.raises(RemoteException):
        normal(path)


def test_parents() -> None:
    assert [parent(path) for path in ("/a/b", "/a", "/")] == ["/a", "/", "/"]


def test_locations_are_encoded_once() -> None:
    assert file_url("http://h:1", "/a b/100%/é#?") == (
        "http://h:1/webhdfs/v1/a%20b/100%25/%C3%A9%23%3F"
    )


# --- HTTP ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "wanted"),
    [(None, False), ("", False), ('"a"', True), ('W/"a"', True), ('"b", "a"', True), ("*", True)],
)
def test_entity_tags(header: str | None, wanted: bool) -> None:
    assert matches(header, '"a"') is wanted


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 100))
def test_ranges_lie_within_the_file(first: int, last: int, size: int) -> None:
    found = _ranged(str(first), str(last), size)
    if found is not None and found.status == 206:
        assert (found.start, found.end) == (first, min(size, last + 1))
        assert found.start < found.end <= size
    elif found is None:
        assert first >= size


# --- memory --------------------------------------------------------------------------------------


def test_buffers_beyond_the_limit_are_small() -> None:
    buffers = budget.StreamBuffers(2 * budget.LARGEST)
    first, second = buffers.take(budget.LARGEST), buffers.take(budget.LARGEST)
    assert len(buffers.take(budget.LARGEST)) == budget.SMALLEST
    buffers.give(first)
    half = budget.LARGEST // 2
    assert len(buffers.take(half)) == half
    buffers.give(second, reusable=False)
    assert buffers.lent == budget.SMALLEST + half


def test_warm_buffers_are_used_again() -> None:
    buffers = budget.StreamBuffers(1 << 30)
    buffer = buffers.take(budget.LARGEST)
    buffers.give(buffer)
    assert buffers.take(budget.LARGEST) is buffer
    buffers.give(buffer, reusable=False)
    assert buffers.take(budget.LARGEST) is not buffer


async def test_slots_are_given_in_turn() -> None:
    slots = budget.Slots(4)
    await slots.acquire(1)
    large = asyncio.create_task(slots.acquire(slots.needed(limits.BLOCK_BYTES_MAX)))
    await asyncio.sleep(0)
    small = asyncio.create_task(slots.acquire(1))
    await asyncio.sleep(0)
    assert not large.done() and not small.done() and slots.taken == 1, "small ones starve nobody"
    slots.release(1)
    await large
    assert slots.taken == 4 and not small.done()
    slots.release(4)
    await small
    assert slots.taken == 1


async def test_who_waits_no_longer_gets_no_slot() -> None:
    slots = budget.Slots(2)
    await slots.acquire(1)
    gone, waits = (asyncio.create_task(slots.acquire(count)) for count in (2, 1))
    await asyncio.sleep(0)
    gone.cancel()
    await waits
    assert slots.taken == 2
    last = asyncio.create_task(slots.acquire(1))
    await asyncio.sleep(0)
    slots.release(2)
    last.cancel()  # when it was its turn already
    await asyncio.gather(last, gone, return_exceptions=True)
    assert slots.taken == 0


def test_what_failed_uploads_held_is_freed() -> None:
    class Held:
        """Refers to itself, as an error does by its traceback."""

        def __init__(self) -> None:
            self.circle = self

    gc.collect()
    wreckage, held = budget.Wreckage(), Held()
    alive = weakref.ref(held)
    wreckage.add(budget.COLLECTED_BYTES - 1)
    del held
    assert alive() is not None
    wreckage.add(1)
    assert alive() is None


def test_large_blocks_take_several_slots() -> None:
    slots = budget.Slots(16)
    sizes = (limits.BLOCK_BYTES_MIN, limits.BLOCK_BYTES_DEFAULT, limits.BLOCK_BYTES_MAX)
    assert [slots.needed(size) for size in sizes] == [1, 1, 16]


# --- users ---------------------------------------------------------------------------------------


async def test_groups_are_configured_or_looked_up() -> None:
    known = groups.Groups(("ann=a+b", "bob="), system=False)
    assert [await known.of(user) for user in ("ann", "bob", "eve")] == [("a", "b"), (), ()]
    assert "root" in await groups.Groups((), system=True).of("root")
    assert await groups.Groups((), system=True).of("no such user") == ()


async def test_lookups_are_kept_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(groups, "account_groups", lambda user: (asked.append(user), ("g",))[1])
    clock: Iterator[float] = iter([0.0, 59.0, 61.0])
    known = groups.Groups((), True, lambda: next(clock))
    for _ in range(3):
        assert await known.of("ann") == ("g",)
    assert asked == ["ann", "ann"]


@pytest.mark.parametrize(
    ("user", "address", "allowed"),
    [("hue", "1.2.3.4", True), ("livy", "10.0.0.1", True), ("livy", "10.0.0.2", False)],
)
def test_proxies(user: str, address: str, allowed: bool) -> None:
    proxies = Proxies(("hue", "livy@10.0.0.1"))
    asking = RequestUser(user)
    if allowed:
        found = proxies.principal(asking, Parameters("doas=ann"), address)
        assert found == RequestUser("ann", None, user)
    else:
        with pytest.raises(RemoteException):
            proxies.principal(asking, Parameters("doas=ann"), address)
    assert proxies.principal(asking, Parameters(""), address) is asking
    assert proxies.principal(asking, Parameters(f"doas={user}"), address) is asking


# --- peers ---------------------------------------------------------------------------------------


def member(host: str, name: str = "n") -> Member:
    return Member(1, name, 1, host, 10500)


def test_peers_are_wanted_before_they_are_named() -> None:
    found = gateway_peers.GatewayPeers(("alpha=g1:9870",), "http", find=True)
    found._port = 9870
    assert found.of(member("10.0.0.1", "alpha")) == ""
    assert found.of(member("10.0.0.2")) == ""
    assert found._wanted == {"g1:9870", "10.0.0.2:9870"}
    found._answering = {"g1:9870": "https://public", "10.0.0.2:9870": "http://10.0.0.2:9870"}
    assert found.of(member("10.0.0.1", "alpha")) == "https://public"
    assert found.of(member("10.0.0.2")) == "http://10.0.0.2:9870"
    assert found.of(member("127.0.0.1")) == found.of(member("localhost")) == ""


def test_peers_are_not_looked_for_when_told_so() -> None:
    found = gateway_peers.GatewayPeers((), "http", find=False)
    assert found.of(member("10.0.0.2")) == ""
    assert not found._wanted


# --- values --------------------------------------------------------------------------------------


@given(st.binary(max_size=100))
def test_attribute_values_survive(value: bytes) -> None:
    for encoding in ("HEX", "BASE64"):
        assert xattrs.decoded(xattrs.encoded(value, encoding)) == value


@given(st.text(max_size=100))
def test_text_values_survive(text: str) -> None:
    assert xattrs.decoded(xattrs.encoded(text.encode(), "TEXT")) == text.encode()


@pytest.mark.parametrize("value", ["0xz", "0x1", "0s***"])
def test_values_that_cannot_be_decoded(value: str) -> None:
    with pytest.raises(RemoteException):
        xattrs.decoded(value)


def test_attribute_names() -> None:
    assert xattrs.attribute_name("USER.Name") == "user.Name"
    for name in ("name", "user.", "other.name"):
        with pytest.raises(RemoteException):
            xattrs.attribute_name(name)


def test_what_is_told_of_a_list() -> None:
    base = tuple(AclEntry(kind, "", 7) for kind in (AclKind.USER, AclKind.GROUP, AclKind.OTHER))
    named = AclEntry(AclKind.USER, "bob", 4)
    mask = AclEntry(AclKind.MASK, "", 5)
    default = AclEntry(AclKind.OTHER, "", 0, True)
    assert acls.told(base) == []
    assert acls.told((*base, named, mask)) == ["group::rwx", "user:bob:r--"]
    assert acls.told((*base, default)) == ["default:other::---"]
