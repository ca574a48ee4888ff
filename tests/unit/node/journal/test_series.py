"""Series of segments: rotation, dropping, failing disks, and what recovery makes of it all."""

from __future__ import annotations

import random

import pytest

from memfs.errors import ConfigError, DataLossError
from memfs.testing.simulation.disk import HostDisk
from memfs.testing.simulation.virtual import run

from .test_segment_format import bodies, record, series


def fill(writer, count, first=0):
    wanted = [b"%06d" % number * 20 for number in range(first, first + count)]
    for body in wanted:
        writer.commit([record(body)])
    return wanted


def test_segments_are_rotated_and_found_in_order():
    disk = HostDisk()
    writer = series(disk, segment_bytes=500)
    wanted = fill(writer, 20)
    assert len(writer.segments) > 5 and len(disk.files) == len(writer.segments)
    assert bodies(disk) == wanted
    assert writer.size == sum(map(len, disk.files.values()))


def test_writing_goes_on_in_a_new_segment():
    disk = HostDisk()
    wanted = fill(series(disk), 3)
    again = series(disk)
    again.recover()
    wanted += fill(again, 3, 10)
    assert len(disk.files) == 2 and bodies(disk) == wanted


def test_the_oldest_are_dropped():
    disk = HostDisk()
    writer = series(disk, segment_bytes=500)
    wanted = fill(writer, 20)
    writer.drop_oldest(2)
    found = bodies(disk)
    assert found == wanted[-len(found) :] and 0 < len(found) < 20


def test_a_missing_segment_is_noticed():
    disk = HostDisk()
    fill(series(disk, segment_bytes=500), 20)
    disk.remove(sorted(disk.files)[3])
    with pytest.raises(DataLossError, match="segment 4 is missing"):
        bodies(disk)


@pytest.mark.parametrize("which", [0, 2])
def test_a_segment_that_is_cut_short_is_noticed(which):
    disk = HostDisk()
    fill(series(disk, segment_bytes=500), 20)
    path = sorted(disk.files)[which]
    disk.open(path).truncate(len(disk.read(path)) - 1)
    with pytest.raises(DataLossError, match="damaged at byte") as caught:
        bodies(disk)
    assert caught.value.filename == path


def test_the_header_of_a_segment_that_was_synced_is_needed():
    disk = HostDisk()
    fill(series(disk), 3)
    (path,) = disk.files
    disk.damage(path, 20, b"\xff")
    with pytest.raises(DataLossError, match="header"):
        bodies(disk)


def test_a_segment_that_was_being_made_is_removed():
    disk = HostDisk()
    wanted = fill(series(disk), 2)
    again = series(disk)
    again.recover()
    fill(again, 1)
    path = sorted(disk.files)[1]
    disk.damage(path, 20, b"\xff")
    assert bodies(disk) == wanted and len(disk.files) == 1


def test_another_clusters_segments_are_refused():
    disk = HostDisk()
    fill(series(disk), 2)
    other = series(disk)
    other._cluster = "f" * 16
    with pytest.raises(ConfigError, match="of cluster 0123456789abcdef"):
        other.recover()


def test_a_full_disk_costs_the_batch_and_nothing_else():
    disk = HostDisk()
    writer = series(disk)
    wanted = fill(writer, 3)
    disk.capacity = disk.used + 50
    with pytest.raises(OSError):
        writer.commit([record(b"x" * 100)])
    assert bodies(disk) == wanted
    disk.capacity = None
    wanted += fill(writer, 2, 10)
    assert bodies(disk) == wanted and len(disk.files) == 1


def test_a_full_disk_at_the_start_of_a_segment():
    disk = HostDisk()
    writer = series(disk)
    disk.capacity = 20
    for _ in range(3):
        with pytest.raises(OSError):
            writer.commit([record(b"x" * 100)])
    disk.capacity = None
    wanted = fill(writer, 2)
    assert bodies(disk) == wanted


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("first", [0, 3])
def test_after_a_failed_sync_the_segment_is_given_up(seed, first):
    disk = HostDisk(random.Random(seed))
    writer = series(disk)
    wanted = fill(writer, first)
    disk.failing_syncs = 1
    with pytest.raises(OSError):
        writer.commit([record(b"lost" * 500)])
    wanted += fill(writer, 3, 100)
    disk.power_cut()
    assert bodies(disk) == wanted


@pytest.mark.parametrize("seed", range(200))
def test_power_cuts_leave_every_committed_batch(seed):
    run(cut_often(seed))


async def cut_often(seed):
    dice = random.Random(seed)
    disk = HostDisk(dice)
    wanted = []
    for _ in range(4):
        attempts = []
        writer = series(disk, segment_bytes=dice.choice([600, 5000]))
        writer._dice = dice
        writer.recover()
        for _ in range(dice.randrange(8)):
            batch = [dice.randbytes(dice.randrange(900)) for _ in range(dice.randrange(1, 5))]
            disk.failing_syncs = dice.random() < 0.1
            disk.capacity = disk.used + 300 if dice.random() < 0.1 else None
            try:
                writer.commit([record(body) for body in batch])
                wanted += batch
                attempts = []
            except OSError:
                attempts.append(batch)
        disk.capacity, disk.failing_syncs = None, 0
        batch = [dice.randbytes(dice.randrange(3000)) for _ in range(3)]

        def work(writer=writer, batch=batch):
            writer.commit([record(body) for body in batch])

        waiting = disk.run(work)
        if dice.random() < 0.7:
            waiting.send(None)
        disk.power_cut()
        waiting.close()
        found = bodies(disk)
        assert found[: len(wanted)] == wanted
        rest = found[len(wanted) :]
        tried = [*attempts, batch]
        assert any(rest == each[: len(rest)] for each in tried), "bytes that nobody wrote"
        wanted += rest


@pytest.mark.parametrize("seed", range(12))
def test_what_a_restarted_process_recovers_outlives_the_power_then(seed):
    """What a failed sync left is read from the cache: not on the disk until it is written anew."""
    disk = HostDisk(random.Random(seed))
    writer = series(disk)
    wanted = fill(writer, 3 * (seed % 2))
    disk.failing_syncs = 1
    with pytest.raises(OSError, match="fails to sync"):
        writer.commit([record(bytes([number]) * 2000) for number in range(3)])
    again = series(disk)
    found = sum(len(each.frames) for each in again.recover())
    assert found in (len(wanted), len(wanted) + 3)
    if found > len(wanted):
        wanted += [bytes([number]) * 2000 for number in range(3)]
    wanted += fill(again, 2, 10)
    disk.power_cut()
    assert bodies(disk) == wanted


def test_a_disk_that_fails_while_a_series_is_recovered_is_no_damage():
    disk = HostDisk()
    wanted = fill(series(disk), 3)
    disk.failing_syncs = 1
    with pytest.raises(OSError, match="fails to sync"):
        series(disk).recover()
    assert bodies(disk) == wanted
