"""A real etcd cluster on loopback, for tests of the coordinator and of whole clusters.

Owns the member processes, each signalled by its own pid, their data and their logs. Needs no event
loop: use it with ``with``. Invariants: no member outlives the block; the data lies on a disk (an
etcd whose members forget what they promised is no etcd).
"""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memfs.paths import Endpoint
from memfs.testing.ports import free_port
from memfs.testing.started import Started
from tests.support.certificates import Certificates
from tests.support.debian import cache_directory
from tests.support.etcd_package import etcd_binaries
from tests.support.patience import PATIENCE_SECONDS

_REQUEST_SECONDS = 1.0
_STOP_SECONDS = 5.0
_LOG_TAIL = 4_000
_HEARTBEAT_MS, _ELECTION_MS = 50, 500  # loopback: a leader is replaced within 1 s


class EtcdMember:
    """One ``etcd`` process; it can be started again on its data."""

    def __init__(self, name: str, command: Sequence[str], log: Path, endpoint: Endpoint) -> None:
        """Nothing runs before :meth:`start`."""
        self.name = name
        self.endpoint = endpoint
        self.paused = False
        self._command = list(command)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id while it runs, else 0."""
        return self._process.pid if self._process is not None and self.running else 0

    @property
    def running(self) -> bool:
        """Started and not ended; a paused one runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, or start it again after :meth:`kill` or :meth:`stop`."""
        assert not self.running, f"{self.name} runs already"
        self.paused = False
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """End it like a crash (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """End it in good order (SIGTERM), by force if that takes too long."""
        if self._process is None or not self.running:
            return
        self.resume()
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def pause(self) -> None:
        """SIGSTOP: it holds its connections and says nothing."""
        if self._process is not None and self.running:
            self._process.send_signal(signal.SIGSTOP)
            self.paused = True

    def resume(self) -> None:
        """SIGCONT."""
        if self._process is not None and self.running:
            self._process.send_signal(signal.SIGCONT)
        self.paused = False

    def story(self) -> str:
        """The end of its log."""
        with contextlib.suppress(FileNotFoundError):
            return self._log.read_text(errors="replace")[-_LOG_TAIL:]
        return ""


class EtcdCluster(Started):
    """``with EtcdCluster(members=3) as etcd: ... etcd.url``.

    The members' data lies in a temporary directory beside the downloads, or in ``directory``.
    """

    def __init__(
        self,
        members: int = 3,
        *,
        directory: Path | None = None,
        certificates: Certificates | None = None,
        flags: Sequence[str] = (),
    ) -> None:
        """Args: ``certificates`` make the members demand TLS and a client certificate."""
        self._binaries = etcd_binaries()
        self._certificates = certificates
        self._temporary = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix="etcd-", dir=cache_directory()))
        self.directory.mkdir(parents=True, exist_ok=True)
        _assert_on_disk(self.directory)
        ports = [free_port() for _ in range(2 * members)]
        peers = {f"etcd-{n + 1}": f"http://127.0.0.1:{port}" for n, port in enumerate(ports[::2])}
        self.members = [
            self._member(name, peers, Endpoint("127.0.0.1", port), flags)
            for name, port in zip(peers, ports[1::2], strict=True)
        ]

    def _member(
        self, name: str, peers: dict[str, str], client: Endpoint, flags: Sequence[str]
    ) -> EtcdMember:
        url = f"{self._scheme}://{client}"
        command = [
            str(self._binaries / "etcd"),
            f"--name={name}",
            f"--data-dir={self.directory / name}",
            f"--listen-peer-urls={peers[name]}",
            f"--initial-advertise-peer-urls={peers[name]}",
            f"--listen-client-urls={url}",
            f"--advertise-client-urls={url}",
            f"--initial-cluster={','.join(f'{n}={u}' for n, u in peers.items())}",
            "--initial-cluster-state=new",
            "--log-level=warn",
            f"--heartbeat-interval={_HEARTBEAT_MS}",
            f"--election-timeout={_ELECTION_MS}",
            *flags,
        ]
        if self._certificates is not None:
            command += [
                f"--cert-file={self._certificates.server_certificate}",
                f"--key-file={self._certificates.server_key}",
                f"--trusted-ca-file={self._certificates.authority}",
                "--client-cert-auth",
            ]
        return EtcdMember(name, command, self.directory / f"{name}.log", client)

    # --- life --------------------------------------------------------------------------------

    def set_up(self) -> None:
        """Start the members, and wait until they serve."""
        for member in self.members:
            member.start()
        self.wait_healthy()

    def wait_healthy(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Until every member that runs serves. Raises RuntimeError with the logs."""
        deadline = time.monotonic() + seconds
        for member in [m for m in self.members if m.running and not m.paused]:
            while not self._is_healthy(member):
                if not member.running or time.monotonic() > deadline:
                    raise RuntimeError(f"{member.name} is not healthy; logs:\n{self.story()}")
                time.sleep(0.05)

    def close(self) -> None:
        """Kill what runs and remove the temporary directory."""
        for member in self.members:
            member.kill()
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)

    def story(self) -> str:
        """The ends of all logs."""
        return "\n".join(f"--- {member.name}\n{member.story()}" for member in self.members)

    # --- faults ------------------------------------------------------------------------------

    def start(self, index: int) -> None:
        """Start a member again on its data."""
        self.members[index].start()

    def kill(self, index: int) -> None:
        """SIGKILL a member."""
        self.members[index].kill()

    def stop(self, index: int) -> None:
        """SIGTERM a member."""
        self.members[index].stop()

    def pause(self, index: int) -> None:
        """SIGSTOP a member."""
        self.members[index].pause()

    def resume(self, index: int) -> None:
        """SIGCONT a member."""
        self.members[index].resume()

    # --- what it says ------------------------------------------------------------------------

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where clients connect, in the order of :attr:`members`."""
        return tuple(member.endpoint for member in self.members)

    @property
    def url(self) -> str:
        """For ``memfs node --coordinator``."""
        scheme = "etcds" if self._certificates is not None else "etcd"
        return f"{scheme}://" + ",".join(map(str, self.endpoints))

    def leader(self) -> int:
        """Index of the leader. Raises RuntimeError while none is known."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            for index, member in enumerate(self.members):
                status = self._ask(member, "/v3/maintenance/status", {})
                leader = status and status.get("leader", "0")
                if leader and leader != "0" and leader == status["header"]["member_id"]:
                    return index
            time.sleep(0.05)
        raise RuntimeError(f"etcd has no leader; logs:\n{self.story()}")

    def control(self, *arguments: str) -> str:
        """Run ``etcdctl`` against all members; what it prints."""
        urls = ",".join(f"{self._scheme}://{endpoint}" for endpoint in self.endpoints)
        command = [str(self._binaries / "etcdctl"), f"--endpoints={urls}"]
        if self._certificates is not None:
            command += [
                f"--cacert={self._certificates.authority}",
                f"--cert={self._certificates.client_certificate}",
                f"--key={self._certificates.client_key}",
            ]
        done = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, timeout=PATIENCE_SECONDS
        )
        if done.returncode:
            raise RuntimeError(f"etcdctl {' '.join(arguments)}: {done.stderr or done.stdout}")
        return done.stdout

    def value(self, key: str) -> bytes | None:
        """What is stored under a key, read past the code under test; None when nothing is."""
        encoded = base64.b64encode(key.encode()).decode()
        for member in self.members:
            reply = self._ask(member, "/v3/kv/range", {"key": encoded})
            if reply is not None:
                found = reply.get("kvs")
                return base64.b64decode(found[0]["value"]) if found else None
        raise RuntimeError("no member of etcd answers")

    # --- internals ---------------------------------------------------------------------------

    @property
    def _scheme(self) -> str:
        return "https" if self._certificates is not None else "http"

    def _is_healthy(self, member: EtcdMember) -> bool:
        reply = self._ask(member, "/health", None)
        return reply is not None and reply.get("health") == "true"

    def _ask(self, member: EtcdMember, path: str, body: dict[str, Any] | None) -> Any:
        """The JSON that a member answers; None when it does not."""
        if not member.running or member.paused:
            return None
        data = None if body is None else json.dumps(body).encode()
        url = f"{self._scheme}://{member.endpoint}{path}"
        context: ssl.SSLContext | None = None
        if self._certificates is not None:
            context = self._certificates.client_context()
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        try:
            with opener.open(
                urllib.request.Request(url, data=data), timeout=_REQUEST_SECONDS
            ) as reply:
                return json.load(reply)
        except (OSError, ValueError):
            return None


def _assert_on_disk(directory: Path) -> None:
    """Refuse a directory in RAM."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    resolved = directory.resolve()
    holding = [m for m in mounts if resolved.is_relative_to(m[1])]
    kind = max(holding, key=lambda mount: len(mount[1]))[2]
    if kind in ("tmpfs", "ramfs"):
        raise RuntimeError(f"{directory} lies in RAM ({kind}); etcd needs a disk")
