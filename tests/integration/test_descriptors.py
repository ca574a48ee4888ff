"""Block memory lent over a unix socket: what a receiver can do with it, and what it cannot."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import mmap
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from memfs import errors
from memfs.checksum import crc32c
from memfs.client.reading.small_segments import copy_blocks, map_descriptor
from memfs.limits import CHUNK_BYTES, MIB, RECORD_BYTES
from memfs.node.blocks import BlockStore
from memfs.protocol import frames, records
from memfs.protocol.messages import (
    BlockVersion,
    DescriptorsReply,
    Extent,
    GetDescriptors,
    Segment,
    WriteBlock,
)
from memfs.protocol.segment_records import OFFSET_BITS
from memfs.transport.descriptors import DESCRIPTORS_PER_REPLY, DescriptorClient, DescriptorServer

BLOCK = MIB
A, B = BlockVersion(1, 0, 1, 1), BlockVersion(1, 0, 1, 2)
HALF = os.urandom(BLOCK // 2)
WHOLE = os.urandom(BLOCK)

Serve = Callable[..., DescriptorServer]


def put(store: BlockStore, version: BlockVersion, data: bytes, base: BlockVersion | None) -> None:
    """Store a whole block, or ``data`` appended to ``base``."""
    old = 0 if base is None else BLOCK // 2
    request = WriteBlock(*version, old + len(data), crc32c(data), (), BLOCK, 16)
    if base is not None:
        request = request._replace(
            base_generation=base.generation,
            base_sequence=base.sequence,
            extents=(Extent(old, len(data)),),
        )
    write = store.begin(request)
    (buffer,) = write.buffers()
    buffer[:] = data
    write.received(len(data))
    write.finish()


@pytest.fixture
def store() -> BlockStore:
    store = BlockStore(1 << 30)
    put(store, BlockVersion(1, 1, 1, 1), WHOLE, None)  # makes the group large enough for a memfd
    put(store, A, HALF, None)
    return store


@pytest.fixture
async def path(tmp_path: Path, store: BlockStore) -> AsyncIterator[str]:
    def answer(request: GetDescriptors) -> tuple[DescriptorsReply, list[int]]:
        segments, descriptors = store.descriptors(request.versions)
        return DescriptorsReply(tuple(segments)), descriptors

    path = str(tmp_path / "node.fd")
    server = DescriptorServer(path, answer)
    yield path
    server.close()


def serve(path: str, reply: DescriptorsReply, descriptors: list[int]) -> DescriptorServer:
    return DescriptorServer(path, lambda request: (reply, descriptors))


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def fetch_one(path: str, version: BlockVersion) -> tuple[Segment, int]:
    client = DescriptorClient(path)
    reply, (descriptor,) = await client.fetch_async([version], 5)
    client.close()
    return reply.segments[0], descriptor


async def test_a_receiver_maps_the_bytes_and_can_change_nothing(path: str) -> None:
    segment, descriptor = await fetch_one(path, A)
    view = mmap.mmap(descriptor, segment.offset + segment.length, prot=mmap.PROT_READ)
    assert view[segment.offset :] == HALF
    with pytest.raises(PermissionError):
        mmap.mmap(descriptor, BLOCK)
    for change in (
        lambda: os.pwrite(descriptor, b"x", 0),
        lambda: os.ftruncate(descriptor, 0),
        lambda: os.ftruncate(descriptor, 1 << 30),
        lambda: fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE),
    ):
        with pytest.raises(PermissionError):
            change()
    os.close(descriptor)


async def test_the_path_of_the_descriptor_gives_no_way_around_the_seals(path: str) -> None:
    _, descriptor = await fetch_one(path, A)
    again = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR)
    with pytest.raises(PermissionError):
        os.write(again, b"x")
    with pytest.raises(PermissionError):
        mmap.mmap(again, BLOCK)
    os.close(again)
    os.close(descriptor)


async def test_appends_show_in_a_mapping_that_was_made_before(path: str, store: BlockStore) -> None:
    segment, descriptor = await fetch_one(path, A)
    view = mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)
    put(store, B, b"appended", A)
    end = segment.offset + segment.length
    assert view[segment.offset : end + 8] == HALF + b"appended"
    os.close(descriptor)


async def test_a_mapping_outlives_the_blocks(path: str, store: BlockStore) -> None:
    segment, descriptor = await fetch_one(path, A)
    view = mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)
    store.discard(A)
    assert store.used > BLOCK + BLOCK // 2, "a sealed slot stays charged while its memfd lives"
    store.discard(BlockVersion(1, 1, 1, 1))
    assert store.used == 0
    assert view[segment.offset : segment.offset + segment.length] == HALF
    os.close(descriptor)


def sums(data: bytes) -> bytes:
    """The checksums of its chunks, as a node tells them."""
    starts = range(0, len(data), CHUNK_BYTES)
    return b"".join(crc32c(data[at : at + CHUNK_BYTES]).to_bytes(4, "little") for at in starts)


async def test_sums_have_a_bound_in_an_answer_and_the_last_chunk_may_be_short() -> None:
    store, length = BlockStore(1 << 30), BLOCK + 100
    data = bytes(length)
    versions = [BlockVersion(1, number, 1, 1) for number in range(600)]
    for version in versions:
        request = WriteBlock(*version, length, crc32c(data), (), 4 * BLOCK, 16)
        write = store.begin(request)
        write.buffers()[0][:] = data
        write.received(length)
        write.finish()
    told = [segment.sums for segment in store.descriptors(versions)[0]]
    assert told[0] == sums(data)
    assert 0 < sum(map(len, told)) <= RECORD_BYTES // 2
    assert {len(each) for each in told} == {0, len(sums(data))}


async def test_blocks_of_a_group_share_a_descriptor(path: str) -> None:
    client = DescriptorClient(path)
    missing = BlockVersion(9, 0, 0, 0)
    reply, descriptors = await client.fetch_async([A, missing, BlockVersion(1, 1, 1, 1)], 5)
    assert reply.segments == (
        Segment(0, 0, BLOCK // 2, sums(HALF)),
        Segment(-1, 0, 0),
        Segment(0, BLOCK, BLOCK, sums(WHOLE)),
    )
    assert len(descriptors) == 1
    os.close(descriptors[0])
    client.close()


async def test_fetching_from_a_thread(path: str) -> None:
    client = DescriptorClient(path)
    for _ in range(3):
        reply, (descriptor,) = await asyncio.to_thread(client.fetch, [A], 5)
        assert reply.segments[0].length == BLOCK // 2
        assert fcntl.fcntl(descriptor, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        os.close(descriptor)
    client.close()


async def test_surplus_descriptors_are_left_out(tmp_path: Path) -> None:
    path, count = str(tmp_path / "s"), DESCRIPTORS_PER_REPLY + 10
    files = [os.memfd_create("x") for _ in range(count)]
    server = serve(path, DescriptorsReply(tuple(Segment(n, 0, 1) for n in range(count))), files)
    client = DescriptorClient(path)
    reply, descriptors = await client.fetch_async([A] * count, 5)
    assert len(descriptors) == DESCRIPTORS_PER_REPLY
    assert [s.descriptor for s in reply.segments] == [*range(DESCRIPTORS_PER_REPLY), *[-1] * 10]
    for descriptor in files + descriptors:
        os.close(descriptor)
    client.close()
    server.close()


async def test_an_error_of_the_handler_is_the_clients(tmp_path: Path) -> None:
    def refuse(request: GetDescriptors) -> tuple[DescriptorsReply, list[int]]:
        if request.versions[0] == A:
            raise errors.BusyError("later")
        raise ZeroDivisionError

    server = DescriptorServer(str(tmp_path / "s"), refuse)
    client = DescriptorClient(str(tmp_path / "s"))
    with pytest.raises(errors.BusyError, match="later"):
        await client.fetch_async([A], 5)
    with pytest.raises(errors.InternalError, match="ZeroDivisionError"):
        await client.fetch_async([B], 5)
    client.close()
    server.close()


async def test_the_client_connects_again_when_the_node_is_back(tmp_path: Path) -> None:
    path, reply = str(tmp_path / "s"), DescriptorsReply((Segment(-1, 0, 0),))
    client = DescriptorClient(path)
    with pytest.raises(errors.UnavailableError):
        await client.fetch_async([A], 5)
    for _ in range(3):
        server = serve(path, reply, [])
        assert await client.fetch_async([A], 5) == (reply, [])
        server.close()
    with pytest.raises(errors.UnavailableError):
        await asyncio.to_thread(client.fetch, [A], 5)
    client.close()


async def test_silence_is_a_deadline(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    client = DescriptorClient(str(tmp_path / "s"))
    with pytest.raises(errors.DeadlineError):
        await client.fetch_async([A], 0.02)
    with pytest.raises(errors.DeadlineError):
        await asyncio.to_thread(client.fetch, [A], 0.02)
    client.close()
    listener.close()


@pytest.mark.parametrize(
    "wrong",
    [
        Segment(5, 0, 1),
        Segment(0, -1, 1),
        Segment(0, 0, -1),
        Segment(0, 0, 1, b"12345"),
        Segment(0, 0, 1 << 60, b"1234"),
    ],
)
async def test_a_wrong_answer_leaks_no_descriptor(tmp_path: Path, wrong: Segment) -> None:
    server = serve(str(tmp_path / "s"), DescriptorsReply((wrong,)), [0, 1, 2])
    client = DescriptorClient(str(tmp_path / "s"))
    for fetch in (client.fetch_async, lambda v, t: asyncio.to_thread(client.fetch, v, t)):
        with pytest.raises(errors.ProtocolError):
            await fetch([A], 5)
    client.close()
    await asyncio.sleep(0.01)
    before = open_descriptors()
    with pytest.raises(errors.ProtocolError):
        await client.fetch_async([A, B], 5)
    client.close()
    await asyncio.sleep(0.01)
    assert open_descriptors() == before
    server.close()


async def test_cancellation_leaves_a_client_that_works(path: str) -> None:
    client = DescriptorClient(path)
    for steps in range(4):
        task = asyncio.create_task(client.fetch_async([A], 5))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        _, descriptors = await client.fetch_async([A], 5)
        os.close(descriptors[0])
    client.close()


@pytest.mark.parametrize(
    "datagram",
    [
        b"x",
        b"x" * 60_000,
        frames.pack_frame(frames.REQUEST, 1, 1, 0, 0, b""),
        frames.pack_frame(frames.REQUEST, 200, 1, 0, 0, b"\xc1"),
        frames.pack_frame(frames.REPLY, 200, 1, 0, 0, records.encode(GetDescriptors(()))),
        frames.pack_frame(frames.REQUEST, 200, 1, 0, 0, b"", 7),
        frames.pack_frame(frames.REQUEST, 200, 1, 0, 0, records.encode(GetDescriptors(()))) + b"x",
    ],
)
async def test_what_is_no_request_ends_the_connection(path: str, datagram: bytes) -> None:
    hostile = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    hostile.connect(path)
    hostile.send(datagram)
    hostile.setblocking(False)
    with pytest.raises(BlockingIOError):
        hostile.recv(1)
    await asyncio.sleep(0.01)
    try:
        assert hostile.recv(1) == b""
    except ConnectionResetError:
        pass
    hostile.close()
    _, descriptor = await fetch_one(path, A)
    os.close(descriptor)


async def test_a_client_that_never_reads_is_dropped(path: str) -> None:
    request = frames.pack_frame(
        frames.REQUEST, 200, 1, 0, 0, records.encode(GetDescriptors((A,) * 500))
    )
    greedy = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    greedy.connect(path)
    greedy.setblocking(False)
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        for _ in range(2000):
            try:
                greedy.send(request)
            except BlockingIOError:
                await asyncio.sleep(0)
            await asyncio.sleep(0)
    greedy.close()


async def test_the_socket_is_open_to_whom_it_is_meant_for(path: str, tmp_path: Path) -> None:
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    server = DescriptorServer(str(tmp_path / "wide"), lambda request: (None, []), 0o666)  # type: ignore[arg-type, return-value]
    assert stat.S_IMODE((tmp_path / "wide").stat().st_mode) == 0o666
    server.close()


async def test_other_accounts_are_not_answered(tmp_path: Path) -> None:
    """However wide the socket is open: the kernel says who is there."""
    path = str(tmp_path / "s")
    reply = DescriptorsReply((Segment(-1, 0, 0),))
    for accounts, answered in (({os.geteuid()}, True), ({os.geteuid() + 1}, False)):
        server = DescriptorServer(path, lambda _: (reply, []), 0o666, accounts=frozenset(accounts))
        client = DescriptorClient(path)
        if answered:
            assert (await client.fetch_async([A], 5))[0] == reply
        else:
            with pytest.raises(errors.UnavailableError):
                await client.fetch_async([A], 5)
        client.close()
        server.close()


async def test_close_removes_the_socket(tmp_path: Path) -> None:
    server = serve(str(tmp_path / "s"), DescriptorsReply(()), [])
    server.close()
    server.close()
    assert not (tmp_path / "s").exists()


async def test_segments_of_small_blocks_are_lent_by_their_numbers(
    tmp_path: Path, store: BlockStore
) -> None:
    small = BlockVersion(2, 0, 1, 1)
    data = b"a small block"
    put(store, small, data, None)
    (place,) = store.lent_records([(2, 1, 1, len(data), crc32c(data), (1,))])

    def answer(request: GetDescriptors) -> tuple[DescriptorsReply, list[int]]:
        lent, descriptors = store.lend_segments(request.small)
        return DescriptorsReply((), tuple(lent)), descriptors

    server = DescriptorServer(str(tmp_path / "s.fd"), answer)
    client = DescriptorClient(str(tmp_path / "s.fd"))
    number = place >> OFFSET_BITS
    reply, (descriptor,) = await client.fetch_async((), 5, small=(number + 1, number))
    assert reply.lent == (-1, 0)
    assert copy_blocks({number: map_descriptor(descriptor)}, [place], [len(data)]) == [data]
    with pytest.raises(PermissionError):
        mmap.mmap(descriptor, 0)
    os.close(descriptor)
    client.close()
    server.close()


@pytest.mark.parametrize("lent", [(0, 1), (1,), (-2,)])
async def test_segments_that_were_not_lent_are_refused(
    tmp_path: Path, lent: tuple[int, ...]
) -> None:
    server = serve(str(tmp_path / "s.fd"), DescriptorsReply((), lent), [])
    client = DescriptorClient(str(tmp_path / "s.fd"))
    with pytest.raises(errors.ProtocolError):
        await client.fetch_async((), 5, small=(5,))
    client.close()
    server.close()
