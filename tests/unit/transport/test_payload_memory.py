"""Memory of replies is used again, and never while somebody looks at it."""

from __future__ import annotations

import multiprocessing
import re
import threading
from pathlib import Path

import numpy
import pytest

from memfs.limits import KIB, MIB
from memfs.transport import payload_memory
from memfs.transport.payload_memory import KEPT, WARM, fresh_memory, reply_memory


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    payload_memory._warm.clear()
    payload_memory._cold.clear()


def address(view: memoryview) -> int:
    return int(numpy.frombuffer(view, numpy.uint8).ctypes.data)


@pytest.mark.parametrize("length", [0, 1, 256 * KIB - 1, 256 * KIB, 3 * MIB, 8 * MIB, 8 * MIB + 1])
def test_it_is_as_long_as_it_was_asked_for(length: int) -> None:
    for memory in (fresh_memory(length), reply_memory(length)):
        assert memory.nbytes == len(memory) == length and memory.format == "B"
        memory[:] = bytes(length)
        assert not memory.readonly


def test_what_nobody_looks_at_is_used_again() -> None:
    first = reply_memory(3 * MIB)
    where = address(first)
    del first
    assert address(reply_memory(4 * MIB)) == where
    assert address(reply_memory(MIB)) != where


def test_what_somebody_looks_at_is_not() -> None:
    first = reply_memory(MIB)
    first[:] = b"1" * MIB
    part = first.toreadonly()[1000:2000]
    array = numpy.frombuffer(part, numpy.uint8)
    del first, part
    for _ in range(3):
        other = reply_memory(MIB)
        other[:] = b"2" * MIB
        del other
    assert bytes(array) == b"1" * 1000


def test_a_forked_child_does_not_write_into_what_the_parent_has() -> None:
    memory = reply_memory(MIB)
    memory[:] = b"1" * MIB
    del memory
    process = multiprocessing.get_context("fork").Process(target=_fill)
    process.start()
    process.join()
    assert process.exitcode == 0
    assert b"2" not in bytes(reply_memory(MIB))


def _fill() -> None:
    reply_memory(MIB)[:] = b"2" * MIB


def test_what_is_kept_is_bounded() -> None:
    many = [reply_memory(MIB) for _ in range(3 * KEPT)]
    assert len(set(map(address, many))) == 3 * KEPT
    many.clear()
    assert len(payload_memory._warm) + len(payload_memory._cold) == KEPT


def reclaimable() -> int:
    """Bytes that the kernel may take back from this process."""
    sizes = re.findall(r"^LazyFree: +(\d+) kB", Path("/proc/self/smaps").read_text(), re.MULTILINE)
    return sum(map(int, sizes)) * KIB


def test_all_but_the_newest_may_be_reclaimed() -> None:
    """What is used again at once is not offered: that costs more than receiving into it."""
    many = [reply_memory(MIB) for _ in range(KEPT)]
    newest = address(many[-1])
    for each in many:
        each[:] = bytes(MIB)
    del each
    before = reclaimable()
    del many[:WARM]
    assert reclaimable() == before
    while many:
        del many[0]
    # The kernel counts pages a few later than it is told of them.
    assert reclaimable() - before > (KEPT - WARM - 1) * MIB
    assert [address(reply_memory(MIB)) for _ in range(2)] == [newest] * 2


def test_threads_do_not_get_the_same() -> None:
    """Each writes its number everywhere and finds it there."""
    wrong = []

    def use(number: int) -> None:
        for _ in range(200):
            memory = reply_memory(256 * KIB)
            memory[:] = bytes([number]) * (256 * KIB)
            if bytes(memory) != bytes([number]) * (256 * KIB):
                wrong.append(number)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
