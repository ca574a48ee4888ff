"""Who has a certificate is who it says, whatever Hello claims."""

from __future__ import annotations

import asyncio

import pytest

from memfs.errors import AccessDeniedError, BusyError, NotPermittedError
from memfs.protocol import messages as m
from memfs.security.certificate_files import client_name
from memfs.security.tls import TlsCredentials, node_credentials
from memfs.testing.in_process import Cluster
from memfs.transport.connection import Connection
from memfs.transport.dial import dial
from memfs.transport.environment import Tls, production_environment
from memfs.types import Identity, Member, NodeUsage
from tests.attack.certificates import Authority
from tests.attack.conftest import SUPERUSER
from tests.attack.test_strangers import hello
from tests.golden.samples import sample


async def meet(cluster: Cluster, tls: Tls, said: m.Hello) -> Connection:
    return await dial(production_environment(tls), cluster.endpoints[0], said, timeout=30)


def user(authority: Authority, name: str) -> TlsCredentials:
    return TlsCredentials(authority.user(name), client_name(name))


async def test_a_user_is_no_node(secure: Cluster, authority: Authority) -> None:
    view = secure.nodes[0].membership.view
    victim = view.members[1]
    for member, incarnation in ((0, 1), (victim.number, victim.incarnation)):
        said = hello(m.Role.NODE, member=member, incarnation=incarnation)
        with pytest.raises(AccessDeniedError, match="mallory is a user, not a node"):
            await meet(secure, user(authority, "mallory"), said)


async def test_what_is_for_nodes_is_refused_to_the_superuser(
    secure: Cluster, authority: Authority
) -> None:
    connection = await meet(secure, user(authority, SUPERUSER), hello())
    asked = 0
    for number, (kind, spec) in enumerate(m.BY_REQUEST.items(), 1):
        if spec.peer:
            request = sample(kind, "request")
            with pytest.raises(NotPermittedError, match="for nodes only"):
                await connection.call(request, request_id=number, timeout=30, epoch=0)
            asked += 1
    assert asked > 10
    assert secure.nodes[0].membership.view.members, "nobody was thrown out"
    connection.close("done")


async def test_nobody_is_somebody_else(secure: Cluster, authority: Authority) -> None:
    for claimed in (SUPERUSER, "alice", "root0"):
        with pytest.raises(AccessDeniedError, match=f"you are mallory.*cannot be {claimed}"):
            await meet(secure, user(authority, "mallory"), hello(user=claimed))


async def test_groups_are_not_the_client_s_to_say(secure: Cluster, authority: Authority) -> None:
    said = hello()._replace(identity=Identity("mallory", ("supergroup", "root")))
    connection = await meet(secure, user(authority, "mallory"), said)
    with pytest.raises(NotPermittedError, match="superuser"):
        await connection.call(m.SetWeight(1, 0), request_id=1, timeout=30, epoch=0)
    with pytest.raises(AccessDeniedError):
        await connection.call(m.MakeDirectory(b"/mine"), request_id=2, timeout=30, epoch=0)
    connection.close("done")


async def test_a_private_file_stays_private(secure: Cluster, authority: Authority) -> None:
    fs = await secure.connect(certificates=str(authority.user(SUPERUSER)))
    await fs.write_bytes("/secret", b"x" * 100)
    await fs.chmod("/secret", 0o600)
    other = await secure.connect(user="mallory", certificates=str(authority.user("mallory")))
    with pytest.raises(AccessDeniedError):
        await other.read_bytes("/secret")
    assert await fs.read_bytes("/secret") == b"x" * 100


async def test_a_proxy_speaks_for_others_but_not_for_the_superuser(
    secure: Cluster, authority: Authority
) -> None:
    gateway = user(authority, "gateway")
    (await meet(secure, gateway, hello(user="alice"))).close("met")
    with pytest.raises(AccessDeniedError, match="not for the superuser"):
        await meet(secure, gateway, hello())


async def test_a_node_of_another_host_is_not_this_one(
    secure: Cluster, authority: Authority
) -> None:
    """Numbers and incarnations stand in every view: they prove nothing."""
    elsewhere = node_credentials(str(authority.node("elsewhere", ("10.9.9.9",))))
    member = secure.nodes[0].membership.view.members[1]
    said = hello(m.Role.NODE, member=member.number, incarnation=member.incarnation)
    with pytest.raises(AccessDeniedError, match=r"for 10\.9\.9\.9, not for 127\.0\.0\.1"):
        await meet(secure, elsewhere, said)


async def test_a_node_joins_under_its_own_address_only(
    secure: Cluster, authority: Authority
) -> None:
    elsewhere = node_credentials(str(authority.node("elsewhere", ("10.9.9.9",))))
    connection = await meet(secure, elsewhere, hello(m.Role.NODE))
    evil = Member(0, "evil", 7, "127.0.0.1", 1)
    with pytest.raises(AccessDeniedError, match=r"not for 127\.0\.0\.1"):
        await connection.call(m.Join(evil), request_id=1, timeout=30, epoch=0)
    assert len(secure.nodes[0].membership.view.members) == 2
    connection.close("done")


async def test_a_heartbeat_needs_a_node(secure: Cluster, authority: Authority) -> None:
    connection = await meet(secure, user(authority, "mallory"), hello(user="mallory"))
    lie = m.Heartbeat(NodeUsage(2, 10**15, 0, 0))
    with pytest.raises(NotPermittedError, match="for nodes only"):
        await connection.call(lie, request_id=1, timeout=30, epoch=0)
    connection.close("done")


async def test_one_user_cannot_take_all_connections(authority: Authority) -> None:
    """Whoever opens more and more is refused; others, and the nodes, come in as before."""
    settings = {"certificates": str(authority.node()), "connections_per_user": 8}
    async with Cluster(
        1, replication=1, memory=64 << 20, socket_directory="", **settings
    ) as cluster:
        mallory, alice = user(authority, "mallory"), user(authority, "alice")
        held = [await meet(cluster, mallory, hello(user="mallory")) for _ in range(8)]
        for _ in range(8):
            with pytest.raises(BusyError, match="mallory has 8 connections"):
                await meet(cluster, mallory, hello(user="mallory"))
        (await meet(cluster, alice, hello(user="alice"))).close("met")
        held.pop().close("done")
        async with asyncio.timeout(30):
            while True:
                try:
                    held.append(await meet(cluster, mallory, hello(user="mallory")))
                    break
                except BusyError:  # the node has not heard of the end yet
                    await asyncio.sleep(0.01)
        for each in held:
            each.close("done")


async def test_the_kernel_says_who_is_at_a_unix_socket(authority: Authority) -> None:
    certificates = str(authority.node())
    async with Cluster(1, replication=1, memory=64 << 20, certificates=certificates) as cluster:
        path = cluster.nodes[0].member.socket
        with pytest.raises(AccessDeniedError, match="is a user, not a node"):
            await dial(production_environment(), path, hello(m.Role.NODE), timeout=30)
        (await dial(production_environment(), path, hello(), timeout=30)).close("met")
        fs = await cluster.connect(certificates=str(authority.user(SUPERUSER)))
        await fs.write_bytes("/a", b"a" * 5_000_000)
        assert await fs.read_bytes("/a") == b"a" * 5_000_000
