"""The first minutes of a normal user: the page about them runs as it stands."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from memfs.machine import module_command
from memfs.testing.processes import Processes
from tests.support.patience import PATIENCE_SECONDS

DOCS = Path(__file__).parents[2] / "docs"
GATEWAY = "gateway:9870"
FLAGS = ("--superuser=memfs", "--standard-directories")


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[str, str]]:
    """The URL of a new cluster with its standard directories, and ``host:port`` of a gateway."""
    with Processes(nodes=1, replication=1, flags=FLAGS) as nodes:
        command = module_command("memfs.cli", "gateway", f"--url={nodes.url}", "--port=0")
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as gateway:
            assert gateway.stdout is not None
            try:
                ready = gateway.stdout.readline()
                yield nodes.url, ready.split()[-1].removeprefix("webhdfs://").rstrip("/")
            finally:
                gateway.terminate()


def shell_blocks(page: str) -> list[str]:
    """The commands of a page, block by block."""
    return re.findall(r"^```sh\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


def run(script: str, cluster: tuple[str, str], directory: Path) -> subprocess.CompletedProcess[str]:
    url, gateway = cluster
    programs = Path(sys.executable).parent
    return subprocess.run(
        ["bash", "-euxc", script.replace(GATEWAY, gateway)],
        cwd=directory,
        env=os.environ
        | {
            "MEMFS_URL": url,
            "MEMFS_CONFIG": os.devnull,
            "PATH": f"{programs}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def test_the_page_runs_from_its_first_line_to_its_last(
    cluster: tuple[str, str], tmp_path: Path
) -> None:
    done = run("\n".join(shell_blocks("first-steps.md")), cluster, tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^drwxrwxrwt .* tmp$", done.stdout, re.MULTILINE)
    assert re.search(r"^drwxr-xr-x .* user$", done.stdout, re.MULTILINE)
    assert done.stdout.count("hello\n") == 2, "read by HTTP and by the command"


def test_the_first_lines_for_http_work_for_a_normal_user(
    cluster: tuple[str, str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("hello\n")
    (lines,) = [block for block in shell_blocks("hadoop-spark.md") if "op=CREATE" in block]
    again = "memfs rm --force --user me /tmp/file\n" + lines.replace("curl ", "curl --fail ")
    done = run(again, cluster, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "hello\n" * 2


def test_the_root_is_the_superusers(cluster: tuple[str, str], tmp_path: Path) -> None:
    done = run("memfs mkdir --user me /data", cluster, tmp_path)
    assert done.returncode == 1
    (told,) = [line for line in done.stderr.splitlines() if not line.startswith("+")]
    page = (DOCS / "first-steps.md").read_text()
    assert told in page
    done = run(
        "curl -X PUT 'http://gateway:9870/webhdfs/v1/data?op=MKDIRS&user.name=me'",
        cluster,
        tmp_path,
    )
    message = str(json.loads(done.stdout)["RemoteException"]["message"])
    said, _, owners = message.rpartition('"')  # who started the cluster owns it
    assert json.dumps(said + '"')[1:-1] in page
    assert owners.endswith(":drwxr-xr-x")
