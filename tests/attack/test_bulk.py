"""Connections for blocks in clear: who proves nothing gets nothing; nothing else goes there."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from memfs.client.admin import AdminClient
from memfs.client.filesystem import AsyncFileSystem
from memfs.errors import AccessDeniedError, CapabilityError, NotPermittedError, UnavailableError
from memfs.paths import Endpoint
from memfs.protocol import frames
from memfs.protocol import messages as m
from memfs.protocol.records import encode
from memfs.security.certificate_files import client_name
from memfs.security.proofs import KeyProver
from memfs.security.signing import public_key
from memfs.security.tls import TlsCredentials
from memfs.testing.in_process import Cluster
from memfs.transport.connection import Connection
from memfs.transport.dial import dial
from memfs.transport.environment import production_environment
from memfs.types import BlockRef, Identity
from tests.attack.certificates import Authority
from tests.attack.conftest import SUPERUSER, in_sync
from tests.attack.test_strangers import believing, hello, requests

ALICE = b"a" * 32
SECRET = os.urandom(2_000_000)


@contextlib.asynccontextmanager
async def in_clear_after_tls(authority: Authority, *ways: str) -> AsyncIterator[Cluster]:
    """Two nodes whose blocks go in clear; ``ways`` by which users may prove who they are."""
    async with Cluster(
        2,
        memory=64 << 20,
        socket_directory="",
        certificates=str(authority.node()),
        bulk="authenticated",
        authentication=ways,
    ) as cluster:
        async with asyncio.timeout(30):
            await in_sync(cluster)
        yield cluster


@pytest.fixture
async def released(authority: Authority) -> AsyncIterator[Cluster]:
    """They take certificates."""
    async with in_clear_after_tls(authority, "certificate") as cluster:
        yield cluster


@pytest.fixture
async def open_to_keys(authority: Authority) -> AsyncIterator[Cluster]:
    """They take keys, too."""
    async with in_clear_after_tls(authority, "certificate", "key") as cluster:
        yield cluster


async def greeted(cluster: Cluster, directory: Path, said: m.Hello, node: int = 0) -> Connection:
    """By a node at its usual port."""
    stem = client_name(said.identity.user)
    environment = production_environment(TlsCredentials(directory, stem))
    return await dial(environment, cluster.nodes[node].endpoint, said, timeout=30)


async def bulk_endpoint(cluster: Cluster, authority: Authority, node: int = 0) -> Endpoint:
    connection = await greeted(cluster, authority.user(SUPERUSER), hello(), node)
    assert connection.welcome is not None
    connection.close("heard")
    assert connection.welcome.bulk_port
    return Endpoint(cluster.nodes[node].endpoint.host, connection.welcome.bulk_port)


async def in_clear(where: Endpoint, directory: Path, said: m.Hello) -> Connection:
    stem = client_name(said.identity.user)
    environment = production_environment(TlsCredentials(directory, stem))
    return await dial(environment, where, said._replace(lane="blocks"), timeout=30)


async def everything_said(where: Endpoint, sent: bytes, context: ssl.SSLContext | None) -> bytes:
    """All that a node says until it hangs up."""
    name = where.host if context is not None else None
    data = b""
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection(*where, ssl=context, server_hostname=name)
        writer.write(sent)
        while piece := await reader.read(4096):
            data += piece
        writer.close()
    return data


async def test_files_go_there_and_come_back(released: Cluster, authority: Authority) -> None:
    fs = await released.connect(certificates=str(authority.user(SUPERUSER)))
    await fs.write_bytes("/file", SECRET)
    assert await fs.read_bytes("/file") == SECRET
    ways = fs._session.routing._blocks.values()
    assert {(each.peer.lane, each.certificate) for each in ways} == {("blocks", None)}
    await fs.write_bytes("/small", b"small")
    assert await fs.read_bytes("/small") == b"small"


async def test_who_does_not_speak_tls_gets_no_byte_of_the_protocol(
    released: Cluster, authority: Authority
) -> None:
    where = await bulk_endpoint(released, authority)
    for sent in (requests(), b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01" + bytes(600)):
        assert frames.MAGIC not in await everything_said(where, sent, None)
    assert await everything_said(where, requests(), believing()) == b""


async def test_another_authority_gets_no_byte(
    released: Cluster, authority: Authority, tmp_path: Path
) -> None:
    where = await bulk_endpoint(released, authority)
    other = Authority(tmp_path / "other")
    with pytest.raises(UnavailableError, match=r"authority|certificate"):
        await in_clear(where, authority.stranger(SUPERUSER, other), hello())


async def test_nobody_is_somebody_else(released: Cluster, authority: Authority) -> None:
    where = await bulk_endpoint(released, authority)
    environment = production_environment(
        TlsCredentials(authority.user("mallory"), client_name("mallory"))
    )
    for said in (hello(), hello(m.Role.NODE, member=2)):
        with pytest.raises(AccessDeniedError):
            await dial(environment, where, said._replace(lane="blocks"), timeout=30)


async def test_a_false_node_is_not_greeted(
    released: Cluster, authority: Authority, tmp_path: Path
) -> None:
    where = await bulk_endpoint(released, authority)
    with pytest.raises(UnavailableError, match="certificate is not accepted"):
        await in_clear(where, Authority(tmp_path / "other").user(SUPERUSER), hello())


async def test_a_key_is_proved_there_too(open_to_keys: Cluster, authority: Authority) -> None:
    """To a challenge of that connection, which the primary checks while nothing is read."""
    fs = await open_to_keys.connect(certificates=str(authority.user(SUPERUSER)))
    await AdminClient(fs._session).add_user_key("alice", public_key(ALICE))
    ref = await private(fs)
    said = hello(user="alice")._replace(lane="blocks")
    for node in range(2):
        where = await bulk_endpoint(open_to_keys, authority, node)
        credentials = TlsCredentials(authority.node())
        known = production_environment(credentials, KeyProver(ALICE))
        connection = await dial(known, where, said, timeout=30)
        assert connection.certificate is None, "in clear from here on"
        request = m.ReadBlock(*ref.version, 0, ref.length, os.urandom(45))
        with pytest.raises(CapabilityError):
            await connection.call(request, request_id=1, timeout=30, epoch=0)
        connection.close("done")
        for prover in (KeyProver(b"m" * 32), None):
            with pytest.raises(AccessDeniedError):
                await dial(production_environment(credentials, prover), where, said, timeout=30)


async def test_only_blocks_are_served(released: Cluster, authority: Authority) -> None:
    """Whatever is asked, by the superuser himself."""
    where = await bulk_endpoint(released, authority)
    connection = await in_clear(where, authority.user(SUPERUSER), hello())
    asked = (
        m.GetView(),
        m.GetStatus(),
        m.GetBlocks(b"/"),
        m.ReadMany((b"/file",), 1),
        m.Goodbye(),
    )
    for number, request in enumerate(asked, 1):
        with pytest.raises(NotPermittedError, match="not for a connection in clear"):
            await connection.call(request, request_id=number, timeout=30, epoch=0)
    await connection.call(m.Ping(), request_id=99, timeout=30, epoch=0)
    connection.close("done")


async def test_blocks_want_their_capability_all_the_same(
    released: Cluster, authority: Authority
) -> None:
    fs = await released.connect(certificates=str(authority.user(SUPERUSER)))
    ref = await private(fs)
    for node in range(2):
        where = await bulk_endpoint(released, authority, node)
        connection = await in_clear(where, authority.user("mallory"), hello(user="mallory"))
        request = m.ReadBlock(*ref.version, 0, ref.length, os.urandom(45))
        with pytest.raises(CapabilityError):
            await connection.call(request, request_id=1, timeout=30, epoch=0)
        connection.close("done")


async def private(fs: AsyncFileSystem) -> BlockRef:
    await fs.write_bytes("/secret", SECRET)
    await fs.chmod("/secret", 0o600)
    return (await fs._session.ask(m.GetBlocks(b"/secret"))).blocks[0]


async def test_what_comes_before_the_answer_ends_the_connection(
    released: Cluster, authority: Authority
) -> None:
    """So that nothing sent under TLS is taken for what is in clear, or the other way round."""
    where = await bulk_endpoint(released, authority)
    directory = authority.user(SUPERUSER)
    context = TlsCredentials(directory, client_name(SUPERUSER)).client
    reader, writer = await asyncio.open_connection(*where, ssl=context, server_hostname=where.host)
    said = m.Hello(1, frames.VERSION_MAX, "", 0, 1, Identity(SUPERUSER), "blocks")
    writer.write(frames.pack_frame(frames.REQUEST, 1, 1, 0, 0, encode(said)))
    for number in range(2, 4):  # records of their own
        writer.write(frames.pack_frame(frames.REQUEST, 2, number, 0, 0, encode(m.Ping())))
    with contextlib.suppress(OSError):
        async with asyncio.timeout(30):
            while await reader.read(4096):
                pass
    writer.close()
