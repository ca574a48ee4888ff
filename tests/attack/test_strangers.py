"""Who proves nothing gets no byte: strangers, the expired, those of another authority."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path

import pytest

from memfs.errors import MemfsError, UnavailableError
from memfs.protocol import frames
from memfs.protocol.messages import BY_REQUEST, GetView, Hello, Role
from memfs.protocol.records import encode
from memfs.security.certificate_files import client_name
from memfs.security.tls import TlsCredentials, node_credentials
from memfs.testing.in_process import Cluster
from memfs.transport.dial import dial
from memfs.transport.environment import Tls, production_environment
from memfs.types import Identity
from tests.attack.certificates import NOW, PAST, Authority
from tests.attack.conftest import SUPERUSER


def hello(role: Role = Role.CLIENT, user: str = SUPERUSER, **claims: object) -> Hello:
    """What an attacker says."""
    least, most = frames.VERSION_MIN, frames.VERSION_MAX
    return Hello(least, most, "", role, 1, Identity(user))._replace(**claims)


def requests() -> bytes:
    """A handshake and a question, as bytes."""
    sent = b""
    for number, request in enumerate((hello(Role.NODE), GetView()), 1):
        opcode = BY_REQUEST[type(request)].opcode
        sent += frames.pack_frame(frames.REQUEST, opcode, number, 0, 0, encode(request))
    return sent


async def received(cluster: Cluster, context: ssl.SSLContext | None) -> bytes:
    """All that a node says to somebody who sends requests, until it hangs up."""
    host, port = cluster.endpoints[0]
    name = host if context is not None else None
    reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=name)
    data = b""
    with contextlib.suppress(OSError):
        writer.write(requests())
        while piece := await reader.read(4096):
            data += piece
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return data


def believing() -> ssl.SSLContext:
    """A context that believes anybody and has no certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def test_no_certificate_no_byte(secure: Cluster) -> None:
    assert await received(secure, believing()) == b""


async def test_a_former_version_of_tls_is_not_spoken(secure: Cluster, authority: Authority) -> None:
    context = believing()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    directory = authority.user(SUPERUSER)
    stem = directory / client_name(SUPERUSER)
    context.load_cert_chain(f"{stem}.crt", f"{stem}.key")
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        await received(secure, context)


async def test_an_expired_certificate_gets_no_byte(secure: Cluster, authority: Authority) -> None:
    expired = authority.user(SUPERUSER, when=PAST, days=2)
    context = believing()
    stem = expired / client_name(SUPERUSER)
    context.load_cert_chain(f"{stem}.crt", f"{stem}.key")
    assert await received(secure, context) == b""


async def test_another_authority_gets_no_byte(
    secure: Cluster, authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path / "other")
    for stem in (other.user(SUPERUSER) / client_name(SUPERUSER), other.node() / "node"):
        context = believing()
        context.load_cert_chain(f"{stem}.crt", f"{stem}.key")
        assert await received(secure, context) == b""


async def test_the_right_one_is_answered(secure: Cluster, authority: Authority) -> None:
    """Or the tests above would say nothing."""
    context = node_credentials(str(authority.node("more"))).client
    assert await _first_bytes(secure, context) == frames.MAGIC


async def _first_bytes(cluster: Cluster, context: ssl.SSLContext) -> bytes:
    host, port = cluster.endpoints[0]
    reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
    writer.write(requests())
    found = await reader.readexactly(len(frames.MAGIC))
    writer.close()
    await writer.wait_closed()
    return found


async def test_a_client_in_clear_is_told_so_at_once(secure: Cluster) -> None:
    with pytest.raises(MemfsError, match=r"want TLS\? set certificates|wrong magic"):
        await dial(production_environment(), secure.endpoints[0], hello(), timeout=30)


async def test_a_client_that_wants_tls_does_not_speak_in_clear(authority: Authority) -> None:
    async with Cluster(1, replication=1, memory=64 << 20, socket_directory="") as plain:
        credentials = TlsCredentials(authority.user(SUPERUSER), client_name(SUPERUSER))
        with pytest.raises(UnavailableError, match="TLS"):
            await _dialled(plain, credentials)


async def test_a_node_under_another_name_is_not_believed(authority: Authority) -> None:
    """Its certificate is good, for another host: somebody took it there."""
    elsewhere = str(authority.node(hosts=("127.0.0.1", "10.1.2.3")))
    async with Cluster(
        1, replication=1, memory=64 << 20, socket_directory="", certificates=elsewhere
    ) as cluster:
        credentials = TlsCredentials(authority.user(SUPERUSER), client_name(SUPERUSER))
        moved = cluster.endpoints[0]._replace(host="localhost")
        with pytest.raises(UnavailableError, match="not accepted: Hostname mismatch"):
            await dial(production_environment(credentials), moved, hello(), timeout=30)


async def test_a_user_cannot_pretend_to_be_a_node_to_others(authority: Authority) -> None:
    """A server with a user's certificate."""
    user = TlsCredentials(authority.user("mallory"), client_name("mallory"))
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=user.server)
    port = server.sockets[0].getsockname()[1]
    victim = node_credentials(str(authority.node())).client
    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncio.open_connection("127.0.0.1", port, ssl=victim, server_hostname="127.0.0.1")
    server.close()
    await server.wait_closed()


async def test_a_new_certificate_counts_without_a_restart(
    secure: Cluster, authority: Authority
) -> None:
    """The node's files are replaced; connections made after that see the new one."""
    from memfs.security.authority import make_node
    from tests.attack.certificates import HOSTS, write

    credentials = TlsCredentials(authority.user(SUPERUSER), client_name(SUPERUSER))
    before = await _serial(secure, credentials)
    write(authority.node(), "node", make_node(authority.pair, HOSTS, 60, NOW))
    for node in secure.nodes:
        node.renew_certificates()
    assert await _serial(secure, credentials) != before


async def _serial(cluster: Cluster, tls: Tls) -> str:
    connection = await dial(production_environment(tls), cluster.endpoints[0], hello(), timeout=30)
    certificate = connection.certificate
    connection.close("seen")
    await connection.wait_closed()
    assert certificate is not None
    return str(certificate["serialNumber"])


async def _dialled(cluster: Cluster, tls: Tls) -> None:
    connection = await dial(production_environment(tls), cluster.endpoints[0], hello(), timeout=30)
    connection.close("unexpected")
