"""Expect, as RFC 9110, 10.1.1 has it."""

from __future__ import annotations

import pytest

from tests.unit.client.fake_cluster import FakeCluster
from tests.unit.gateway.on_fake import FakeGateway


@pytest.fixture
async def gateway() -> FakeGateway:
    return FakeGateway(FakeCluster(), 5.0)


@pytest.mark.parametrize("expected", ["200-maybe", "100-continue, 200-maybe", "100-continue;q=1"])
@pytest.mark.parametrize("method", ["PUT", "GET"])
async def test_an_unknown_expectation_fails(
    gateway: FakeGateway, expected: str, method: str
) -> None:
    operation = "CREATE&data=true" if method == "PUT" else "GETFILESTATUS"
    status, text = await gateway.ask(
        method, f"/f?op={operation}", b"x" if method == "PUT" else b"", f"Expect: {expected}\r\n"
    )
    assert status == 417 and "100-continue is known" in text
    status, _ = await gateway.ask("GET", "/f?op=GETFILESTATUS")
    assert status == 404, "nothing was made"


@pytest.mark.parametrize("expected", ["100-continue", "100-Continue, 100-continue", ""])
async def test_a_client_that_waits_is_told_to_go_on(gateway: FakeGateway, expected: str) -> None:
    head = f"Expect: {expected}\r\n"
    exchange = gateway.begin("PUT", "/f?op=CREATE&data=true", headers=head, length=4)
    if expected:
        await exchange.transport.came.wait()
        assert bytes(exchange.transport.sent) == b"HTTP/1.1 100 Continue\r\n\r\n"
        exchange.transport.sent.clear()
    exchange.send(b"data")
    assert (await exchange.answer())[0] == 201


async def test_an_old_client_hears_nothing_in_between(gateway: FakeGateway) -> None:
    """HTTP/1.0 has no answer before the last one: the expectation is ignored."""
    head = "Expect: 100-continue\r\n"
    exchange = gateway.begin("PUT", "/f?op=CREATE&data=true", b"data", head, version="1.0")
    assert (await exchange.answer())[0] == 201
    assert b"100 Continue" not in exchange.transport.sent
