"""Keys and tokens in the handshake: forged, replayed, another cluster's, or shown too early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from memfs.client.admin import AdminClient
from memfs.errors import (
    AccessDeniedError,
    ConfigError,
    InvalidTokenError,
    MemfsError,
    NotPermittedError,
)
from memfs.protocol import messages as m
from memfs.security.delegation_tokens import Token
from memfs.security.proofs import KeyProver, Prover, TokenProver
from memfs.security.signing import public_key
from memfs.security.tls import TlsCredentials
from memfs.testing.in_process import Cluster
from memfs.transport import dial as dialling
from memfs.transport.connection import Connection
from memfs.transport.dial import dial
from memfs.transport.environment import production_environment
from memfs.types import Identity
from tests.attack.certificates import Authority
from tests.attack.conftest import SUPERUSER
from tests.attack.test_strangers import hello

ALICE, MALLORY = b"a" * 32, b"m" * 32
WAYS = ("certificate", "key", "token")


@pytest.fixture
async def open_to_keys(authority: Authority) -> AsyncIterator[Cluster]:
    """Four nodes, one without the namespace; alice's key is known."""
    settings = {
        "certificates": str(authority.node()),
        "proxy_users": ("gateway",),
        "authentication": WAYS,
    }
    async with Cluster(4, memory=64 << 20, socket_directory="", **settings) as cluster:
        await admin_of(cluster, authority, ("alice", ALICE))
        yield cluster


async def admin_of(cluster: Cluster, authority: Authority, *keys: tuple[str, bytes]) -> AdminClient:
    fs = await cluster.connect(certificates=str(authority.user(SUPERUSER)))
    admin = AdminClient(fs._session)
    for user, key in keys:
        await admin.add_user_key(user, public_key(key))
    return admin


async def meet(
    cluster: Cluster, authority: Authority, prover: Prover | None, said: m.Hello, node: int = 0
) -> Connection:
    environment = production_environment(TlsCredentials(authority.node()), prover)
    return await dial(environment, cluster.nodes[node].endpoint, said, timeout=30)


class Recorded:
    """A proof that was made elsewhere."""

    def __init__(self, proof: bytes) -> None:
        self._proof = proof

    def prove(self, challenge: bytes) -> bytes:
        return self._proof


class Recording:
    """A prover that somebody listens to."""

    def __init__(self, prover: Prover) -> None:
        self._prover = prover
        self.made: list[bytes] = []

    def prove(self, challenge: bytes) -> bytes:
        self.made.append(self._prover.prove(challenge))
        return self.made[-1]


async def test_a_key_opens_every_node(open_to_keys: Cluster, authority: Authority) -> None:
    for node in range(4):
        said = hello(user="alice")
        (await meet(open_to_keys, authority, KeyProver(ALICE), said, node)).close("met")
        with pytest.raises(AccessDeniedError, match="nobody's here"):
            await meet(open_to_keys, authority, KeyProver(MALLORY), said, node)


async def test_without_a_proof_nothing_is_answered(
    open_to_keys: Cluster, authority: Authority
) -> None:
    for role in (m.Role.CLIENT, m.Role.NODE):
        with pytest.raises(AccessDeniedError, match="wants proof of who you are"):
            await meet(open_to_keys, authority, None, hello(role))


async def test_a_question_before_the_proof_ends_the_connection(
    open_to_keys: Cluster, authority: Authority
) -> None:
    environment = production_environment(TlsCredentials(authority.node()))
    where = open_to_keys.endpoints[0]
    for before in ((), (m.GetChallenge(),), (m.GetChallenge(), m.GetChallenge())):
        connection = await environment.network.connect(
            lambda: Connection(asyncio.get_running_loop()), where
        )
        with pytest.raises(MemfsError):  # the last one of these, or the question
            for number, request in enumerate((*before, m.GetView()), 1):
                await connection.call(request, request_id=number, timeout=30, epoch=0)
        await connection.wait_closed()


async def test_a_proof_is_good_once(open_to_keys: Cluster, authority: Authority) -> None:
    listened = Recording(KeyProver(ALICE))
    (await meet(open_to_keys, authority, listened, hello(user="alice"))).close("met")
    for node in range(4):
        with pytest.raises(AccessDeniedError, match="another connection, node or cluster"):
            replay = Recorded(listened.made[0])
            await meet(open_to_keys, authority, replay, hello(user="alice"), node)


async def test_a_proof_without_a_challenge(open_to_keys: Cluster, authority: Authority) -> None:
    said = hello(user="alice")._replace(authentication=KeyProver(ALICE).prove(b""))
    with pytest.raises(AccessDeniedError, match="without a challenge"):
        await meet(open_to_keys, authority, None, said)


@pytest.mark.parametrize("proof", [b"", b"k", b"x" * 97, b"t" * 33, b"k" + bytes(96), b"t" * 9000])
async def test_forged_proofs(open_to_keys: Cluster, authority: Authority, proof: bytes) -> None:
    with pytest.raises((AccessDeniedError, InvalidTokenError)):
        await meet(open_to_keys, authority, Recorded(proof), hello(user="alice"))


async def test_a_false_cluster_cannot_use_what_it_is_shown(
    open_to_keys: Cluster, authority: Authority, tmp_path: Path
) -> None:
    """A man in the middle hands on the true cluster's challenge; the victim signs what it sees."""
    listened = Recording(KeyProver(ALICE))
    settings = {"certificates": str(authority.node("other")), "authentication": WAYS}
    async with Cluster(1, replication=1, memory=64 << 20, socket_directory="", **settings) as other:
        await admin_of(other, authority, ("alice", ALICE))
        (await meet(other, authority, listened, hello(user="alice"))).close("met")
    with pytest.raises(AccessDeniedError, match="another connection, node or cluster"):
        await meet(open_to_keys, authority, Recorded(listened.made[0]), hello(user="alice"))


async def test_a_key_is_no_node_and_no_superuser(
    open_to_keys: Cluster, authority: Authority
) -> None:
    alice = KeyProver(ALICE)
    with pytest.raises(AccessDeniedError, match=r"wants proof|not a node"):
        await meet(open_to_keys, authority, alice, hello(m.Role.NODE))
    with pytest.raises(AccessDeniedError, match="you are alice"):
        await meet(open_to_keys, authority, alice, hello())
    said = hello()._replace(identity=Identity("alice", ("supergroup",)))
    for node in range(4):
        connection = await meet(open_to_keys, authority, alice, said, node)
        with pytest.raises(NotPermittedError, match="superuser"):
            await connection.call(m.VerifyBlocks(()), request_id=1, timeout=30, epoch=0)
        connection.close("done")


async def test_the_supergroup_of_the_table_counts_on_every_node(
    open_to_keys: Cluster, authority: Authority
) -> None:
    admin = await admin_of(open_to_keys, authority)
    await in_sync_copies(open_to_keys)
    connections = [
        await meet(open_to_keys, authority, KeyProver(ALICE), hello(user="alice"), node)
        for node in range(4)
    ]
    gateway = TlsCredentials(authority.user("gateway"), "client.gateway")
    proxied = [
        await dial(production_environment(gateway), node.endpoint, hello(user="alice"), timeout=30)
        for node in open_to_keys.nodes
    ]
    await admin.change_groups("supergroup", ["alice"])
    for connection in connections:
        await connection.call(m.VerifyBlocks(()), request_id=1, timeout=30, epoch=0)
    for connection in proxied:
        with pytest.raises(NotPermittedError):
            await connection.call(m.VerifyBlocks(()), request_id=1, timeout=30, epoch=0)
    for node in open_to_keys.nodes:
        with pytest.raises(AccessDeniedError, match="not for the superuser"):
            environment = production_environment(gateway)
            await dial(environment, node.endpoint, hello(user="alice"), timeout=30)
    for connection in (*connections, *proxied):
        connection.close("done")


async def in_sync_copies(cluster: Cluster) -> None:
    """Until three nodes hold the namespace, and one does not."""
    while sum(node.role.namespace is not None for node in cluster.nodes) < 3:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def test_a_token_opens_what_its_owner_may(
    open_to_keys: Cluster, authority: Authority
) -> None:
    fs = await open_to_keys.connect(certificates=str(authority.user("bob")), user="bob")
    token = await fs.get_delegation_token("bob")
    url = token.to_url()
    for options in ({"user": "bob"}, {}):
        other = await open_to_keys.connect(token=url, **options)
        assert await other.listdir("/") == []
        with pytest.raises(NotPermittedError, match="makes no other token"):
            await other.get_delegation_token()
        with pytest.raises(NotPermittedError, match="prolongs none"):
            await other.renew_delegation_token(token)
    with pytest.raises(AccessDeniedError, match="you are bob"):
        await open_to_keys.connect(token=url, user="mallory")
    for stolen in (token._replace(password=bytes(32)), Token(token.identifier[:-1], bytes(32))):
        with pytest.raises((AccessDeniedError, InvalidTokenError)):
            await meet(open_to_keys, authority, TokenProver(stolen), hello(user="bob"))
    await fs.cancel_delegation_token(token)
    with pytest.raises(InvalidTokenError, match="cancelled"):
        await open_to_keys.connect(token=url, user="bob")


async def test_a_key_that_was_removed_proves_nobody(
    open_to_keys: Cluster, authority: Authority
) -> None:
    admin = await admin_of(open_to_keys, authority)
    await admin.remove_user_key("alice")
    for node in range(4):
        with pytest.raises(AccessDeniedError, match="nobody's here"):
            await meet(open_to_keys, authority, KeyProver(ALICE), hello(user="alice"), node)


async def test_a_cluster_of_certificates_takes_no_keys(
    secure: Cluster, authority: Authority
) -> None:
    environment = production_environment(
        TlsCredentials(authority.user("alice"), "client.alice"), KeyProver(ALICE)
    )
    with pytest.raises(AccessDeniedError, match=r"takes no key.*bring a certificate"):
        await dial(environment, secure.endpoints[0], hello(user="alice"), timeout=30)


async def test_nothing_is_shown_in_clear(open_to_keys: Cluster, authority: Authority) -> None:
    fs = await open_to_keys.connect(certificates=str(authority.user("bob")), user="bob")
    token = (await fs.get_delegation_token()).to_url()
    with pytest.raises(ConfigError, match="token: needs certificates"):
        await open_to_keys.connect(certificates="", token=token)


async def test_a_certificate_renewed_during_a_handshake_refuses_nobody(
    open_to_keys: Cluster, authority: Authority
) -> None:
    """What is signed is the certificate that this connection showed, not the newest one."""
    environment = production_environment(TlsCredentials(authority.node()))
    for proceed in (False, True):
        node = open_to_keys.nodes[0]
        connection = Connection(asyncio.get_running_loop())
        await environment.network.connect(lambda made=connection: made, node.endpoint)
        if proceed:
            authority.node()
            node.renew_certificates()
        said = await dialling._prove(connection, hello(user="alice"), KeyProver(ALICE), 30)
        await dialling._introduce(connection, said, 30)
        connection.close("met")
