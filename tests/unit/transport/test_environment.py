"""The production environment: clocks that agree, files that are replaced whole."""

from __future__ import annotations

import time

from memfs.transport.environment import FileDisk, production_environment
from memfs.transport.payload_memory import fresh_memory


def test_clocks():
    clock = production_environment().clock
    assert abs(clock.monotonic() - time.monotonic()) < 1
    assert abs(clock.wall_ns() - time.time_ns()) < 1e9
    assert clock.boottime_ns() <= clock.boottime_ns()


def test_dice_differ():
    first, second = (production_environment().random.getrandbits(63) for _ in range(2))
    assert first != second


def test_disk(tmp_path):
    disk, path = FileDisk(), str(tmp_path / "log")
    assert disk.read(path) is None
    disk.append(path, b"one,")
    disk.append(path, b"two")
    assert disk.read(path) == b"one,two"
    disk.replace(path, b"three")
    assert disk.read(path) == b"three"
    assert [entry.name for entry in tmp_path.iterdir()] == ["log"]


def test_fresh_memory():
    for length in (0, 1, 100_000, 10_000_000):
        memory = fresh_memory(length)
        assert len(memory) == length
        assert not memory.readonly
