"""``memfs keygen``, ``sign`` and ``verify``, and commands on files with a key, as processes."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from pathlib import Path

from memfs.testing.in_process import Cluster
from tests.support.patience import PATIENCE_SECONDS


async def test_commands_with_keys(tmp_path: Path) -> None:
    key, signing = tmp_path / "seal.key", tmp_path / "sign.key"
    local = tmp_path / "report"
    local.write_bytes(os.urandom(300_000))
    async with Cluster(nodes=1, replication=1) as cluster:

        async def run(*arguments: object, sealed: bool = False) -> subprocess.CompletedProcess[str]:
            environ = {**os.environ, "MEMFS_URL": cluster.url}
            if sealed:
                environ["MEMFS_CLIENT_ENCRYPTION_KEY_FILE"] = str(key)
            command = [sys.executable, "-m", "memfs.cli", *map(str, arguments)]
            return await asyncio.to_thread(
                subprocess.run,
                command,
                env=environ,
                capture_output=True,
                text=True,
                timeout=PATIENCE_SECONDS,
            )

        assert (await run("keygen", key)).returncode == 0
        assert (await run("keygen", "--signing", signing)).returncode == 0
        assert "exists" in (await run("keygen", key)).stderr
        assert stat.S_IMODE(key.stat().st_mode) == stat.S_IMODE(signing.stat().st_mode) == 0o600

        assert (await run("put", local, "/report", sealed=True)).returncode == 0
        back = tmp_path / "back"
        assert (await run("get", "/report", back, sealed=True)).returncode == 0
        assert back.read_bytes() == local.read_bytes()
        assert (await run("get", "/report", tmp_path / "raw")).returncode == 0
        assert local.read_bytes()[:64] not in (tmp_path / "raw").read_bytes()

        signed = await run("sign", "--key", signing, "/report")
        assert (signed.returncode, signed.stdout[:18]) == (0, "/report: version 1")
        verify = ("verify", "--key", f"{signing}.pub", "/report")
        assert (await run(*verify)).stdout == "/report: OK, version 1\n"
        assert (await run("truncate", "-s", "100", "/report", sealed=True)).returncode == 0
        refused = await run(*verify)
        assert refused.returncode == 1 and "not what was signed" in refused.stderr
