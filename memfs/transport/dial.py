"""Open a connection to a node and introduce ourselves."""

from __future__ import annotations

import asyncio

from memfs import limits
from memfs.errors import ProtocolError, UnavailableError
from memfs.paths import Endpoint
from memfs.protocol import frames
from memfs.protocol.messages import GetChallenge, Hello, Lane, Role, Welcome
from memfs.security.proofs import NONCE_BYTES, Prover, challenge
from memfs.security.tls_failures import explain
from memfs.transport.connection import Connection, Peer
from memfs.transport.environment import Environment


async def dial(
    environment: Environment, where: Endpoint | str, hello: Hello, *, timeout: float
) -> Connection:
    """Connect to an endpoint, or to a unix socket by its path, and exchange the handshake.

    With ``hello`` for the lane of blocks the connection goes on in clear after that.

    Raises UnavailableError when nobody answers within ``timeout`` seconds; ProtocolError when the
    answer is not the protocol; whatever else the node refuses the handshake with.
    """
    connection = Connection(asyncio.get_running_loop())
    connected = False
    secured = environment.tls is not None and not isinstance(where, str)
    try:
        async with asyncio.timeout(timeout):
            await _connect(environment, where, connection, hello.lane)
            connected = True
            if environment.prover is not None and secured:
                hello = await _prove(connection, hello, environment.prover, timeout)
            await _introduce(connection, hello, timeout)
            if hello.lane == Lane.BLOCKS.value:
                connection.leave_tls()
    except TimeoutError as error:
        connection.close("the handshake failed")
        raise UnavailableError(f"{where} did not answer within {timeout:.3g} s") from error
    except BaseException as error:
        hung_up = connection.closed
        connection.close("the handshake failed")
        if not connected and isinstance(error, OSError):
            why = _reason(error, secured)
            raise UnavailableError(f"cannot connect to {where}: {why}") from error
        if hung_up and isinstance(error, UnavailableError):
            doubt = _doubt(environment, where)
            raise UnavailableError(f"{error.message} before it said who it is; {doubt}") from error
        raise
    connection.keep_alive(limits.KEEPALIVE_SECONDS)
    return connection


async def _connect(
    environment: Environment, where: Endpoint | str, connection: Connection, lane: str
) -> None:
    """The caller holds the protocol from the start: it can close what connects during a cancel."""
    network = environment.network
    if lane == Lane.BLOCKS.value:
        assert environment.blocks is not None, "blocks have connections of their own under TLS only"
        network = environment.blocks
    if isinstance(where, str):
        await network.connect_unix(lambda: connection, where)
    else:
        await network.connect(lambda: connection, where)


async def _prove(connection: Connection, hello: Hello, prover: Prover, timeout: float) -> Hello:
    """The handshake with the proof that this connection asks for."""
    request_id = connection.new_request_id()
    answer = await connection.call(GetChallenge(), request_id=request_id, timeout=timeout, epoch=0)
    asked = answer.record
    if len(asked.nonce) != NONCE_BYTES or hello.cluster not in ("", asked.cluster):
        raise ProtocolError(f"a challenge of cluster {asked.cluster!r} was not expected")
    signed = challenge(asked.nonce, asked.cluster, connection.certificate_digest)
    return hello._replace(authentication=prover.prove(signed))


async def _introduce(connection: Connection, hello: Hello, timeout: float) -> None:
    request_id = connection.new_request_id()
    answer = await connection.call(hello, request_id=request_id, timeout=timeout, epoch=0)
    welcome = answer.record
    assert isinstance(welcome, Welcome)
    if not frames.VERSION_MIN <= welcome.version <= frames.VERSION_MAX:
        raise ProtocolError(f"the node chose protocol version {welcome.version}")
    connection.welcome = welcome
    connection.peer = Peer(
        name=welcome.name,
        role=Role.NODE,
        member=welcome.member,
        incarnation=welcome.incarnation,
        lane=hello.lane,
        address=connection.address,
    )


def _doubt(environment: Environment, where: Endpoint | str) -> str:
    """Why a node may hang up before it has said who it is, and what to do."""
    if environment.tls is not None and not isinstance(where, str):
        return environment.tls.doubt(environment.clock.wall_ns() / 1e9)
    return "does it want TLS? set certificates"


def _reason(error: OSError, secured: bool) -> str:
    if secured and isinstance(error, ConnectionResetError):
        return "it hung up; does it speak TLS? unset certificates to speak in clear"
    return explain(error) or error.strerror or str(error) or type(error).__name__
