"""When connections end that stand on a key or a token: at the primary's word, or without any."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from memfs.errors import AccessDeniedError, UnavailableError, UnsupportedError
from memfs.node.requests.standing import PAGE_BYTES, UNHEARD_SECONDS, Standing
from memfs.protocol import messages as m
from memfs.protocol.records import encode
from memfs.security.principals import CERTIFICATE, KEY, TOKEN, Principal
from memfs.transport.connection import Peer
from memfs.types import Identity


class Line:
    """A connection of a client."""

    def __init__(self, user: str, proof: str, shown: bytes = b"", expires: float = 0.0) -> None:
        principal = Principal(user, proof=proof, shown=shown, expires=expires)
        self.peer = Peer(identity=Identity(user), principal=principal)
        self.closed = False

    def abort(self, reason: str) -> None:
        self.closed = True


class Cluster:
    """What a node knows of the others: a clock, and a primary that answers or does not."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.environment = SimpleNamespace(clock=self)
        self.good: set[bytes] = set()
        self.error: Exception | None = None
        self.asked: list[m.CheckStanding] = []

    def monotonic(self) -> float:
        return self.now

    def wall_ns(self) -> int:
        return int(self.now * 1e9)

    async def ask_primary(self, request: m.CheckStanding) -> m.StandingReply:
        self.asked.append(request)
        if self.error is not None:
            raise self.error
        return m.StandingReply(
            tuple([int((p.key or p.token) in self.good) for p in request.proofs])
        )


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def standing(cluster: Any, *lines: Any, out: str = "") -> Standing:
    made = Standing(cluster, lambda user: user == out)
    for line in lines:
        made.opened(line)
    return made


async def test_what_the_primary_believes_no_more_ends(cluster: Cluster) -> None:
    lines = [Line("a", KEY, b"k1"), Line("a", KEY, b"k1"), Line("b", TOKEN, b"t1")]
    lines += [Line("a", KEY, b"k2"), Line("c", CERTIFICATE)]
    cluster.good = {b"k1", b"t1"}
    node = standing(cluster, *lines)
    await node.look()
    assert [line.closed for line in lines] == [False, False, False, True, False]
    (asked,) = cluster.asked
    assert len(asked.proofs) == 3, "a proof is asked about once"
    cluster.good = set()
    node.closed(lines[0])  # type: ignore[arg-type]
    await node.look()
    assert [line.closed for line in lines] == [False, True, True, True, False]


async def test_without_a_word_of_a_primary_they_stand_for_a_while(cluster: Cluster) -> None:
    lines = [Line("a", KEY, b"k"), Line("c", CERTIFICATE)]
    cluster.good = {b"k"}
    node = standing(cluster, *lines)
    await node.look()
    cluster.error = UnavailableError("no primary")
    cluster.now += UNHEARD_SECONDS - 1
    await node.look()
    assert not lines[0].closed
    cluster.now += 1
    await node.look()
    assert [line.closed for line in lines] == [True, False]


async def test_a_primary_of_an_older_release_lets_them_stand(cluster: Cluster) -> None:
    line = Line("a", KEY, b"k")
    cluster.error = UnsupportedError("what is that")
    node = standing(cluster, line)
    for _ in range(3):
        cluster.now += UNHEARD_SECONDS
        await node.look()
    assert not line.closed


async def test_a_certificate_ends_by_the_clock(cluster: Cluster) -> None:
    line = Line("a", CERTIFICATE, expires=1001.0)
    node = standing(cluster, line)
    await node.look()
    assert not line.closed
    cluster.now = 1001.0
    await node.look()
    assert line.closed


async def test_who_is_shut_out_ends_however_they_came(cluster: Cluster) -> None:
    lines = [Line("a", CERTIFICATE), Line("gateway", CERTIFICATE), Line("b", CERTIFICATE)]
    lines[1].peer = lines[1].peer._replace(identity=Identity("a"))
    node = standing(cluster, *lines, out="a")
    await node.look()
    assert [line.closed for line in lines] == [True, True, False]
    with pytest.raises(AccessDeniedError, match="a is shut out"):
        node.check(lines[1].peer)
    node.check(lines[2].peer)


async def test_questions_fit_records(cluster: Cluster) -> None:
    lines = [Line(f"user-{n}", TOKEN, n.to_bytes(2, "big") * 200) for n in range(500)]
    cluster.good = {line.peer.principal.shown for line in lines}  # type: ignore[union-attr]
    await standing(cluster, *lines).look()
    assert sum(len(each.proofs) for each in cluster.asked) == 500
    assert len(cluster.asked) > 1
    assert all(len(encode(each)) < 2 * PAGE_BYTES for each in cluster.asked)
    assert not any(line.closed for line in lines)
