"""TensorFlow itself on ``memfs://``, in an environment of its own."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import memfs
from memfs.machine import module_command
from memfs.testing.processes import Processes
from tests.support.environments import (
    TOP,
    LibraryEnvironment,
    built_wheel,
    environment,
    unpacked_wheel,
)
from tests.support.etcd import EtcdCluster
from tests.support.patience import PATIENCE_SECONDS
from tests.support.spark_training import QUIET, TENSORFLOW

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]  # the first run makes the environment

BOARD = ("tensorboard==2.20.0", "fsspec==2026.9.0", "setuptools<81")
HERE = Path(__file__).parent

SEED = """
import tensorflow as tf, memfs.tensorflow
with tf.io.gfile.GFile("memfs:///hello.txt", "w") as w: w.write("Hello, world!")
with tf.io.gfile.GFile("memfs:///hello.txt", "r") as r: print(r.read())
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Processes]:
    with Processes(nodes=3, replication=2, memory="512MiB") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def tensorflow(installed: Path) -> LibraryEnvironment:
    return environment("tensorflow", TENSORFLOW, installed)


def test_nothing_but_the_import(
    tensorflow: LibraryEnvironment, cluster: Processes, tmp_path: Path
) -> None:
    said = tensorflow.run(["-c", SEED], tmp_path, MEMFS_URL=cluster.url, **QUIET)
    assert said.rstrip().endswith("Hello, world!")


def test_without_a_compiler(
    cluster: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wheel of a machine that cannot build the shim: it is pure, and TensorFlow takes it."""
    monkeypatch.setenv("CC", "no-compiler-of-this-name")
    wheel = built_wheel(tmp_path)
    assert wheel.name.endswith("-py3-none-any.whl")
    pure = unpacked_wheel(wheel)
    assert not list(pure.rglob("*.so"))
    said = environment("tensorflow", TENSORFLOW, pure).run(
        ["-c", SEED], tmp_path, MEMFS_URL=cluster.url, **QUIET
    )
    assert said.rstrip().endswith("Hello, world!")


def test_every_case(tensorflow: LibraryEnvironment, cluster: Processes, tmp_path: Path) -> None:
    """Operations beside TensorFlow's local file system, checkpoints, models, data, summaries."""
    said = tensorflow.run([HERE / "tensorflow_cases.py", cluster.url, tmp_path], tmp_path, **QUIET)
    assert said.count("\nok ") > 100


def test_the_document_and_the_examples(
    tensorflow: LibraryEnvironment, cluster: Processes, tmp_path: Path
) -> None:
    example = TOP / "examples" / "tensorflow_checkpoint.py"
    log = TOP / "examples" / "tensorboard_log.py"
    runs = [TOP / "docs" / "tensorflow.md", example, example, log]
    script = TOP / "tests" / "support" / "document_programs.py"
    said = tensorflow.run([script, *runs], tmp_path, MEMFS_URL=cluster.url, **QUIET)
    assert list(map(str.strip, said.splitlines()[-9:])) == [
        "Hello, world!",
        "1.0",
        "5",
        "(1, 1)",
        "13",
        "step 10 is saved in memfs:///checkpoints/example/ckpt-1",
        "step 20 is saved in memfs:///checkpoints/example/ckpt-2",
        "20 values are logged",
        "all ran",
    ]


def test_the_import_hook(
    tensorflow: LibraryEnvironment, installed: Path, cluster: Processes, tmp_path: Path
) -> None:
    """An environment of its own, which sees the packages of the one with TensorFlow."""
    subprocess.run([tensorflow.python, "-m", "venv", "--without-pip", "venv"], cwd=tmp_path)
    (site,) = tmp_path.glob("venv/lib/python*/site-packages")
    (packages,) = tensorflow.python.parents[1].glob("lib/python*/site-packages")
    (site / "packages.pth").write_text(f"{packages}\n")
    own = LibraryEnvironment(tmp_path / "venv" / "bin" / "python", installed)
    program = SEED.replace(", memfs.tensorflow", "")
    command = ["-m", "memfs.cli", "tensorflow-hook"]
    assert own.run([*command, "install"], tmp_path) == f"installed in {site}\n"
    said = own.run(["-c", program], tmp_path, MEMFS_URL=cluster.url, **QUIET)
    assert said.rstrip().endswith("Hello, world!")
    assert own.run([*command, "status"], tmp_path).startswith("installed")
    assert own.run([*command, "remove"], tmp_path) == f"not installed in {site}\n"
    with ended(own.start([*command, "status"], tmp_path)) as status:
        assert (status.wait(PATIENCE_SECONDS), list(site.glob("*hook*"))) == (1, [])


# --- nodes are killed ---------------------------------------------------------------------------


def until(condition: Callable[[], Any], *running: subprocess.Popen[str]) -> Any:
    """What the condition says once it says something; the processes must run meanwhile."""
    limit = time.monotonic() + PATIENCE_SECONDS
    while not (result := condition()):
        for process in running:
            if process.poll() is not None:
                raise AssertionError(process.communicate()[0])
        assert time.monotonic() < limit, "it did not come about"
        time.sleep(0.1)
    return result


@contextlib.contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    with process:
        try:
            yield process
        finally:
            process.kill()


def primary(fs: memfs.FileSystem, url: str) -> str:
    """Its name, once all four nodes are well and every block has its copies."""
    wait = ["--url", url, "cluster", "wait", "--nodes", "4", "--timeout", "90"]
    subprocess.run(module_command("memfs.cli", *wait), check=True)
    status = fs.cluster_status()
    names = {node.member.number: node.member.name for node in status.nodes}
    return names[status.view.primary]


def test_primaries_are_killed_amid_reads_writes_and_checkpoints(
    tensorflow: LibraryEnvironment, tmp_path: Path
) -> None:
    with (
        EtcdCluster(members=1) as etcd,
        Processes(nodes=4, replication=2, memory="512MiB", coordinator=etcd.url) as cluster,
        memfs.connect(cluster.url) as fs,
    ):
        script = HERE / "tensorflow_failures.py"
        run = tensorflow.start([script], tmp_path, MEMFS_URL=cluster.url, **QUIET)
        with ended(run):
            for stage in ("reading", "writing", "saving"):
                until((tmp_path / stage).exists, run)
                victim = [node.name for node in cluster.nodes].index(primary(fs, cluster.url))
                cluster.nodes[victim].kill()
                (tmp_path / f"killed-{stage}").touch()
                cluster.restart(victim).wait_ready(time.monotonic() + PATIENCE_SECONDS)
            said, _ = run.communicate(timeout=PATIENCE_SECONDS)
        assert run.returncode == 0 and said.rstrip().endswith("all as it was written"), said


# --- TensorBoard --------------------------------------------------------------------------------


class Board:
    """A TensorBoard that runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if found := re.search(r" at (http://\S+)", line):
                self._url = found[1]
                return
        raise AssertionError(said)

    def steps(self, run: str) -> list[int]:
        """Of the scalar ``loss``, as far as it is known."""
        question = f"data/plugin/scalars/scalars?tag=loss&run={run}"
        with contextlib.suppress(OSError), urllib.request.urlopen(self._url + question) as answer:
            return [step for _, step, _ in json.load(answer)]
        return []


def test_tensorboards_follow_a_training(
    tensorflow: LibraryEnvironment, installed: Path, cluster: Processes, tmp_path: Path
) -> None:
    """With TensorFlow and without it, each in a process of its own; a node is killed meanwhile."""
    variables = {"MEMFS_URL": cluster.url, **QUIET}
    train = [HERE / "tensorflow_trainer.py", "memfs:///logs/one"]
    watch = ["-m", "tensorboard.main", "--logdir=memfs:///logs", "--host=127.0.0.1", "--port=0"]
    light = environment("tensorboard", BOARD, installed)
    with (
        ended(tensorflow.start(train, tmp_path, **variables)) as training,
        ended(tensorflow.start(watch, tmp_path, **variables)) as full,
        ended(light.start(watch, tmp_path, **variables)) as small,
    ):
        running = training, full, small
        boards = Board(full), Board(small)
        for board in boards:
            seen = until(lambda board=board: board.steps("one"), *running)
            assert seen[0] == 0 and seen == sorted(seen)
        cluster.nodes[2].kill()
        last = until(lambda: boards[0].steps("one")[-1:], *running)[0]
        for board in boards:
            until(lambda board=board: board.steps("one")[-1:] > [last + 20], *running)
        cluster.restart(2).wait_ready(time.monotonic() + PATIENCE_SECONDS)
        (tmp_path / "end").touch()
        said, _ = training.communicate(timeout=PATIENCE_SECONDS)
        assert training.returncode == 0, said
