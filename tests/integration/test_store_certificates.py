"""A store whose certificate is refused: said once, with what to do about it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from memfs.errors import MemfsError, StoreDeniedError, StoreUnreachableError
from memfs.security.authority import Pair, make_authority, make_node
from memfs.stores.body_receiver import BodyReceiver
from memfs.stores.http_client import HttpClient, tls_context

NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(days=100)
ADVICE = "-o ca_file=FILE"


async def by_client(address: str, trust: str) -> None:
    client = HttpClient(trust=trust)
    try:
        await client.request("GET", address)
    finally:
        await client.close()


async def by_receiver(address: str, trust: str) -> None:
    receiver = BodyReceiver(address, tls_context(trust, True))
    await receiver.get("/", {"host": "x"}, memoryview(bytearray(1)), lambda _: None, lambda _: None)


Ask = Callable[[str, str], Awaitable[None]]
both_ways = pytest.mark.parametrize("ask", [by_client, by_receiver])


async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


@contextlib.asynccontextmanager
async def served(directory: Path, shown: Pair | None) -> AsyncIterator[str]:
    tls = None
    if shown is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        (directory / "crt").write_bytes(shown.certificate)
        (directory / "key").write_bytes(shown.key)
        tls.load_cert_chain(directory / "crt", directory / "key")
    server = await asyncio.start_server(nothing, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@both_ways
@pytest.mark.parametrize(
    ("hosts", "begun", "trusted", "reason", "advised"),
    [
        (["127.0.0.1"], NOW, False, "issuer certificate", True),
        (["other.example"], NOW, True, "certificate is not valid for '127.0.0.1'", False),
        (["127.0.0.1"], LONG_AGO, True, "has expired", False),
    ],
    ids=["of nobody known", "of another host", "expired"],
)
async def test_a_refused_certificate(
    tmp_path: Path,
    ask: Ask,
    hosts: list[str],
    begun: datetime,
    trusted: bool,
    reason: str,
    advised: bool,
) -> None:
    authority = make_authority("a", 365, LONG_AGO)
    (tmp_path / "ca").write_bytes(authority.certificate)
    async with served(tmp_path, make_node(authority, hosts, 30, begun)) as address:
        with pytest.raises(StoreDeniedError) as found:
            await ask(address, str(tmp_path / "ca") if trusted else "")
    said = found.value.message
    assert said.startswith(f"{address}: its certificate is refused: ")
    assert reason in said and (ADVICE in said) == advised
    assert "_ssl.c" not in said and "[SSL" not in said


@both_ways
async def test_a_self_signed_certificate(tmp_path: Path, ask: Ask) -> None:
    async with served(tmp_path, make_authority("a", 30, NOW)) as address:
        with pytest.raises(StoreDeniedError, match="self-signed") as found:
            await ask(address, "")
    assert ADVICE in found.value.message


@both_ways
async def test_a_server_without_tls(tmp_path: Path, ask: Ask) -> None:
    async def in_clear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(in_clear, "127.0.0.1", 0)
    async with server:
        with pytest.raises(StoreUnreachableError) as found:
            await ask(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", "")
    said = found.value.message
    assert said.endswith("does it want http://?") and "_ssl.c" not in said


@both_ways
async def test_nobody_listens(tmp_path: Path, ask: Ask) -> None:
    async with served(tmp_path, None) as address:
        pass
    with pytest.raises(MemfsError) as found:
        await ask(address, "")
    assert found.value.message == f"{address} cannot be reached: Connection refused"
