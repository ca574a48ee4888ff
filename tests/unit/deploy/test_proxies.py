"""The examples of proxies before a gateway say the same, of names that are those of the texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

PROXY = Path(__file__).parents[3] / "deploy" / "proxy"
NAME, GATEWAY = "files.example.com", "127.0.0.1:9870"


def read(name: str) -> Any:
    return yaml.safe_load((PROXY / name).read_text())


def test_traefiks_routes_lead_from_its_entry_point_to_gateways() -> None:
    fixed, routes = read("traefik.yaml"), read("traefik-routes.yaml")
    assert fixed["providers"]["file"]["filename"].endswith("/traefik-routes.yaml")
    (router,) = routes["http"]["routers"].values()
    assert router["rule"] == f"Host(`{NAME}`) && PathPrefix(`/webhdfs/v1`)"
    assert router["entryPoints"] == list(fixed["entryPoints"])
    balancer = routes["http"]["services"][router["service"]]["loadBalancer"]
    assert balancer["servers"] == [{"url": f"http://{GATEWAY}"}]
    assert balancer["passHostHeader"] is True
    assert balancer["serversTransport"] in routes["http"]["serversTransports"]


def test_neither_limits_how_long_a_body_takes() -> None:
    (entry,) = read("traefik.yaml")["entryPoints"].values()
    timeouts = entry["transport"]["respondingTimeouts"]
    assert (timeouts["readTimeout"], timeouts["writeTimeout"]) == ("0s", "0s")
    nginx = (PROXY / "nginx.conf").read_text()
    for directive in ("client_body_timeout", "proxy_read_timeout", "proxy_send_timeout"):
        assert f"{directive} 24h;" in nginx


def test_both_are_for_one_name_and_one_gateway() -> None:
    for name in ("nginx.conf", "traefik-routes.yaml"):
        text = (PROXY / name).read_text()
        assert f'advertise = ["https://{NAME}"]' in text
        assert GATEWAY in text
        assert f"tls/{NAME}.pem" in text
