"""Random operations on a mount, and on two of one directory, beside tmpfs: no difference."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_cluster import Cluster

from tests.support.mount_random import Comparison
from tests.support.mounts import mounted, need_mounts, tmpfs

STEPS = 700
STEPS_OF_TWO = 400


@pytest.mark.parametrize("seed", [1, 2])
def test_one_mount(seed: int, cluster: Cluster, tmp_path: Path) -> None:
    need_mounts()
    with mounted(cluster.url, tmp_path) as here, tmpfs(tmp_path) as oracle:
        top = here.root / f"one-{seed}"
        top.mkdir()
        Comparison(seed, [top], oracle).run(STEPS)
        assert here.story() == ""


def test_two_mounts_see_what_the_other_did(cluster: Cluster, tmp_path: Path) -> None:
    need_mounts()
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with (
        mounted(cluster.url, first) as one,
        mounted(cluster.url, second) as two,
        tmpfs(tmp_path) as oracle,
    ):
        (one.root / "both").mkdir()
        Comparison(3, [one.root / "both", two.root / "both"], oracle).run(STEPS_OF_TWO)
        assert one.story() + two.story() == ""
