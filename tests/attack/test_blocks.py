"""Blocks are had by those to whom the primary gave them: guesses, forgeries and replays get none.

The attacker speaks the protocol by himself, on connections of his own; here under another name
than the owner of a file, which certificates prove in ``secure`` and his word does in ``plain``.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest

from memfs.checksum import crc32c
from memfs.client.filesystem import AsyncFileSystem
from memfs.errors import AccessDeniedError, CapabilityError, MemfsError, StaleHandleError
from memfs.paths import Endpoint
from memfs.protocol import frames
from memfs.protocol import messages as m
from memfs.protocol.messages import BY_REQUEST
from memfs.protocol.records import encode
from memfs.security.certificate_files import client_name
from memfs.security.tls import TlsCredentials
from memfs.testing.in_process import Cluster
from memfs.transport.connection import Connection
from memfs.transport.descriptors import DescriptorClient
from memfs.transport.dial import dial
from memfs.transport.environment import Tls, production_environment
from memfs.types import BlockRef
from tests.attack.certificates import Authority
from tests.attack.conftest import SUPERUSER, in_sync
from tests.attack.test_strangers import hello

SECRET = os.urandom(2_000_000)
SMALL = b"small and secret"


@pytest.fixture
async def plain() -> AsyncIterator[Cluster]:
    """Two nodes on a trusted network, with unix sockets."""
    async with Cluster(2, memory=128 << 20) as cluster:
        async with asyncio.timeout(30):
            await in_sync(cluster)
        yield cluster


class Line:
    """A connection of somebody who makes his requests by hand."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._asked = 0

    async def ask(self, request: Any, payload: Sequence[bytes] = ()) -> Any:
        """The reply record, with the payload where there is one."""
        self._asked += 1
        answer = await self._connection.call(
            request, payload, request_id=self._asked, timeout=30, epoch=0
        )
        return answer.record, bytes(answer.payload)

    async def close(self) -> None:
        self._connection.close("done")
        await self._connection.wait_closed()


async def line(where: Endpoint | str, user: str, tls: Tls | None = None, client: int = 66) -> Line:
    said = hello(user=user, client=client)
    return Line(await dial(production_environment(tls), where, said, timeout=30))


async def owned(fs: AsyncFileSystem) -> list[BlockRef]:
    """Private files of the superuser, and where their blocks are."""
    await fs.write_bytes("/secret", SECRET)
    await fs.write_bytes("/small", SMALL)
    refs = []
    for name in ("/secret", "/small"):
        await fs.chmod(name, 0o600)
        refs += (await fs._session.ask(m.GetBlocks(name.encode()))).blocks
    return refs


def member(cluster: Cluster, ref: BlockRef) -> int:
    """The index of a node that holds a block."""
    numbers = [node.member.number for node in cluster.nodes]
    return numbers.index(ref.replicas[0])


def reading(ref: BlockRef, capability: bytes = b"") -> m.ReadBlock:
    return m.ReadBlock(*ref.version, 0, ref.length, capability)


def every_read(ref: BlockRef, capability: bytes) -> Iterator[Any]:
    """All requests that bring out the bytes of a block."""
    shown = (capability,) if capability else ()
    span = m.BlockRange(*ref.version, 0, ref.length)
    yield reading(ref, capability)
    yield m.ReadBlocks((span,), shown)
    mine = m.WriteBlock(
        1 << 40, 0, 1, 1, ref.length, 0, (ref.replicas[0],), 4 << 20, 16, capability=capability
    )
    yield m.CopyRange(span, mine, capability)


async def refused(mallory: Line, ref: BlockRef, *capabilities: bytes) -> None:
    """Nothing of ``ref`` comes out, whatever of ``capabilities`` is shown."""
    for capability in (b"", os.urandom(45), *capabilities):
        for request in every_read(ref, capability):
            with pytest.raises(CapabilityError):
                await mallory.ask(request)


# --- reading ----------------------------------------------------------------------------------


async def test_guessed_blocks_are_not_read(secure: Cluster, authority: Authority) -> None:
    fs = await secure.connect(certificates=str(authority.user(SUPERUSER)))
    refs = await owned(fs)
    tls = TlsCredentials(authority.user("mallory"), client_name("mallory"))
    for ref in refs:
        mallory = await line(secure.endpoints[member(secure, ref)], "mallory", tls)
        await refused(mallory, ref)
        for inode in range(1, 200):
            with pytest.raises(CapabilityError):
                await mallory.ask(m.ReadBlock(inode, 0, 1, 1, 0, 100))
        await mallory.close()
    assert await fs.read_bytes("/secret") == SECRET


async def test_nor_through_the_sockets_of_the_host(plain: Cluster) -> None:
    fs = await plain.connect()
    for ref in await owned(fs):
        node = plain.nodes[member(plain, ref)]
        mallory = await line(node.member.socket, "mallory")
        await refused(mallory, ref)
        await mallory.close()
        for user in ("mallory", SUPERUSER):
            descriptors = DescriptorClient(node.member.socket + ".fd", 66, user)
            for shown in ((), (b"guess",), (os.urandom(45),)):
                with pytest.raises(CapabilityError):
                    await descriptors.fetch_async((ref.version,), 10.0, shown)
            descriptors.close()


async def test_what_was_given_to_another_is_of_no_use(
    secure: Cluster, authority: Authority
) -> None:
    """A capability that somebody stole: on his connection, on another one under its owner's id."""
    fs = await secure.connect(certificates=str(authority.user(SUPERUSER)))
    refs = await owned(fs)
    stolen = [fs._session.capabilities._read[ref.inode] for ref in refs]
    tls = TlsCredentials(authority.user("mallory"), client_name("mallory"))
    for ref, capability in zip(refs, stolen, strict=True):
        where = secure.endpoints[member(secure, ref)]
        for client in (66, fs._session.client):
            mallory = await line(where, "mallory", tls, client)
            await refused(mallory, ref, capability)
            await mallory.close()
        own = TlsCredentials(authority.user(SUPERUSER), client_name(SUPERUSER))
        another = await line(where, SUPERUSER, own, 77)
        await refused(another, ref, capability)
        await another.close()
        again = await line(where, SUPERUSER, own, fs._session.client)
        assert (await again.ask(reading(ref, capability)))[1] in (SECRET, SMALL), (
            "or it says nothing"
        )
        await again.close()


async def test_descriptors_are_lent_to_nobody_else(plain: Cluster) -> None:
    fs = await plain.connect()
    refs = await owned(fs)
    ref = refs[0]
    socket = plain.nodes[member(plain, ref)].member.socket + ".fd"
    shown = (fs._session.capabilities._read[ref.inode],)
    for client, user in ((66, SUPERUSER), (fs._session.client, "mallory"), (0, "")):
        descriptors = DescriptorClient(socket, client, user)
        with pytest.raises(CapabilityError):
            await descriptors.fetch_async((ref.version,), 10.0, shown)
        descriptors.close()
    own = DescriptorClient(socket, fs._session.client, SUPERUSER)
    other = refs[1].version
    reply, numbers = await own.fetch_async((ref.version, other), 10.0, shown)
    assert [segment.descriptor for segment in reply.segments] == [0, -1]
    assert os.pread(numbers[0], len(SECRET), reply.segments[0].offset) == SECRET
    for number in numbers:
        os.close(number)
    own.close()


_OTHER_ACCOUNT = """
import socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
    line.connect(sys.argv[1])
    try:
        line.send(bytes.fromhex(sys.argv[2]))
        data, descriptors, _, _ = socket.recv_fds(line, 65536, 16)
    except OSError:
        data, descriptors = b"", []
print(len(data), len(descriptors))
"""
STRANGER = 65_534


async def test_a_stolen_capability_is_of_no_use_to_another_account(authority: Authority) -> None:
    """The bytes are genuine, and the sockets were opened to everybody by mistake."""
    with tempfile.TemporaryDirectory() as top:
        os.chmod(top, 0o755)
        settings = {"certificates": str(authority.node()), "socket_directory": f"{top}/sockets"}
        async with Cluster(1, replication=1, memory=128 << 20, **settings) as cluster:
            fs = await cluster.connect(certificates=str(authority.user(SUPERUSER)))
            ref = (await owned(fs))[0]
            stolen = (fs._session.capabilities._read[ref.inode],)
            request = m.GetDescriptors((ref.version,), stolen, fs._session.client, SUPERUSER)
            opcode = BY_REQUEST[m.GetDescriptors].opcode
            frame = frames.pack_frame(frames.REQUEST, opcode, 1, 0, 0, encode(request))
            socket = cluster.nodes[0].member.socket + ".fd"
            os.chmod(f"{top}/sockets", 0o755)
            os.chmod(socket, 0o666)
            accounts = [(os.geteuid(), 1)]
            if os.geteuid() == 0:  # only root can be somebody else
                accounts.append((STRANGER, 0))
            for account, expected in accounts:
                command = [
                    "/usr/bin/env",
                    "python3",
                    "-I",
                    "-c",
                    _OTHER_ACCOUNT,
                    socket,
                    frame.hex(),
                ]
                process = await asyncio.create_subprocess_exec(
                    *command, stdout=subprocess.PIPE, user=account
                )
                said, _ = await process.communicate()
                length, descriptors = map(int, said.split())
                assert (descriptors, bool(length)) == (expected, bool(expected)), account


async def test_who_may_read_one_file_may_not_read_another(plain: Cluster) -> None:
    """His own capability is genuine, and for something else."""
    fs = await plain.connect()
    refs = await owned(fs)
    await fs.write_bytes("/public", b"p" * 100)
    theirs = await plain.connect(user="mallory")
    assert await theirs.read_bytes("/public") == b"p" * 100
    reply = await theirs._session.ask(m.GetBlocks(b"/public"))
    for ref in refs:
        where = plain.endpoints[member(plain, ref)]
        mallory = await line(where, "mallory", client=theirs._session.client)
        await refused(mallory, ref, reply.capability)
        await mallory.close()


async def test_who_may_not_read_any_more_has_the_blocks_for_a_while_only() -> None:
    async with Cluster(1, replication=1, memory=64 << 20, capability_seconds=1) as cluster:
        fs = await cluster.connect()
        await fs.write_bytes("/a", SECRET)
        theirs = await cluster.connect(user="mallory", local_descriptors=False)
        reply = await theirs._session.ask(m.GetBlocks(b"/a"))
        (ref,) = reply.blocks
        mallory = await line(cluster.endpoints[0], "mallory", client=theirs._session.client)
        assert (await mallory.ask(reading(ref, reply.capability)))[1] == SECRET
        await fs.chmod("/a", 0o600)
        async with asyncio.timeout(30):
            with pytest.raises(CapabilityError, match="expired"):
                while True:
                    await mallory.ask(reading(ref, reply.capability))
                    await asyncio.sleep(0.05)
        with pytest.raises(AccessDeniedError):
            await theirs.read_bytes("/a")
        assert await fs.read_bytes("/a") == SECRET, "its owner's client asks anew"
        await mallory.close()


# --- writing ----------------------------------------------------------------------------------


def forged(ref: BlockRef, generation: int, capability: bytes = b"") -> m.WriteBlock:
    return m.WriteBlock(
        *(ref.inode, 0, generation, 1, 4, crc32c(b"evil"), (ref.replicas[0],), 4 << 20, 16),
        capability=capability,
    )


async def test_nobody_stores_under_a_generation_that_was_not_given_out(
    secure: Cluster, authority: Authority
) -> None:
    fs = await secure.connect(certificates=str(authority.user(SUPERUSER)))
    refs = await owned(fs)
    tls = TlsCredentials(authority.user("mallory"), client_name("mallory"))
    for ref in refs:
        mallory = await line(secure.endpoints[member(secure, ref)], "mallory", tls)
        for generation in (0, 1, ref.generation, ref.generation + 1, 2**31, 2**32, 2**62):
            small = m.SmallBlock(*forged(ref, generation)[:6])
            for request in (
                forged(ref, generation),
                forged(ref, generation, os.urandom(45)),
                m.WriteBlocks((small,), (ref.replicas[0],)),
                m.WriteBlocks((small,), (ref.replicas[0],), (os.urandom(45),)),
            ):
                with pytest.raises(CapabilityError):
                    await mallory.ask(request, (b"evil",))
        await mallory.close()
    async with fs.open("/secret", "r+b") as file:
        await file.seek(5)
        await file.write(b"changed")
    assert (await fs.read_bytes("/secret"))[:12] == SECRET[:5] + b"changed"


async def test_a_reader_s_capability_does_not_write_nor_one_of_another_lease(
    plain: Cluster,
) -> None:
    fs = await plain.connect()
    await owned(fs)
    reply = await fs._session.ask(m.GetBlocks(b"/secret"))
    (ref,) = reply.blocks
    mine = await line(plain.endpoints[member(plain, ref)], SUPERUSER, client=fs._session.client)
    async with fs.open("/secret", "r+b") as file:
        leased = fs._session.capabilities._write[ref.inode]
        generation = file._handle.file.attributes.generation
        with pytest.raises(CapabilityError, match="for writing"):
            await mine.ask(forged(ref, generation, reply.capability), (b"evil",))
        for other in (generation - 1, generation + 1, 2**62):
            with pytest.raises(CapabilityError, match="for writing"):
                await mine.ask(forged(ref, other, leased), (b"evil",))
        await mine.ask(forged(ref, generation, leased), (b"evil",))
    await mine.close()


async def test_reserved_inodes_are_their_client_s(plain: Cluster) -> None:
    fs = await plain.connect(user="alice")
    reserved = await fs._session.ask(m.ReserveInodes(4))
    chain = (plain.nodes[0].member.number,)
    mallory = await line(plain.endpoints[0], "mallory")
    mine = await line(plain.endpoints[0], "alice", client=fs._session.client)
    block = m.SmallBlock(reserved.inodes[0], 0, 1, 1, 4, crc32c(b"evil"))
    request = m.WriteBlocks((block,), chain, (reserved.capability,))
    with pytest.raises(CapabilityError):
        await mallory.ask(request, (b"evil",))
    with pytest.raises(MemfsError):
        await mallory.ask(m.Authorize(reserved.inodes))
    beyond = block._replace(inode=max(reserved.inodes) + 1)
    with pytest.raises(CapabilityError):
        await mine.ask(
            m.WriteBlocks((block, beyond), chain, (reserved.capability,)), (b"evil" * 2,)
        )
    await mine.ask(request, (b"evil",))
    for each in (mallory, mine):
        await each.close()


async def test_keys_are_for_nodes(secure: Cluster, authority: Authority) -> None:
    tls = TlsCredentials(authority.user(SUPERUSER), client_name(SUPERUSER))
    superuser = await line(secure.endpoints[0], SUPERUSER, tls)
    with pytest.raises(PermissionError, match="for nodes only"):
        await superuser.ask(m.GetCapabilityKeys())
    await superuser.close()


# --- handles ----------------------------------------------------------------------------------


async def test_a_number_is_no_way_around_the_directories_above(plain: Cluster) -> None:
    """``base`` names what its caller could walk to, or has open."""
    fs = await plain.connect()
    await fs.mkdir("/home")
    await fs.write_bytes("/home/open-to-all", b"x" * 300_000)
    await fs.mkdir("/home/inner")
    await fs.chmod("/home/open-to-all", 0o644)
    await fs.chmod("/home", 0o700)
    session = fs._session
    home, inner, file = [
        (await session.ask(m.Lookup(path))).attributes.inode
        for path in (b"/home", b"/home/inner", b"/home/open-to-all")
    ]
    mallory = await line(plain.endpoints[0], "mallory")
    for request in (
        m.List(b"", base=home),
        m.List(b"", base=inner),
        m.Lookup(b"open-to-all", base=home),
        m.Lookup(b"", base=file),
        m.Lookup(b"..", base=inner),
        m.GetBlocks(b"open-to-all", base=home),
        m.GetBlocks(b"", base=file),
        m.OpenFile(b"", base=file),
        m.GetXattrs(b"", base=file),
        m.Access(b"", 4, base=file),
        m.AcquireLease(b"", base=file),
        m.Create(b"new", base=inner),
    ):
        with pytest.raises(AccessDeniedError):
            await mallory.ask(request)
    await mallory.close()


async def test_a_file_without_a_name_is_its_writer_s(plain: Cluster) -> None:
    fs = await plain.connect()
    draft = await fs._session.ask(m.CreateDraft(b"/draft"))
    inode = draft.attributes.inode
    mallory = await line(plain.endpoints[0], "mallory")
    for request in (m.GetBlocks(b"", base=inode), m.Lookup(b"", base=inode)):
        with pytest.raises((AccessDeniedError, StaleHandleError)):
            await mallory.ask(request)
    await mallory.close()


async def test_a_repeated_request_gives_no_lease_that_is_over(plain: Cluster) -> None:
    """Its recorded answer is told again, without what lets blocks be written."""
    mallory = await line(plain.endpoints[0], "mallory")
    first = m.Create(b"/mine")
    fs = await plain.connect()
    await fs.chmod("/", 0o777)
    request_id = 1000
    opening = await mallory._connection.call(first, request_id=request_id, timeout=30, epoch=0)
    attributes = opening.record.attributes
    assert opening.record.capability
    await mallory.ask(m.ReleaseLease(attributes.inode, attributes.generation))
    again = await mallory._connection.call(first, request_id=request_id, timeout=30, epoch=0)
    assert again.record.attributes == attributes and not again.record.capability
    await mallory.close()
