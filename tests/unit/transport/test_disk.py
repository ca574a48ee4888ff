"""Both disks behave alike; and what a power cut leaves on the simulated one."""

from __future__ import annotations

import errno
import random
import subprocess
import sys

import pytest

from memfs.testing.simulation.disk import HostDisk
from memfs.testing.simulation.virtual import run
from memfs.transport.disk import FileDisk


@pytest.fixture(params=["files", "simulated"])
def disk(request):
    return FileDisk() if request.param == "files" else HostDisk()


def test_small_durable_files(disk, tmp_path):
    path = str(tmp_path / "file")
    assert disk.read(path) is None
    disk.append(path, b"ab")
    disk.append(path, b"cd")
    assert disk.read(path) == b"abcd"
    disk.replace(path, b"x")
    assert disk.read(path) == b"x"


def test_scattered_writes_and_reads(disk, tmp_path):
    file = disk.open(str(tmp_path / "file"), create=True)
    pieces = [bytes([number % 251]) * (number % 7) for number in range(3000)]
    file.write(pieces, 5)
    file.sync()
    whole = bytes(5) + b"".join(pieces)
    assert file.size() == len(whole) and file.read(0, 1 << 20) == whole
    first, second = bytearray(100), bytearray(len(whole))
    views = [memoryview(first), memoryview(second)]
    assert file.read_into(views, 3) == len(whole) - 3
    assert bytes(first) == whole[3:103] and bytes(second[: len(whole) - 103]) == whole[103:]
    file.truncate(7)
    assert file.read(0, 100) == whole[:7]
    file.close()


def test_names(disk, tmp_path):
    top = str(tmp_path / "d")
    assert disk.names(top) == []
    disk.make_directory(top)
    with pytest.raises(FileNotFoundError):
        disk.open(f"{top}/a")
    disk.append(f"{top}/a", b"1")
    disk.append(f"{top}/b", b"2")
    disk.rename(f"{top}/a", f"{top}/b")
    assert disk.names(top) == ["b"] and disk.read(f"{top}/b") == b"1"
    disk.remove(f"{top}/b")
    disk.remove(f"{top}/b")
    disk.sync_directory(top)
    assert disk.names(top) == []


def test_a_reserve_occupies_room(disk, tmp_path):
    path = str(tmp_path / "reserve")
    disk.reserve(path, 8192)
    assert disk.open(path).size() == 8192


def test_a_lock_is_exclusive(disk, tmp_path):
    path = str(tmp_path / "lock")
    lock = disk.lock(path)
    assert lock is not None
    assert disk.lock(path) is None
    lock.release()
    again = disk.lock(path)
    assert again is not None
    again.release()


def test_a_lock_excludes_other_processes(tmp_path):
    path = str(tmp_path / "lock")
    program = f"from memfs.transport.disk import FileDisk; print(FileDisk().lock({path!r}) is None)"

    def other():
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        return done.stdout.strip()

    lock = FileDisk().lock(path)
    assert lock is not None and other() == "True"
    lock.release()
    assert other() == "False"


async def test_work_runs_elsewhere_and_its_error_arrives():
    disk = FileDisk()
    assert await disk.run(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await disk.run(lambda: 1 // 0)


# --- the simulated one only ------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_a_power_cut_keeps_what_was_synced(seed):
    disk = HostDisk(random.Random(seed))
    file = disk.open("/d/file", create=True)
    file.write([b"s" * 5000], 0)
    file.sync()
    disk.sync_directory("/d")
    file.write([b"u" * 5000], 5000)
    disk.open("/d/unnamed", create=True).write([b"x"], 0)
    disk.power_cut()
    left = disk.read("/d/file")
    assert left[:5000] == b"s" * 5000 and set(left[5000:]) <= set(b"u\0")
    assert disk.names("/d") == ["file"]


def test_power_cuts_tear_in_every_way():
    kinds = set()
    for seed in range(60):
        disk = HostDisk(random.Random(seed))
        disk.append("/d/file", b"")
        disk.open("/d/file").write([b"u" * 5120], 0)
        disk.power_cut()
        left = disk.read("/d/file")
        kinds.add(
            "none"
            if not left
            else "whole"
            if left == b"u" * 5120
            else "holes"
            if 0 in left
            else "beginning"
        )
    assert kinds == {"none", "whole", "holes", "beginning"}


def test_work_under_way_is_torn_by_the_cut():
    async def main():
        torn = set()
        for seed in range(40):
            disk = HostDisk(random.Random(seed))
            disk.append("/d/file", b"")

            def work(disk=disk):
                file = disk.open("/d/file")
                file.write([b"u" * 5120], 0)
                file.sync()

            waiting = disk.run(work)
            waiting.send(None)
            disk.power_cut()
            waiting.close()
            torn.add(len(disk.read("/d/file").strip(b"\0")))
        return torn

    assert len(run(main())) > 3


def test_a_full_disk_takes_what_fits():
    disk = HostDisk()
    disk.capacity = 100
    file = disk.open("/d/file", create=True)
    file.write([b"x" * 60], 0)
    with pytest.raises(OSError) as caught:
        file.write([b"y" * 60], 60)
    assert caught.value.errno == errno.ENOSPC and file.size() == 100
    file.write([b"z" * 40], 60)
    file.truncate(10)
    with pytest.raises(OSError):
        disk.reserve("/d/reserve", 91)
    disk.reserve("/d/reserve", 90)


def test_a_failed_sync_saves_nothing_for_certain():
    losses = 0
    for seed in range(20):
        disk = HostDisk(random.Random(seed))
        disk.append("/d/file", b"")
        file = disk.open("/d/file")
        file.write([b"u" * 5120], 0)
        disk.failing_syncs = 1
        with pytest.raises(OSError):
            file.sync()
        file.sync()
        assert file.read(0, 9999) == b"u" * 5120
        disk.power_cut()
        losses += disk.read("/d/file") != b"u" * 5120
    assert losses > 5, "a second sync saves nothing that the first one lost"
