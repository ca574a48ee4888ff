"""Open a connection to a node and introduce ourselves."""

from __future__ import annotations

import asyncio

from memfs import limits
from memfs.errors import ProtocolError, UnavailableError
from memfs.paths import Endpoint
from memfs.protocol import frames
from memfs.protocol.messages import Hello, Role, Welcome
from memfs.transport.connection import Connection, Peer
from memfs.transport.environment import Environment


async def dial(
    environment: Environment, where: Endpoint | str, hello: Hello, *, timeout: float
) -> Connection:
    """Connect to an endpoint, or to a unix socket by its path, and exchange the handshake.

    Raises UnavailableError when nobody answers within ``timeout`` seconds; ProtocolError when the
    answer is not the protocol; whatever else the node refuses the handshake with.
    """
    connection: Connection | None = None
    try:
        async with asyncio.timeout(timeout):
            connection = await _connect(environment, where)
            await _introduce(connection, hello, timeout)
    except TimeoutError as error:
        _drop(connection)
        raise UnavailableError(f"{where} did not answer within {timeout:.3g} s") from error
    except BaseException as error:
        _drop(connection)
        if connection is None and isinstance(error, OSError):
            raise UnavailableError(f"cannot connect to {where}: {_reason(error)}") from error
        raise
    connection.keep_alive(limits.KEEPALIVE_SECONDS)
    return connection


async def _connect(environment: Environment, where: Endpoint | str) -> Connection:
    loop = asyncio.get_running_loop()
    network = environment.network
    if isinstance(where, str):
        return await network.connect_unix(lambda: Connection(loop), where)
    return await network.connect(lambda: Connection(loop), where)


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


def _drop(connection: Connection | None) -> None:
    if connection is not None:
        connection.close("the handshake failed")


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
