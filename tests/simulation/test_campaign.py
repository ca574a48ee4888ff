"""Random faults on whole clusters: 100 seeds on all cores, and the seeds that once found a bug."""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys

import pytest

from tests.simulation.regressions import REGRESSIONS
from tests.support.campaign import play_seed, replay_command

SEEDS = 100
SHARDS = 10


@pytest.fixture(scope="module")
def played():
    """All seeds, being played by as many processes as there are cores."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(os.cpu_count(), gc.freeze) as pool:
        seeds = [*(seed for seed, _ in REGRESSIONS), *range(SEEDS)]
        yield {seed: pool.apply_async(play_seed, (seed,)) for seed in seeds}


def assert_clean(seed, result):
    assert not result.failures, f"{replay_command(seed)}\n" + "\n".join(result.failures[:3])


@pytest.mark.parametrize(("seed", "bug"), REGRESSIONS)
def test_a_bug_does_not_come_back(played, seed, bug):
    assert_clean(seed, played[seed].get())


@pytest.mark.parametrize("shard", range(SHARDS))
def test_nothing_acknowledged_is_lost(played, shard):
    for seed in range(shard * SEEDS // SHARDS, (shard + 1) * SEEDS // SHARDS):
        assert_clean(seed, played[seed].get())


def digest(seed, hash_seed):
    program = f"from tests.support.campaign import play_seed; print(play_seed({seed}).digest)"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("seed", [3, 9])
def test_one_seed_gives_one_trace_whatever_the_hash_seed(seed):
    assert digest(seed, "1") == digest(seed, "2") != digest(seed + 1, "1")


def test_a_seed_tells_its_story(tmp_path):
    story = tmp_path / "story.txt"
    command = [sys.executable, "-m", "tests.support.campaign", "--seed", "5", "--story", story]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nodes" in story.read_text().splitlines()[0]
    assert "view" in story.read_text() and "FAULT" in story.read_text()
