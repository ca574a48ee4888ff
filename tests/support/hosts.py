"""Several hosts on one machine: network namespaces on a bridge, and what can go wrong between them.

Owns the namespaces, their addresses and the packet filters in them. The bridge lies in a namespace
of its own, since the machine's packet filter may drop what it does not know; this process has an
address on it too, and so reaches every host. Needs root, ``ip`` and ``iptables``. Invariants: no
namespace outlives :meth:`Hosts.close`, and those of a process that died are removed by the next
one; a host's filter only ever drops what arrives, so each direction is cut by itself.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from memfs.testing.started import Started

_PREFIX = "memfs-"
_COMMAND_SECONDS = 20.0


class Host(NamedTuple):
    """One namespace."""

    name: str
    namespace: str
    address: str

    @property
    def command(self) -> tuple[str, ...]:
        """What runs a command there; it becomes the process itself, under the same pid."""
        return ("ip", "netns", "exec", self.namespace)


class Hosts(Started):
    """``with Hosts() as hosts: host = hosts.add("node-1")``."""

    def __init__(self) -> None:
        """Nothing exists before :meth:`open`."""
        self.hosts: dict[str, Host] = {}
        pid = os.getpid()
        self._stem = f"{_PREFIX}{pid}-"
        self._net = f"10.{200 + pid % 50}.{pid // 50 % 250}"
        self._bridge = f"{self._stem}bridge"
        self._outside = f"mf{pid}"

    @property
    def address(self) -> str:
        """Of this process, as the hosts see it."""
        return f"{self._net}.254"

    @staticmethod
    def obstacle() -> str:
        """Why there can be no namespaces here; empty: there can."""
        if os.geteuid() != 0:
            return "network namespaces need root"
        missing = [tool for tool in ("ip", "iptables") if shutil.which(tool) is None]
        if missing:
            return f"{' and '.join(missing)} not found (Debian: iproute2, iptables)"
        name = f"{_PREFIX}{os.getpid()}-try"
        try:
            _run("ip", "netns", "add", name)
            try:
                _run("ip", "netns", "exec", name, "iptables", "-A", "INPUT", "-j", "ACCEPT")
            finally:
                _run("ip", "netns", "del", name)
        except RuntimeError as error:
            return f"network namespaces do not work here: {error}"
        return ""

    # --- life --------------------------------------------------------------------------------

    def set_up(self) -> None:
        """Make the bridge and this process's way onto it."""
        self._sweep()
        inside = f"{self._outside}b"
        bridge = ("ip", "-n", self._bridge, "link")
        _run("ip", "netns", "add", self._bridge)
        _run(*bridge, "add", "bridge", "type", "bridge")
        _run(*bridge, "set", "bridge", "up")
        _run("ip", "link", "add", self._outside, "type", "veth", "peer", inside)
        _run("ip", "link", "set", inside, "netns", self._bridge)
        _run(*bridge, "set", inside, "master", "bridge", "up")
        _run("ip", "addr", "add", f"{self.address}/24", "dev", self._outside)
        _run("ip", "link", "set", self._outside, "up")

    def add(self, name: str) -> Host:
        """One more host, reachable from all others."""
        number = len(self.hosts) + 1
        assert number < 250, "the network is full"
        host = Host(name, f"{self._stem}{name}", f"{self._net}.{number}")
        self.hosts[name] = host
        near, far = f"e{number}", f"p{number}"
        _run("ip", "netns", "add", host.namespace)
        _run("ip", "-n", host.namespace, "link", "add", near, "type", "veth", "peer", far)
        _run("ip", "-n", host.namespace, "link", "set", far, "netns", self._bridge)
        _run("ip", "-n", self._bridge, "link", "set", far, "master", "bridge", "up")
        _run("ip", "-n", host.namespace, "addr", "add", f"{host.address}/24", "dev", near)
        for device in ("lo", near):
            _run("ip", "-n", host.namespace, "link", "set", device, "up")
        return host

    def close(self) -> None:
        """Remove everything; what still runs there keeps its namespace without a network."""
        for name in [*(host.namespace for host in self.hosts.values()), self._bridge]:
            with contextlib.suppress(RuntimeError):
                _run("ip", "netns", "del", name)
        with contextlib.suppress(RuntimeError):
            _run("ip", "link", "del", self._outside)
        self.hosts.clear()

    def _sweep(self) -> None:
        """Remove what processes left that did not end in good order, what runs there included."""
        for line in _run("ip", "netns", "list").splitlines():
            name = line.split()[0]
            pid = name.removeprefix(_PREFIX).split("-")[0]
            if name.startswith(_PREFIX) and pid.isdigit() and not Path(f"/proc/{pid}").exists():
                with contextlib.suppress(RuntimeError, ProcessLookupError):
                    for inside in _run("ip", "netns", "pids", name).split():
                        os.kill(int(inside), signal.SIGKILL)
                    _run("ip", "netns", "del", name)

    # --- faults ------------------------------------------------------------------------------

    def block(self, source: str, target: str) -> None:
        """Drop what travels from one host to another; the other way still works."""
        self._filter(target, "-A", "-s", self.hosts[source].address, "-j", "DROP")

    def block_outside(self, name: str) -> None:
        """Drop what this process, with its clients, sends to a host."""
        self._filter(name, "-A", "-s", self.address, "-j", "DROP")

    def unblock(self, source: str, target: str) -> None:
        """Undo one :meth:`block`."""
        self._filter(target, "-D", "-s", self.hosts[source].address, "-j", "DROP")

    def isolate(self, names: Iterable[str], others: Iterable[str] | None = None) -> None:
        """Cut hosts off from ``others`` (all the rest by default), both ways."""
        inside = list(names)
        rest = others if others is not None else [name for name in self.hosts if name not in inside]
        for outer in rest:
            for inner in inside:
                self.block(inner, outer)
                self.block(outer, inner)

    def lose(self, name: str, share: float) -> None:
        """Drop packets that arrive at a host at random."""
        chance = ("-m", "statistic", "--mode", "random", "--probability", f"{share:.3f}")
        self._filter(name, "-A", *chance, "-j", "DROP")

    def slow(self, name: str, bytes_per_second: int) -> None:
        """Limit what a host sends."""
        rate = f"{bytes_per_second * 8}bit"
        shape = ("tbf", "rate", rate, "burst", "32kbit", "latency", "400ms")
        device = f"e{list(self.hosts).index(name) + 1}"
        _run(
            *("ip", "netns", "exec", self.hosts[name].namespace),
            *("tc", "qdisc", "replace", "dev", device, "root", *shape),
        )

    def heal(self) -> None:
        """All links work again."""
        for number, host in enumerate(self.hosts.values(), 1):
            self._filter(host.name, "-F")
            with contextlib.suppress(RuntimeError):  # there is none to delete
                inside = ("ip", "netns", "exec", host.namespace)
                _run(*inside, "tc", "qdisc", "del", "dev", f"e{number}", "root")

    def _filter(self, name: str, action: str, *rule: str) -> None:
        namespace = self.hosts[name].namespace
        _run("ip", "netns", "exec", namespace, "iptables", action, "INPUT", *rule)


def _run(*command: str) -> str:
    """What a command prints. Raises RuntimeError with what it complains about."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_COMMAND_SECONDS, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        text = (done.stderr or done.stdout).strip()
        raise RuntimeError(f"{' '.join(command)}: {text}")
    return done.stdout
