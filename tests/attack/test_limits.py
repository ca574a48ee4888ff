"""Limits that the superuser sets hold on every node, and leave others in peace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from memfs.client.admin import AdminClient
from memfs.errors import BusyError, NotPermittedError
from memfs.protocol import messages as m
from memfs.security.certificate_files import client_name
from memfs.security.tls import TlsCredentials
from memfs.testing.in_process import Cluster
from memfs.transport.connection import Connection
from memfs.transport.dial import dial
from memfs.transport.environment import production_environment
from tests.attack.certificates import Authority
from tests.attack.conftest import SUPERUSER
from tests.attack.test_proofs import in_sync_copies
from tests.attack.test_strangers import hello


@pytest.fixture
async def four(authority: Authority) -> AsyncIterator[Cluster]:
    """Of which one holds no namespace."""
    settings = {"certificates": str(authority.node())}
    async with Cluster(4, memory=64 << 20, socket_directory="", **settings) as cluster:
        await in_sync_copies(cluster)
        yield cluster


async def admin_of(cluster: Cluster, authority: Authority) -> AdminClient:
    fs = await cluster.connect(certificates=str(authority.user(SUPERUSER)))
    return AdminClient(fs._session)


async def mallory(cluster: Cluster, authority: Authority, node: int) -> Connection:
    credentials = TlsCredentials(authority.user("mallory"), client_name("mallory"))
    environment = production_environment(credentials)
    where = cluster.nodes[node].endpoint
    return await dial(environment, where, hello(user="mallory"), timeout=30)


async def test_connections_of_a_user(four: Cluster, authority: Authority) -> None:
    admin = await admin_of(four, authority)
    await admin.set_limit("connections", 2, "mallory")
    for node in range(4):
        held: list[Connection] = []
        async with asyncio.timeout(30):
            while True:  # a node without the namespace is told a moment later
                try:
                    held.append(await mallory(four, authority, node))
                except BusyError as error:
                    assert "mallory has" in error.message
                    break
                if len(held) > 2:
                    held.pop(0).close("once more")
                    await asyncio.sleep(0.1)
        shares = {
            share.name: share for share in await admin.shares(four.nodes[node].member.number, 3)
        }
        (found,) = [who for who in shares["connections"].heaviest if who.who == "mallory"]
        assert (found.used, found.limit) == (2, 2)
        for each in held:
            each.close("done")


async def test_requests_in_a_second(four: Cluster, authority: Authority) -> None:
    admin = await admin_of(four, authority)
    await admin.set_limit("requests_per_second", 20)
    connections = [await mallory(four, authority, node) for node in range(4)]
    for connection in connections:
        async with asyncio.timeout(30):
            refused = False
            for number in range(1, 10**6):
                try:
                    await connection.call(m.GetView(), request_id=number, timeout=30, epoch=0)
                except BusyError as error:
                    assert "more than 20 requests a second" in error.message
                    refused = True
                    break
        assert refused
        connection.close("done")
    for _ in range(50):
        await admin.status()  # the superuser gets in, and takes it back
    await admin.set_limit("requests_per_second", None)


async def test_only_the_superuser_sees_and_sets_them(four: Cluster, authority: Authority) -> None:
    for node in range(4):
        connection = await mallory(four, authority, node)
        with pytest.raises(NotPermittedError):
            await connection.call(m.GetShares(), request_id=1, timeout=30, epoch=0)
        connection.close("done")
    fs = await four.connect(certificates=str(authority.user("mallory")), user="mallory")
    with pytest.raises(NotPermittedError):
        await AdminClient(fs._session).set_limit("connections", 10**4, "mallory")


async def test_files_of_a_user(four: Cluster, authority: Authority) -> None:
    admin = await admin_of(four, authority)
    fs = await four.connect(certificates=str(authority.user(SUPERUSER)))
    await fs.mkdir("/open")
    await fs.chmod("/open", 0o777)
    await admin.set_limit("inodes", 3)
    other = await four.connect(certificates=str(authority.user("mallory")), user="mallory")
    for number in range(3):
        await other.write_bytes(f"/open/{number}", bytes(200_000))
    with pytest.raises(OSError, match="limit inodes"):
        await other.write_bytes("/open/more", b"x")
    with pytest.raises(OSError, match="limit inodes"):
        await other.write_bytes("/open/more", bytes(9_000_000))
    await fs.write_bytes("/open/root", b"x")
