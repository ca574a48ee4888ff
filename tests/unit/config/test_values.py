"""Values: what each parser takes and refuses."""

from __future__ import annotations

import pytest

from memfs import machine
from memfs.config import ClientConfig, NodeConfig, load
from memfs.paths import Endpoint
from tests.unit.config.refusal import mistakes


def test_default_memory_is_half_of_what_is_usable() -> None:
    assert NodeConfig().memory == machine.usable_memory() // 2


@pytest.mark.parametrize(
    ("given", "wanted"),
    [("8GiB", 8 << 30), ("512M", 512 << 20), (1 << 30, 1 << 30), ("2GB", 2 * 10**9)],
)
def test_memory_takes_sizes(given: object, wanted: int) -> None:
    assert load(NodeConfig, environ={}, flags={"memory": given}).memory == wanted


def test_memory_takes_a_share() -> None:
    found = load(NodeConfig, environ={"MEMFS_NODE_MEMORY": "25%"}).memory
    assert found == round(machine.usable_memory() * 0.25)


@pytest.mark.parametrize(
    ("mib", "wanted"), [(10_000, 7_000), (1_024, 716.8), (384, 192), (448, 256), (100, 50)]
)
def test_a_share_of_little_memory_leaves_enough_for_the_process(
    monkeypatch: pytest.MonkeyPatch, mib: int, wanted: float
) -> None:
    """A container that was full of blocks was killed by the kernel, with all that it held."""
    monkeypatch.setattr(machine, "usable_memory", lambda: mib << 20)
    assert load(NodeConfig, environ={}, flags={"memory": "70%"}).memory == round(wanted * 2**20)


@pytest.mark.parametrize("given", ["0%", "101%", "x%", "-5%", "%", "\uff11%"])
def test_memory_refuses_other_shares(given: str) -> None:
    assert mistakes(NodeConfig, flags={"memory": given}) == [
        f"--memory: {given!r} is no share of memory: write 1% to 100%"
    ]


@pytest.mark.parametrize(
    ("given", "wanted"), [("500ms", 0.5), ("5s", 5.0), (2, 2.0), (0.25, 0.25), ("1m", 60.0)]
)
def test_durations(given: object, wanted: float) -> None:
    settings = {"heartbeat_seconds": given, "member_timeout_seconds": 600, "removal_seconds": 600}
    assert load(NodeConfig, environ={}, flags=settings).heartbeat_seconds == wanted


@pytest.mark.parametrize(
    ("given", "wanted"),
    [("true", True), ("1", True), ("Yes", True), ("off", False), ("0", False), (True, True)],
)
def test_flags(given: object, wanted: bool) -> None:
    assert load(NodeConfig, environ={}, flags={"insecure": given}).insecure is wanted


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("memfs://a:1,b:2", (Endpoint("a", 1), Endpoint("b", 2))),
        ("a:1, b:2", (Endpoint("a", 1), Endpoint("b", 2))),
        (["a:1", "b"], (Endpoint("a", 1), Endpoint("b", 10500))),
        ("memfs://[::1]:7", (Endpoint("::1", 7),)),
        ((Endpoint("a", 1),), (Endpoint("a", 1),)),
    ],
)
def test_endpoints(given: object, wanted: tuple[Endpoint, ...]) -> None:
    assert load(ClientConfig, environ={}, flags={"endpoints": given}).endpoints == wanted


@pytest.mark.parametrize(
    "given", ["http://a:1", "memfs://a:1/path", "a:b:c", "a:99999", "", 5, "memfs://nowhere"]
)
def test_endpoints_refused(given: object) -> None:
    assert len(mistakes(ClientConfig, flags={"endpoints": given})) == 1


@pytest.mark.parametrize("field", ["port", "weight", "replication", "group_blocks"])
@pytest.mark.parametrize("given", ["", "1.5", "one", True, 1.5, -2, 10**9, "\uff11", "1_0"])
def test_whole_numbers_refused(field: str, given: object) -> None:
    assert len(mistakes(NodeConfig, flags={field: given})) == 1


@pytest.mark.parametrize("given", ["yes", "udp://x", "memfs://", "memfs://a:1/x", "memfs://host"])
def test_coordinator_refused(given: str) -> None:
    assert len(mistakes(NodeConfig, flags={"coordinator": given})) == 1


def test_coordinator_accepted() -> None:
    assert NodeConfig(coordinator="memfs://a:10500").coordinator == "memfs://a:10500"
    assert NodeConfig(coordinator="embedded").coordinator == "embedded"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("etcd://h1", "etcd://h1:2379/memfs"),
        ("etcd://h1:1,h2,[::1]:2379/", "etcd://h1:1,h2:2379,[::1]:2379/memfs"),
        ("etcds://h1:2379/teams/blue", "etcds://h1:2379/teams/blue"),
    ],
)
def test_etcd_accepted(given: str, wanted: str) -> None:
    assert NodeConfig(coordinator=given).coordinator == wanted
    assert NodeConfig(coordinator=wanted).coordinator == wanted


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("etcd://", "is no etcd"),
        ("etcd:///memfs", "is no etcd"),
        ("etcd://h1:99999", "is no address"),
        ("etcd://h1,,h2", "is no address"),
        ("etcd://h1/a//b", "is no prefix"),
        ("etcd://h1/a b", "is no prefix"),
        ("etcd://h1/memfs/", "is no prefix"),
        ("etcd://me:secret@h1", "set etcd_user"),
    ],
)
def test_etcd_refused(given: str, reason: str) -> None:
    [mistake] = mistakes(NodeConfig, flags={"coordinator": given})
    assert reason in mistake
    assert "secret" not in mistake


def test_text_that_could_forge_a_log_line_is_refused() -> None:
    assert len(mistakes(NodeConfig, flags={"domain": "rack\nnext"})) == 1
    assert len(mistakes(NodeConfig, flags={"name": "a/b"})) == 1
