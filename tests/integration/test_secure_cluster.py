"""``memfs dev --secure``: processes that prove who they are, and openssl's client as a stranger."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import memfs
from memfs import errors, machine
from memfs.cli.serve.certificates import make_certificates
from memfs.testing.processes import Processes
from tests.integration.cli_cluster import COMMAND, Cluster, clean_environment, dev_cluster
from tests.support.patience import PATIENCE_SECONDS, until

USER = machine.login_name()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with dev_cluster(tmp_path_factory.mktemp("secure"), "--secure", nodes=2) as running:
        yield running


@pytest.fixture(scope="module")
def certificates(cluster: Cluster) -> Path:
    (found,) = cluster.temporary.glob("memfs-dev-*/certs")
    return found


def run(
    cluster: Cluster | Processes, certificates: Path | str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    environment = clean_environment(
        MEMFS_URL=cluster.url, MEMFS_CLIENT_CERTIFICATES=str(certificates)
    )
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def test_files_go_there_and_come_back(cluster: Cluster, certificates: Path, tmp_path: Path) -> None:
    content = os.urandom(9 << 20)
    (tmp_path / "file").write_bytes(content)
    put = run(cluster, certificates, "put", str(tmp_path / "file"), "/file")
    assert put.returncode == 0, put.stderr
    got = run(cluster, certificates, "get", "/file", str(tmp_path / "again"))
    assert got.returncode == 0, got.stderr
    assert (tmp_path / "again").read_bytes() == content
    status = run(cluster, certificates, "cluster", "status")
    assert status.returncode == 0, status.stdout + status.stderr
    assert "security  TLS 1.3" in status.stdout


def test_a_client_without_certificates_is_told_what_to_do(cluster: Cluster) -> None:
    done = run(cluster, "", "ls", "/")
    assert done.returncode == 1
    assert "does it want TLS? set certificates" in done.stderr or "wrong magic" in done.stderr


def test_nobody_is_somebody_else(cluster: Cluster, certificates: Path, tmp_path: Path) -> None:
    key = f"--ca-key={certificates / 'ca.key'}"
    own = tmp_path / "mallory"
    own.mkdir()
    (own / "ca.crt").write_bytes((certificates / "ca.crt").read_bytes())
    made = run(cluster, "", "certs", "create-client", "mallory", f"--certs-dir={own}", key)
    assert made.returncode == 0, made.stderr
    done = run(cluster, own, "ls", "/")
    assert done.returncode == 1
    assert f"you are mallory, as is proved, and cannot be {USER}" in done.stderr
    assert run(cluster, own, "ls", "--user", "mallory", "/").returncode == 0
    denied = run(cluster, own, "mkdir", "--user", "mallory", "/mine")
    assert "Permission denied" in denied.stderr or "permission" in denied.stderr.lower()
    refused = run(cluster, own, "cluster", "weight", "--user", "mallory", "node-2", "1")
    assert "superuser" in refused.stderr


def test_a_key_and_a_token_instead_of_a_certificate(
    cluster: Cluster, certificates: Path, tmp_path: Path
) -> None:
    """As an operator and a user type it, with the files where each has them."""
    home = tmp_path / "home"
    (home / ".memfs" / "certs").mkdir(parents=True)
    (home / ".memfs" / "certs" / "ca.crt").write_bytes((certificates / "ca.crt").read_bytes())

    def ann(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = clean_environment(MEMFS_URL=cluster.url, HOME=str(home), **variables)
        command = [*COMMAND, *arguments]
        return subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    key = home / ".memfs" / "ann.ed25519"
    added = run(cluster, certificates, "user", "add", "ann", "--generate", "--output", str(key))
    assert added.returncode == 0, added.stderr
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    again = run(cluster, certificates, "user", "add", "ann", "--key", str(key))
    assert again.returncode == 2 and "public half" in again.stderr
    assert run(cluster, certificates, "user", "add", "ann").returncode == 2
    listed = run(cluster, certificates, "user", "list").stdout
    assert listed == f"ann  {Path(f'{key}.pub').read_text()}"

    for arguments in (["mkdir", "-p", "/user/ann"], ["chown", "ann:team", "/user/ann"]):
        assert run(cluster, certificates, *arguments).returncode == 0
    assert run(cluster, certificates, "group", "add", "team", "ann").returncode == 0
    made = ann("mkdir", "/user/ann/own", MEMFS_CLIENT_USER="ann")
    assert made.returncode == 0, made.stderr
    assert "ann team" in " ".join(ann("ls", "-l", "/user/ann", "--user", "ann").stdout.split())
    refused = ann("user", "list", "--user", "ann")
    assert refused.returncode == 1 and "Superuser privilege" in refused.stderr

    token = home / ".memfs" / "token"
    options = ("--renewer", USER, "--output", str(token), "--user", "ann")
    assert ann("token", "get", *options).returncode == 0
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert run(cluster, certificates, "token", "renew", str(token)).stdout.endswith("Z\n")
    key.unlink()
    assert ann("ls", "/user/ann").stdout == "own\n", "as its owner, whatever the account's name"
    given = {"MEMFS_CLIENT_TOKEN": token.read_text().strip(), "MEMFS_CLIENT_TOKEN_FILE": ""}
    assert ann("mkdir", "/user/ann/more", **given).returncode == 0
    assert run(cluster, certificates, "token", "cancel", str(token)).returncode == 0
    over = ann("ls", "/user/ann")
    assert over.returncode == 1 and "cancelled" in over.stderr
    assert run(cluster, certificates, "user", "remove", "ann").returncode == 0
    assert run(cluster, certificates, "user", "list").stdout == ""


def test_what_is_withdrawn_ends_for_programs_that_run(tmp_path: Path) -> None:
    """A key, a token and a certificate, each of a program that is connected and asks on.

    By TCP: at a unix socket the superuser's account proves itself, and may speak for anybody.
    """
    certificates = tmp_path / "certs"
    make_certificates(certificates, ("127.0.0.1",), USER)
    flags = [f"--certificates={certificates}", "--authentication=certificate,key,token"]
    with Processes(2, flags=[*flags, "--socket-directory="]) as cluster:
        _withdrawn(cluster, certificates, tmp_path)


def _withdrawn(cluster: Processes, certificates: Path, tmp_path: Path) -> None:
    believed = tmp_path / "ca"
    believed.mkdir()
    (believed / "ca.crt").write_bytes((certificates / "ca.crt").read_bytes())
    key, token = tmp_path / "eve.ed25519", tmp_path / "token"

    def superuser(*arguments: str) -> None:
        done = run(cluster, certificates, *arguments)
        assert done.returncode == 0, done.stderr

    superuser("user", "add", "eve", "--generate", "--output", str(key))
    own = tmp_path / "frank"
    own.mkdir()
    (own / "ca.crt").write_bytes((certificates / "ca.crt").read_bytes())
    ca_key = f"--ca-key={certificates / 'ca.key'}"
    superuser("certs", "create-client", "frank", f"--certs-dir={own}", ca_key)
    options = ("--renewer", USER, "--output", str(token), "--user", "frank")
    assert run(cluster, own, "token", "get", *options).returncode == 0

    ways: dict[str, dict[str, str]] = {
        "eve": {"certificates": str(believed), "user": "eve", "key_file": str(key)},
        "by token": {"certificates": str(believed), "token_file": str(token)},
        "frank": {"certificates": str(own), "user": "frank"},
    }
    with contextlib.ExitStack() as stack:
        programs = {
            user: stack.enter_context(memfs.connect(cluster.url, **settings))
            for user, settings in ways.items()
        }
        refusals = {
            "eve": (("user", "remove", "eve"), "nobody's here"),
            "by token": (("token", "cancel", str(token)), "cancelled"),
            "frank": (
                ("cluster", "limits", "set", "connections", "0", "--of", "frank"),
                "frank is shut out",
            ),
        }
        for user, (command, told) in refusals.items():
            superuser(*command)
            ended = programs.pop(user)
            until(functools.partial(_is_refused, ended, told))
            for other in programs.values():
                assert other.isdir("/")


def _is_refused(fs: memfs.FileSystem, told: str) -> bool:
    try:
        fs.listdir("/")
    except (errors.AccessDeniedError, errors.InvalidTokenError) as error:
        assert told in str(error)
        return True
    return False


def s_client(cluster: Cluster, *arguments: str) -> bytes:
    """What openssl's client hears from a node after it has sent something."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{cluster.port}", "-quiet", *arguments],
        input=b"GET / HTTP/1.0\r\n\r\n",
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    return done.stdout


def test_openssl_hears_nothing(cluster: Cluster, certificates: Path) -> None:
    ca = ("-CAfile", str(certificates / "ca.crt"))
    assert s_client(cluster, *ca) == b""
    assert s_client(cluster, "-tls1_2", *ca) == b""


def test_a_renewed_certificate_is_taken(cluster: Cluster, certificates: Path) -> None:
    before = _certificate(cluster)
    directory = f"--certs-dir={certificates}"
    made = run(cluster, "", "certs", "create-node", "127.0.0.1", "--overwrite", directory)
    assert made.returncode == 0, made.stderr
    for pid in cluster.nodes().values():
        os.kill(pid, signal.SIGHUP)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while _certificate(cluster) == before:
        assert time.monotonic() < deadline, "the former certificate is still shown"
    assert run(cluster, certificates, "ls", "/").returncode == 0


def _certificate(cluster: Cluster) -> str:
    """The certificate that a node shows to anybody."""
    where = f"127.0.0.1:{cluster.port}"
    done = subprocess.run(
        ["openssl", "s_client", "-connect", where, "-showcerts"],
        input=b"",
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    text = done.stdout.decode(errors="replace")
    assert "-----BEGIN CERTIFICATE-----" in text
    return text.partition("-----BEGIN CERTIFICATE-----")[2].partition("-----END")[0]


def test_blocks_in_clear_on_proved_connections(tmp_path: Path) -> None:
    """With ``bulk = authenticated``, by TCP between all, and with a node less."""
    content, certificates = os.urandom(40 << 20), tmp_path / "certs"
    make_certificates(certificates, ("127.0.0.1",), USER)
    flags = [f"--certificates={certificates}", "--bulk=authenticated", "--socket-directory="]
    with (
        Processes(3, flags=flags) as cluster,
        memfs.connect(cluster.url, certificates=str(certificates)) as fs,
    ):
        fs.write_bytes("/file", content)
        assert fs.read_bytes("/file") == content
        status = run(cluster, certificates, "cluster", "status")
        assert "BLOCKS IN CLEAR" in status.stdout, status.stderr
        ways = fs.asynchronous._session.routing._blocks.values()
        assert {(each.peer.lane, each.certificate) for each in ways} == {("blocks", None)}
        cluster.nodes[1].kill()
        assert fs.read_bytes("/file") == content
        fs.write_bytes("/more", content)
        assert fs.read_bytes("/more") == content
        assert not any("blocks go under TLS" in node.story() for node in cluster.nodes)
