"""How users prove who they are to a gateway: tokens, an OpenID provider, certificates."""

from __future__ import annotations

import datetime
import hashlib
import http.client
import itertools
import json
import shutil
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gateway_served import Served

from memfs.errors import ConfigError
from memfs.gateway.auth.token_file import TokenFile
from memfs.gateway.server import Gateway
from memfs.testing.ports import free_port
from tests.attack.certificates import Authority
from tests.support.certificates import Certificates
from tests.support.patience import PATIENCE_SECONDS, until

_numbers = itertools.count()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    served = Served(system_groups=False)
    yield served
    served.close()


@pytest.fixture
def top(served: Served) -> str:
    """A directory that everybody may write in."""
    path = f"/proved-{next(_numbers)}"
    served.mkdir(path)
    served.run(served.fs.chmod(path, 0o777))
    return path


@contextmanager
def gateway(served: Served, **settings: object) -> Iterator[Gateway]:
    """One more gateway."""
    running = served.start(**settings)
    try:
        yield running
    finally:
        served.stop(running)


def owner(served: Served, path: str) -> tuple[str, str]:
    status = served.get(path, "GETFILESTATUS").json["FileStatus"]
    return status["owner"], status["group"]


# --- bearer tokens -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in which ``secret`` is bob's token."""
    path = tmp_path_factory.mktemp("tokens") / "tokens"
    digest = hashlib.sha256(b"secret").hexdigest()
    path.write_text(f"# token of bob\n\n{digest.upper()} bob ops,staff\n")
    return path


def test_bearer_tokens(served: Served, top: str, tokens: Path) -> None:
    gateway = served.start(authentication="bearer", tokens_file=str(tokens), group_rule="cluster")
    port = gateway.endpoint.port
    try:
        known = {"Authorization": "Bearer secret"}
        answer = served.put(f"{top}/a", "CREATE", b"x", known, user="root", port=port)
        assert answer.status == 201
        assert owner(served, f"{top}/a") == ("bob", "ops")
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic c2Vj"}):
            refused = served.get("/", "GETFILESTATUS", headers=headers, port=port)
            assert (refused.status, refused.exception) == (401, "AuthenticationException")
            assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    finally:
        served.stop(gateway)


def test_metrics_want_a_token_too(served: Served, tokens: Path) -> None:
    gateway = served.start(authentication="bearer", tokens_file=str(tokens))
    port = gateway.endpoint.port
    try:
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            refused = served.request("GET", "/metrics", headers=headers, port=port)
            assert refused.status == 401
            assert b"memfs_" not in refused.body
        known = {"Authorization": "Bearer secret"}
        shown = served.request("GET", "/metrics", headers=known, port=port)
        assert (shown.status, b"memfs_gateway_connections" in shown.body) == (200, True)
        for probe in ("/healthz", "/readyz"):
            assert served.request("GET", probe, port=port).status == 200
    finally:
        served.stop(gateway)


def test_tokens_change_while_the_gateway_serves(served: Served, tmp_path: Path) -> None:
    def line(token: str, user: str) -> str:
        return f"{hashlib.sha256(token.encode()).hexdigest()} {user}\n"

    def status(token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return served.get("/", "GETFILESTATUS", headers=headers, port=port).status

    path = tmp_path / "tokens"
    path.write_text(line("first", "bob"))
    gateway = served.start(authentication="bearer", tokens_file=str(path))
    port = gateway.endpoint.port
    try:
        assert (status("first"), status("second")) == (200, 401)
        path.write_text(line("first", "bob") + line("second", "alice"))
        assert (status("first"), status("second")) == (200, 200)
        path.write_text("no line of a tokens file\n")
        assert (status("first"), status("second")) == (200, 200)
        path.write_text(line("second", "alice"))
        assert (status("first"), status("second")) == (401, 200)
        path.unlink()
        assert (status("first"), status("second")) == (401, 200)
        path.write_text("")
        assert (status("first"), status("second")) == (401, 401)
    finally:
        served.stop(gateway)


@pytest.mark.parametrize("line", ["short bob", "x" * 64 + " a/b", "x" * 64])
def test_token_files_that_are_wrong(tmp_path: Path, line: str) -> None:
    path = tmp_path / "tokens"
    path.write_text(line)
    with pytest.raises(ConfigError, match="line 1"):
        TokenFile(str(path))
    with pytest.raises(ConfigError, match="tokens_file"):
        TokenFile(str(tmp_path / "none"))


# --- an OpenID provider --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """The address of a provider of tokens."""
    port = free_port(1)
    command = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", f"--port={port}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        address = f"http://localhost:{port}"
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{address}/jwks", timeout=5).close()
                break
            except OSError:
                assert running.poll() is None and time.monotonic() < deadline
                time.sleep(0.1)
        yield address
        running.terminate()


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def id_token(issuer: str, user: str, client: str = "memfs") -> str:
    """What the provider gives a user who logs in: OpenID Connect's code flow."""
    back = "http://localhost/back"
    query = {"client_id": client, "redirect_uri": back, "response_type": "code", "scope": "openid"}
    address = f"{issuer}/oauth2/authorize?{urllib.parse.urlencode(query)}"
    form = urllib.parse.urlencode({"sub": user}).encode()
    with pytest.raises(urllib.error.HTTPError) as redirected:
        urllib.request.build_opener(_NoRedirects).open(address, form, 20)
    with redirected.value as answer:
        location = urllib.parse.urlsplit(answer.headers["Location"])
    code = urllib.parse.parse_qs(location.query)["code"][0]
    grant = {"grant_type": "authorization_code", "code": code, "redirect_uri": back}
    form = urllib.parse.urlencode(grant | {"client_id": client, "client_secret": "x"}).encode()
    with urllib.request.urlopen(f"{issuer}/oauth2/token", form, 20) as answer:
        token: str = json.load(answer)["id_token"]
    return token


def test_tokens_of_an_openid_provider(served: Served, top: str, issuer: str, tokens: Path) -> None:
    settings = {"authentication": "bearer,jwt", "tokens_file": str(tokens)}
    with gateway(served, **settings, jwt_issuer=issuer, jwt_audience="memfs") as running:
        port = running.endpoint.port
        good = {"Authorization": f"Bearer {id_token(issuer, 'alice')}"}
        answer = served.put(f"{top}/a", "CREATE", b"x", good, user="root", port=port)
        assert answer.status == 201
        assert owner(served, f"{top}/a")[0] == "alice"
        other = {"Authorization": "Bearer secret"}  # both ways are open
        assert served.put(f"{top}/b", "CREATE", b"x", other, user="", port=port).status == 201
        assert owner(served, f"{top}/b")[0] == "bob"
        elsewhere = {"Authorization": f"Bearer {id_token(issuer, 'alice', 'another')}"}
        refused = served.get("/", "GETFILESTATUS", headers=elsewhere, port=port)
        assert refused.status == 401
        assert "udience" in refused.headers["WWW-Authenticate"]


def test_an_issuer_out_of_reach_is_nobodys_word(served: Served) -> None:
    settings = {"authentication": "jwt", "jwt_audience": "memfs"}
    with gateway(served, **settings, jwt_issuer="http://localhost:9") as running:
        headers = {"Authorization": "Bearer eyJhbGciOiJFUzI1NiJ9.e30.AAAA"}
        refused = served.get("/", "LISTSTATUS", headers=headers, port=running.endpoint.port)
        assert refused.status == 401


# --- certificates --------------------------------------------------------------------------------


def ask(port: int, context: ssl.SSLContext, method: str, target: str, body: bytes = b"") -> int:
    """One request over TLS; the status of its answer."""
    connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=20)
    try:
        connection.request(method, f"/webhdfs/v1{target}", body or None)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def test_certificates_of_users(served: Served, top: str, tmp_path: Path) -> None:
    shown, authority = Certificates(tmp_path / "tls"), Authority(tmp_path / "users")
    alice, node = authority.user("alice"), authority.node()
    strangers = Authority(tmp_path / "strangers").user("alice")

    def context(directory: Path | None, stem: str = "client.alice") -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=str(shown.authority))
        if directory is not None:
            made.load_cert_chain(directory / f"{stem}.crt", directory / f"{stem}.key")
        return made

    with gateway(
        served,
        authentication="certificate",
        tls_certificate=str(shown.server_certificate),
        tls_key=str(shown.server_key),
        tls_client_ca=str(alice / "ca.crt"),
    ) as running:
        port = running.endpoint.port
        target = f"{top}/a?op=CREATE&data=true&user.name=root"
        assert ask(port, context(alice), "PUT", target, b"x") == 201
        assert owner(served, f"{top}/a")[0] == "alice"
        look = "/?op=GETFILESTATUS&user.name=root"
        assert ask(port, context(None), "GET", look) == 401
        assert ask(port, context(node, "node"), "GET", look) == 401
        with pytest.raises((ssl.SSLError, ConnectionError)):
            ask(port, context(strangers), "GET", look)


def test_a_connection_that_is_kept_alive_outlives_no_certificate_and_no_token(
    served: Served, tmp_path: Path, tokens: Path
) -> None:
    """Each request is judged anew, on the connection of the one before."""
    shown, authority = Certificates(tmp_path / "tls"), Authority(tmp_path / "users")
    begun = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1, seconds=-6)
    alice = authority.user("alice", when=begun, days=1)
    context = ssl.create_default_context(cafile=str(shown.authority))
    context.load_cert_chain(alice / "client.alice.crt", alice / "client.alice.key")
    own = tmp_path / "tokens"
    own.write_text(tokens.read_text())
    tls = {"tls_certificate": str(shown.server_certificate), "tls_key": str(shown.server_key)}
    with gateway(
        served,
        authentication="bearer,certificate",
        tokens_file=str(own),
        tls_client_ca=str(alice / "ca.crt"),
        **tls,
    ) as running:
        port = running.endpoint.port
        connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=60)
        connection.connect()
        first = connection.sock

        def look(**headers: str) -> int:
            connection.request("GET", "/webhdfs/v1/?op=GETFILESTATUS", headers=headers)
            answer = connection.getresponse()
            answer.read()
            assert connection.sock is first or answer.status == 401, "another connection"
            return answer.status

        try:
            assert (look(), look(Authorization="Bearer secret")) == (200, 200)
            until(lambda: time.time() > begun.timestamp() + 86_400)
            assert look(Authorization="Bearer secret") == 200
            own.write_text("")
            assert look(Authorization="Bearer secret") == 401
            assert look() == 401
        finally:
            connection.close()


def test_a_certificate_is_renewed_while_the_gateway_serves(served: Served, tmp_path: Path) -> None:
    first, second = Certificates(tmp_path / "first"), Certificates(tmp_path / "second")
    both = tmp_path / "both.pem"
    both.write_bytes(first.server_certificate.read_bytes() + first.server_key.read_bytes())
    with gateway(served, tls_certificate=str(both), head_seconds=0.2) as running:
        port, look = running.endpoint.port, "/?op=GETFILESTATUS&user.name=root"

        def good(made: Certificates) -> bool:
            context = ssl.create_default_context(cafile=str(made.authority))
            try:
                return ask(port, context, "GET", look) == 200
            except ssl.SSLCertVerificationError:
                return False

        assert good(first) and not good(second)
        both.write_text("nothing")
        time.sleep(0.5)
        assert good(first)
        new = tmp_path / "new.pem"
        new.write_bytes(second.server_certificate.read_bytes() + second.server_key.read_bytes())
        shutil.move(new, both)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not good(second):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert not good(first)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"authentication": "simple,bearer"}, "authentication"),
        ({"authentication": "jwt"}, "jwt_issuer"),
        ({"authentication": "kerberos"}, "kerberos_keytab"),
        ({"authentication": "certificate"}, "tls_client_ca"),
        ({"authentication": ""}, "authentication"),
        ({"authentication": "basic"}, "authentication"),
        ({"tls_client_ca": "x"}, "tls_client_ca"),
        ({"authentication": "jwt", "jwt_issuer": "http://x.example", "jwt_audience": "y"}, "https"),
    ],
)
def test_settings_that_do_not_fit(served: Served, settings: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        served.start(**settings)


def test_options_says_what_there_is(served: Served) -> None:
    answer = served.request("OPTIONS", "/webhdfs/v1/?user.name=root")
    assert (answer.status, answer.headers["Allow"]) == (200, "GET, HEAD, PUT, POST, DELETE")
