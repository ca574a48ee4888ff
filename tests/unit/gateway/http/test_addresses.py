"""Whom a Host header is for, and where redirects lead."""

from __future__ import annotations

import pytest

from memfs.config import GatewayConfig
from memfs.errors import ConfigError
from memfs.gateway.hadoop.exceptions import RemoteException
from memfs.gateway.http.addresses import Addresses

OPEN = {"host": "0.0.0.0", "insecure": True}


def addresses(**settings: object) -> Addresses:
    return Addresses(GatewayConfig(**settings), own=("box", "Box.example"))


@pytest.mark.parametrize(
    "host",
    [
        *("", "localhost", "localhost:1", "127.0.0.1:9870", "[::1]:9870", "LOCALHOST"),
        *("box", "box.example.:9870", "10.0.0.7:1", "gw.example:80", "proxy.example"),
        *("named", "a.below.example"),
    ],
)
def test_own_names(host: str) -> None:
    advertise = "gw.example:1234,https://Proxy.example"
    found = addresses(**OPEN, advertise=advertise, allowed_hosts="named,.below.example")
    found.check(host, "10.0.0.7")
    found.check(host, "::ffff:10.0.0.7")


@pytest.mark.parametrize(
    "host", ["evil.example", "10.0.0.8", "box.evil", "xbelow.example", "a b", "x:y", "x@box", ":1"]
)
def test_other_names(host: str) -> None:
    found = addresses(allowed_hosts=".below.example")
    with pytest.raises(RemoteException, match="allowed_hosts"):
        found.check(host, "10.0.0.7")
    addresses(allowed_hosts="*").check(host, "10.0.0.7")


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        ("gw.example:1234", "http://gw.example:1234"),
        ("proxy.example", "https://proxy.example"),
        ("proxy.example:443", "https://proxy.example"),
        ("evil.example", "http://gw.example:1234"),
        ("localhost:9870", "http://gw.example:1234"),
        ("", "http://gw.example:1234"),
    ],
)
def test_redirects_lead_to_advertised_addresses(host: str, wanted: str) -> None:
    found = addresses(advertise="gw.example:1234,https://proxy.example:443")
    assert found.base(host, "10.0.0.7", 1) == wanted


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        ("localhost:19870", "http://localhost:19870"),
        ("[::1]:1", "http://[::1]:1"),
        ("evil.example:1", "http://127.0.0.1:9870"),
        ("", "http://127.0.0.1:9870"),
    ],
)
def test_without_one_they_stay_on_the_machine(host: str, wanted: str) -> None:
    assert addresses().base(host, "127.0.0.1", 9870) == wanted


def test_an_open_gateway_must_advertise() -> None:
    with pytest.raises(ConfigError, match="advertise"):
        GatewayConfig(**OPEN)
    assert GatewayConfig(**OPEN, advertise="gw").advertise == ("gw:9870",)
    for wrong in ("ftp://x", "https://", "https://a/b", "a:x"):
        with pytest.raises(ConfigError, match="advertise"):
            GatewayConfig(advertise=wrong)
