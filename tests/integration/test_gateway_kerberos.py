"""Kerberos at the gateway: Hadoop's own shell and curl, with tickets of a realm of their own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from cli_cluster import wait_for_output

from memfs.testing.ports import free_port
from memfs.testing.processes import Processes
from tests.support.certificates import Certificates
from tests.support.debian import program
from tests.support.environments import environment
from tests.support.hadoop import Shell, java_home
from tests.support.kerberos import REALM, Realm, install_headers
from tests.support.patience import PATIENCE_SECONDS


class Site(NamedTuple):
    """What the tests talk to."""

    realm: Realm
    port: int
    authority: Path
    log: Path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, installed: Path) -> Iterator[Site]:
    """A cluster and a gateway that wants tickets, over TLS."""
    install_headers()
    python = environment("kerberos", ["gssapi>=1.8"], installed)
    top = tmp_path_factory.mktemp("kerberos")
    made = Certificates(top / "tls")
    flags = ["--standard-directories", "--homes=alice,bob"]
    with (
        Realm(top / "realm", free_port(1)) as realm,
        Processes(1, memory="256MiB", replication=1, flags=flags) as nodes,
        (top / "gateway.log").open("w") as log,
    ):
        keytab = realm.keytab("HTTP/localhost")
        command = [python.python, "-m", "memfs.cli", "gateway", "--port=0", "--no-find-peers"]
        settings = {
            "authentication": "kerberos",
            "kerberos-keytab": str(keytab),
            "kerberos-realms": REALM,
            "tls-certificate": str(made.server_certificate),
            "tls-key": str(made.server_key),
            "audit": "on",
        }
        flags = [f"--{name}={value}" for name, value in settings.items()]
        variables = python.variables(MEMFS_URL=nodes.url, **realm.variables)
        with subprocess.Popen(
            [*command, *flags],
            cwd=top,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as running:
            try:
                said = wait_for_output(running, "webhdfs://")
                port = int(said.split("webhdfs://")[1].split("/")[0].rpartition(":")[2])
                yield Site(realm, port, made.authority, top / "gateway.log")
            finally:
                running.terminate()


@pytest.fixture(scope="module")
def alice(site: Site) -> dict[str, str]:
    """The variables of a process that has alice's ticket."""
    return site.realm.tickets("alice")


def curl(site: Site, variables: dict[str, str], target: str, *arguments: str) -> tuple[int, str]:
    """Status and body of a request that curl proves itself for."""
    address = f"https://localhost:{site.port}/webhdfs/v1{target}"
    command = [
        program("curl", "curl"),
        "-s",
        "--cacert",
        str(site.authority),
        "-w",
        "\n%{http_code}",
    ]
    done = subprocess.run(
        [*command, *arguments, address],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body


NEGOTIATE = ("--negotiate", "-u", ":")


def test_curl_negotiates(site: Site, alice: dict[str, str]) -> None:
    status, body = curl(site, alice, "/?op=GETHOMEDIRECTORY", *NEGOTIATE)
    assert (status, json.loads(body)) == (200, {"Path": "/user/alice"})
    status, body = curl(site, alice, "/?op=GETHOMEDIRECTORY&user.name=root")
    assert status == 401 and "AuthenticationException" in body


def test_a_cookie_spares_the_next_negotiation(
    site: Site, alice: dict[str, str], tmp_path: Path
) -> None:
    jar = str(tmp_path / "jar")
    assert curl(site, alice, "/", "-X", "OPTIONS", *NEGOTIATE, "-c", jar)[0] == 200
    status, body = curl(site, {}, "/?op=GETHOMEDIRECTORY", "-b", jar)
    assert (status, json.loads(body)) == (200, {"Path": "/user/alice"})
    forged = Path(jar).read_text().replace("u=alice&p=alice", "u=root&p=root")
    Path(jar).write_text(forged)
    assert curl(site, {}, "/?op=GETHOMEDIRECTORY", "-b", jar)[0] == 401


def test_tickets_that_are_none(site: Site) -> None:
    for token in ("Negotiate", "Negotiate !", "Negotiate YWJj", "Negotiate " + "A" * 6000):
        header = ("-H", f"Authorization: {token}")
        assert curl(site, {}, "/?op=LISTSTATUS", *header)[0] == 401


def test_hadoop_with_a_ticket_and_its_delegation_token(
    site: Site, alice: dict[str, str], tmp_path: Path
) -> None:
    """The shell proves itself once, for a delegation token, and works with that."""
    home = tmp_path / "shell"
    home.mkdir()
    store = home / "trust.p12"
    keytool = [str(java_home() / "bin" / "keytool"), "-importcert", "-noprompt"]
    keytool += ["-alias", "memfs", "-file", str(site.authority), "-keystore", str(store)]
    keytool += ["-storepass", "changeit", "-storetype", "PKCS12"]
    subprocess.run(keytool, check=True, capture_output=True)
    java = {
        "java.security.krb5.conf": site.realm.configuration,
        "javax.net.ssl.trustStore": store,
        "javax.net.ssl.trustStorePassword": "changeit",
    }
    options = " ".join(f"-D{name}={value}" for name, value in java.items())
    settings = {
        "hadoop.security.authentication": "kerberos",
        "dfs.replication": "1",
        "ssl.client.truststore.location": str(store),
        "ssl.client.truststore.password": "changeit",
        "ssl.client.truststore.type": "PKCS12",
    }
    content = os.urandom(3 << 20)
    top = f"swebhdfs://localhost:{site.port}"
    variables = alice | {"JAVA_TOOL_OPTIONS": options}
    with Shell(home, settings, variables=variables) as shell:
        put = shell.run("-put", "-", f"{top}/user/alice/file", given=content)
        assert put.status == 0, put
        read = shell.run("-cat", f"{top}/user/alice/file")
        assert (read.status, read.out) == (0, content), read.err
        refused = shell.run("-put", "-", f"{top}/user/bob/file", given=b"x")
        assert refused.status == 1 and b"Permission denied: user=alice" in refused.err
    log = site.log.read_text()
    assert "GETDELEGATIONTOKEN" in log
