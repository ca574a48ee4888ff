"""Slots of memfds and the scratch pool: who may have which bytes when."""

from __future__ import annotations

import fcntl
import mmap
import os

import pytest

from memfs.errors import NoSpaceError
from memfs.limits import MIB
from memfs.node.blocks import BlockStore
from memfs.node.blocks.account import Account
from memfs.node.blocks.memory import F_SEAL_FUTURE_WRITE, Memfd, ScratchPool

from .writing import some_bytes

SLOT = 4 * mmap.PAGESIZE


def test_a_sealed_memfd_is_still_written_by_its_owner() -> None:
    account, memfd = Account(SLOT), Memfd(SLOT, 4)
    slot = memfd.slot(1)
    slot.store(0, b"before")
    descriptor = memfd.seal(account)
    assert memfd.seal(account) == descriptor
    slot.store(6, b" and after")
    assert os.pread(descriptor, 16, slot.offset) == b"before and after"
    seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    assert seals & F_SEAL_FUTURE_WRITE and seals & fcntl.F_SEAL_SHRINK and seals & fcntl.F_SEAL_SEAL


def test_a_slot_charges_what_it_touches() -> None:
    account = Account(SLOT + 100)
    slot, other = Memfd(SLOT, 2).slot(0), Memfd(SLOT, 2).slot(1)
    slot.touch(100, account)
    slot.touch(50, account)
    assert account.used == slot.touched == 100
    slot.touch(SLOT, account)
    with pytest.raises(NoSpaceError):
        other.touch(101, account)
    assert (account.used, other.touched) == (SLOT, 0)


def test_trimming_waits_for_views_of_that_slot_only() -> None:
    account, memfd = Account(1 << 20), Memfd(SLOT, 2)
    first, second = memfd.slot(0), memfd.slot(1)
    for slot in (first, second):
        slot.touch(SLOT, account)
        slot.store(0, some_bytes(SLOT))
    view = first.view(0, SLOT)[5:10].toreadonly()
    assert second.trim(0, account)
    assert not first.trim(0, account)
    assert view == some_bytes(SLOT)[5:10]
    del view
    assert first.trim(mmap.PAGESIZE, account)
    assert first.view(0, SLOT) == some_bytes(SLOT)[: mmap.PAGESIZE].ljust(SLOT, b"\0")
    assert account.used == mmap.PAGESIZE


def test_a_view_outlives_its_memfd() -> None:
    memfd = Memfd(SLOT, 1)
    memfd.slot(0).store(0, b"abc")
    view = memfd.slot(0).view(0, 3)
    memfd.close()
    memfd.close()
    assert view == b"abc"


def test_scratch_is_reused_when_nobody_views_it_and_bounded() -> None:
    pool = ScratchPool(1000, 2)
    first, second = pool.lend(1000), pool.lend(10)
    assert first is not None and second is not None
    assert (len(first), len(second)) == (1000, 10)
    assert pool.lend(1) is None
    part = first[5:6]
    del first
    assert pool.lend(1) is None
    del part
    assert pool.lend(1) is not None
    assert pool.lend(1001) is None


@pytest.mark.parametrize(("limit", "buffers"), [(64 * MIB, 1), (256 * MIB, 4), (4096 * MIB, 16)])
def test_scratch_is_a_small_part_of_a_small_limit(limit: int, buffers: int) -> None:
    scratch = BlockStore(limit)._holdings.scratch
    taken = [scratch.lend(1) for _ in range(20)]
    assert sum(view is not None for view in taken) == buffers
