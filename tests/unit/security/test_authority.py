"""What stands in certificates, and whom TLS believes with them."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from memfs.errors import ConfigError
from memfs.security.authority import Pair, expiry, make_authority, make_client, make_node
from memfs.security.principals import Principal, principal_of

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def authority() -> Pair:
    return make_authority("memfs CA", 10, NOW)


def _context(
    directory: Path, pair: Pair, authority: Pair, protocol: ssl._SSLMethod
) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    both = directory / "pair.pem"
    both.write_bytes(pair.certificate + pair.key)
    context.load_cert_chain(both)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=authority.certificate.decode())
    return context


def _meet(directory: Path, server: Pair, client: Pair, authority: Pair, name: str) -> Principal:
    """Whom the server takes the client for. Raises SSLError when one does not believe the other."""
    serving = _context(directory, server, authority, ssl.PROTOCOL_TLS_SERVER)
    asking = _context(directory, client, authority, ssl.PROTOCOL_TLS_CLIENT)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = serving.wrap_bio(to_server, to_client, server_side=True)
    other = asking.wrap_bio(to_client, to_server, server_hostname=name)
    for _ in range(4):
        for end in (other, one):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    found = one.getpeercert()
    assert found
    return principal_of(found)


def test_a_node_and_a_user_meet(authority: Pair, tmp_path: Path) -> None:
    node = make_node(authority, ["node1.example", "127.0.0.1"], 1, NOW)
    user = make_client(authority, "alice", 1, NOW)
    for name in ("node1.example", "127.0.0.1"):
        found = _meet(tmp_path, node, user, authority, name)
        assert found == Principal("alice", expires=expiry(user.certificate))
    met = _meet(tmp_path, node, node, authority, "127.0.0.1")
    assert met.is_node
    assert met.hosts == ("node1.example", "127.0.0.1")


def test_a_user_cannot_serve(authority: Pair, tmp_path: Path) -> None:
    user = make_client(authority, "alice", 1, NOW)
    with pytest.raises(ssl.SSLCertVerificationError, match="purpose"):
        _meet(tmp_path, user, user, authority, "127.0.0.1")


def test_another_name_another_authority_or_another_time_is_refused(
    authority: Pair, tmp_path: Path
) -> None:
    node, user = make_node(authority, ["a"], 1, NOW), make_client(authority, "alice", 1, NOW)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        _meet(tmp_path, node, user, authority, "b")
    other = make_authority("memfs CA", 10, NOW)
    with pytest.raises(ssl.SSLError):
        _meet(tmp_path, node, make_client(other, "alice", 1, NOW), authority, "a")
    past = make_client(authority, "alice", 1, NOW - timedelta(days=9))
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        _meet(tmp_path, node, past, authority, "a")


def test_expiry(authority: Pair) -> None:
    ends = expiry(make_client(authority, "alice", 3, NOW).certificate)
    assert ends == (NOW + timedelta(days=3)).replace(microsecond=0).timestamp()


def test_wrong_input_is_a_sentence(authority: Pair) -> None:
    other = make_authority("memfs CA", 1, NOW)
    with pytest.raises(ConfigError, match="does not belong"):
        make_client(Pair(authority.certificate, other.key), "alice", 1, NOW)
    with pytest.raises(ConfigError, match="no certificate in PEM"):
        make_client(Pair(b"", authority.key), "alice", 1, NOW)
    with pytest.raises(ConfigError, match="no private key"):
        make_client(Pair(authority.certificate, b"x"), "alice", 1, NOW)
    with pytest.raises(ConfigError, match="reached by"):
        make_node(authority, [], 1, NOW)
    with pytest.raises(ConfigError, match="host name"):
        make_node(authority, ["knöten"], 1, NOW)
    with pytest.raises(ConfigError, match="name of all nodes"):
        make_client(authority, "node", 1, NOW)


def test_a_pair_does_not_show_its_key(authority: Pair) -> None:
    assert "PRIVATE" not in repr(authority)
