"""What proved a user is withdrawn while their connections stand: these end, on every node."""

from __future__ import annotations

import asyncio
import datetime
import time

from memfs.client.admin import AdminClient
from memfs.errors import AccessDeniedError, MemfsError
from memfs.protocol import messages as m
from memfs.security.proofs import KeyProver, Prover, TokenProver
from memfs.security.tls import TlsCredentials
from memfs.testing.in_process import Cluster
from memfs.transport.connection import Connection
from memfs.transport.dial import dial
from memfs.transport.environment import production_environment
from tests.attack.certificates import Authority
from tests.attack.conftest import SUPERUSER
from tests.attack.test_proofs import (  # noqa: F401  the fixture
    ALICE,
    admin_of,
    in_sync_copies,
    meet,
    open_to_keys,
)
from tests.attack.test_strangers import hello

BOB = b"b" * 32


async def everywhere(
    cluster: Cluster, authority: Authority, user: str, by: Prover
) -> list[Connection]:
    """A connection of a user to each node, which is answered."""
    said = hello(user=user)
    found = [await meet(cluster, authority, by, said, node) for node in range(len(cluster.nodes))]
    for each in found:
        await ask(each)
    return found


async def by_certificate(
    cluster: Cluster, authority: Authority, holder: str, user: str
) -> list[Connection]:
    environment = production_environment(TlsCredentials(authority.user(holder), f"client.{holder}"))
    said = hello(user=user)
    return [await dial(environment, node.endpoint, said, timeout=30) for node in cluster.nodes]


async def ask(connection: Connection) -> None:
    number = connection.new_request_id()
    await connection.call(m.GetView(), request_id=number, timeout=30, epoch=0)


async def ended(connections: list[Connection]) -> None:
    async with asyncio.timeout(60):
        for each in connections:
            await each.wait_closed()


async def standing(connections: list[Connection]) -> None:
    for each in connections:
        await ask(each)


async def test_a_key_that_is_removed(open_to_keys: Cluster, authority: Authority) -> None:  # noqa: F811
    admin = await admin_of(open_to_keys, authority, ("bob", BOB))
    await in_sync_copies(open_to_keys)
    alice = await everywhere(open_to_keys, authority, "alice", KeyProver(ALICE))
    bob = await everywhere(open_to_keys, authority, "bob", KeyProver(BOB))
    await admin.remove_user_key("alice")
    await ended(alice)
    await standing(bob)


async def test_a_key_that_became_another_s(open_to_keys: Cluster, authority: Authority) -> None:  # noqa: F811
    admin = await admin_of(open_to_keys, authority)
    alice = await everywhere(open_to_keys, authority, "alice", KeyProver(ALICE))
    await admin.remove_user_key("alice")
    await admin_of(open_to_keys, authority, ("bob", ALICE))
    await ended(alice)
    await standing(await everywhere(open_to_keys, authority, "bob", KeyProver(ALICE)))


async def test_a_token_that_is_cancelled(open_to_keys: Cluster, authority: Authority) -> None:  # noqa: F811
    fs = await open_to_keys.connect(certificates=str(authority.user("bob")), user="bob")
    cancelled, kept = await fs.get_delegation_token(), await fs.get_delegation_token()
    gone = await everywhere(open_to_keys, authority, "bob", TokenProver(cancelled))
    others = await everywhere(open_to_keys, authority, "bob", TokenProver(kept))
    await fs.cancel_delegation_token(cancelled)
    await ended(gone)
    await standing(others)


async def test_a_token_whose_time_has_come(authority: Authority) -> None:
    settings = {
        "certificates": str(authority.node()),
        "authentication": ("certificate", "token"),
        "token_renew_seconds": 2.0,
    }
    async with Cluster(2, memory=64 << 20, socket_directory="", **settings) as cluster:
        fs = await cluster.connect(certificates=str(authority.user("bob")), user="bob")
        token = await fs.get_delegation_token()
        await ended(await everywhere(cluster, authority, "bob", TokenProver(token)))


async def test_a_certificate_that_expires(secure: Cluster, authority: Authority) -> None:
    begun = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1, seconds=-4)
    directory = authority.user("carol", when=begun, days=1)
    environment = production_environment(TlsCredentials(directory, "client.carol"))
    said = hello(user="carol")
    connections = [
        await dial(environment, each.endpoint, said, timeout=30) for each in secure.nodes
    ]
    await standing(connections)
    await ended(connections)
    assert time.time() > begun.timestamp() + 86_400 - 1


async def test_an_account_of_the_host_that_is_shut_out(authority: Authority) -> None:
    """Who has proved nothing but what the kernel says of a unix socket."""
    settings = {"certificates": str(authority.node()), "superuser": "admin"}
    async with Cluster(1, replication=1, memory=64 << 20, **settings) as cluster:
        fs = await cluster.connect(certificates=str(authority.user("admin")), user="admin")
        local = await dial(
            production_environment(), cluster.nodes[0].member.socket, hello(), timeout=30
        )
        await ask(local)
        admin = AdminClient(fs._session)
        await admin.set_limit("connections", 0, user=SUPERUSER)
        await ended([local])
        await admin.set_limit("connections", 0, user="admin")
        assert await fs.listdir("/") == [], "who set it can take it back"
        await admin.set_limit("connections", None, user="admin")


async def test_a_user_who_is_shut_out(open_to_keys: Cluster, authority: Authority) -> None:  # noqa: F811
    """By certificate, by key, and through a proxy."""
    cluster = open_to_keys
    fs = await cluster.connect(certificates=str(authority.user(SUPERUSER)))
    admin = AdminClient(fs._session)
    mine = [
        *await everywhere(cluster, authority, "alice", KeyProver(ALICE)),
        *await by_certificate(cluster, authority, "alice", "alice"),
        *await by_certificate(cluster, authority, "gateway", "alice"),
    ]
    others = await by_certificate(cluster, authority, "gateway", "bob")
    await admin.set_limit("connections", 0, user="alice")
    await ended(mine)
    await standing(others)
    for holder in ("alice", "gateway"):
        try:
            await by_certificate(cluster, authority, holder, "alice")
        except AccessDeniedError as error:
            assert "shut out" in error.message
        else:
            raise AssertionError("let in again")
    await admin.set_limit("connections", None, user="alice")
    async with asyncio.timeout(30):
        while True:
            try:
                await standing(await by_certificate(cluster, authority, "alice", "alice"))
                break
            except MemfsError:  # the node without the namespace hears of it in seconds
                await asyncio.sleep(0.5)
