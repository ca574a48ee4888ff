"""Hosts on one machine: what one sends the other, and that nothing stays behind."""

from __future__ import annotations

import subprocess

from tests.support.hosts import Hosts


def test_namespaces_are_there_and_then_gone(capsys):
    obstacle = Hosts.obstacle()
    if obstacle:
        with capsys.disabled():
            print(f"\nnetwork namespaces were not tried: {obstacle}")
        return
    with Hosts() as hosts:
        first, second = hosts.add("first"), hosts.add("second")
        assert _reaches(second.command, first.address)
        hosts.block("second", "first")
        assert not _reaches(second.command, first.address)
        assert _reaches((), first.address)
        hosts.heal()
        assert _reaches(second.command, first.address)
        names = {first.namespace, second.namespace}
        assert names <= _namespaces()
    assert not names & _namespaces()


def _namespaces():
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    return {line.split()[0] for line in listed.stdout.splitlines()}


def _reaches(command, address):
    """Whether a connection is refused (somebody is there) rather than lost."""
    program = (
        "import socket, sys\n"
        "try:\n"
        f"    socket.create_connection(('{address}', 9), 0.5)\n"
        "except ConnectionRefusedError:\n"
        "    sys.exit(0)\n"
        "except OSError:\n"
        "    sys.exit(1)\n"
    )
    return subprocess.run([*command, "python3", "-c", program]).returncode == 0
