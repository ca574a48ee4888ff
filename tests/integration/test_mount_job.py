"""A job that knows nothing of memfs, on a mount: it reads its images and model, and writes back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from cli_cluster import Cluster, Command

from tests.support.mounts import mounted, need_mounts

EXAMPLE = Path(__file__).parents[2] / "examples" / "image_classifier.py"
IMAGES = 60


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_classifier_finds_on_a_mount_what_it_finds_on_a_disk(
    cli: Command, cluster: Cluster, tmp_path: Path
) -> None:
    need_mounts()
    disk = tmp_path / "disk"
    disk.mkdir()
    run(f"--generate={IMAGES}", str(disk))
    cli.ok("put", "-r", str(disk), "/classify")
    said = run(str(disk))
    with mounted(cluster.url, tmp_path, source="/classify") as here:
        assert run(str(here.root)) == said, "trained there"
        assert run(str(here.root)) == said, "with the model that is there"
        assert here.story() == ""
    assert int(said.partition("%")[0]) > 60, "a guess is right in one of four"
    results = sorted((disk / "results").iterdir())
    assert len(results) == 4
    for each in results:
        lines = cli.ok("cat", f"/classify/results/{each.name}")
        assert lines == each.read_text().splitlines() and len(lines) == IMAGES
