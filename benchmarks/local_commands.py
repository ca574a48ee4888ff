"""``memfs get`` and ``memfs cat`` of 3 GiB on the node's host, against cp and cat from tmpfs.

All of them are processes, and their beginning counts: each is started for one file, writes it to
tmpfs or into a pipe to another cat, and ends. The same commands are also compared with themselves
through sockets, which nobody should be better off with.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import memfs
from benchmarks import cluster, streams, tmpfs
from benchmarks.harness import Row, Scale, Stopwatch, alternate
from benchmarks.streams import MIB
from memfs.machine import module_command

PATH = "/file"
REMOTE = "[client]\nlocal_descriptors = false\n"


def run(scale: Scale) -> Iterator[Row]:
    """Into a file, then into a pipe."""
    size = scale.pick(3 * 1024 * MIB, 8 * MIB)
    content = streams.pieces(size)
    with (
        cluster.cluster(1) as url,
        tmpfs.tmpfs_file(content) as source,
        TemporaryDirectory(dir=tmpfs.SHARED_MEMORY, prefix="memfs-bench-") as directory,
    ):
        with memfs.connect(url, replication=1) as fs:
            streams.write_rate(partial(fs.open, PATH, "wb", 0), content)
        through_sockets = Path(directory) / "sockets.toml"
        through_sockets.write_text(REMOTE)
        plain = [*module_command("memfs.cli"), f"--url={url}"]
        remote = [*plain, f"--config={through_sockets}"]
        target = Path(directory) / "copy"
        pairs = (
            (["get", "-q", PATH, str(target)], ["cp", str(source), str(target)], copied),
            (["cat", PATH], ["cat", str(source)], piped),
        )
        for ours, theirs, rate in pairs:
            contenders: dict[str, Callable[[], float]] = {
                "ours": partial(rate, [*plain, *ours], target, size),
                "theirs": partial(rate, theirs, target, size),
                "sockets": partial(rate, [*remote, *ours], target, size),
            }
            rates = alternate(contenders, scale.rounds)
            row = f"memfs {ours[0]} of 3 GiB, same host", "MB/s", rates["ours"] / 1e6
            yield Row(*row, f"{theirs[0]} from tmpfs", rates["theirs"] / 1e6, 0.9)
            yield Row(*row, "through sockets", rates["sockets"] / 1e6, 1)


def copied(command: Sequence[str], target: Path, size: int) -> float:
    """Let ``command`` make ``target``, of ``size`` bytes; return bytes a second."""
    target.unlink(missing_ok=True)
    with Stopwatch() as watch:
        subprocess.run(command, check=True)
    assert target.stat().st_size == size
    return size / watch.seconds


def piped(command: Sequence[str], _target: Path, size: int) -> float:
    """Let ``command`` write into a pipe that cat(1) reads; return bytes a second."""
    with Stopwatch() as watch, subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        subprocess.run(["cat"], stdin=writer.stdout, stdout=subprocess.DEVNULL, check=True)
        assert writer.wait() == 0
    return size / watch.seconds
