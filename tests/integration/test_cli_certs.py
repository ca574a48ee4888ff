"""``memfs certs`` as an operator types it: files, their modes, and what OpenSSL says of them."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

from memfs.machine import module_command
from tests.support.debian import program
from tests.support.patience import PATIENCE_SECONDS


def certs(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = module_command("memfs.cli", "certs", *arguments, f"--certs-dir={directory}")
    return subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )


def test_an_authority_a_node_and_a_user(tmp_path: Path) -> None:
    directory = tmp_path / "certs"
    for arguments in (
        ["create-ca"],
        ["create-node", "localhost", "127.0.0.1"],
        ["create-client", "ann"],
    ):
        done = certs(directory, *arguments)
        assert done.returncode == 0, done.stderr
    found = {each.name: stat.S_IMODE(each.stat().st_mode) for each in directory.iterdir()}
    keys = {name for name in found if name.endswith(".key")}
    assert keys == {"ca.key", "node.key", "client.ann.key"}
    assert {found[name] for name in keys} == {0o600}
    for name in ("node.crt", "client.ann.crt"):
        command = [program("openssl", "openssl"), "verify", "-CAfile", "ca.crt", name]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
        assert done.stdout == f"{name}: OK\n", done.stderr
    again = certs(directory, "create-ca")
    assert again.returncode == 2 and "--overwrite" in again.stderr
