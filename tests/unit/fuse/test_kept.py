"""Writes that are kept for the next worker, in memory that both map."""

from __future__ import annotations

import mmap
import random
from collections.abc import Iterator

import pytest

from memfs.fuse import kept, ledger
from memfs.fuse.kept import KeptWrites, Payload

KIB = 1 << 10
BLOCK = 64 * KIB


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[mmap.mmap]:
    """Memory with little room."""
    monkeypatch.setattr(kept, "SEGMENTS", 3)
    monkeypatch.setattr(kept, "PRESSED_SEGMENTS", 2)
    monkeypatch.setattr(kept, "WARM_SEGMENTS", 1)
    yield mmap.mmap(-1, kept.SIZE)


def note(writes: KeptWrites, inode: int, offset: int, data: bytes, request: int = 0) -> Payload:
    """A write as the mount does it at once, with the bytes still lent."""
    payload = writes.received(data)
    payload.request = request
    assert writes.can_keep(payload)
    writes.note(payload, inode, offset, answered=True)
    return payload


def found(memory: mmap.mmap) -> dict[int, list[tuple[int, bytes]]]:
    """What the next worker finds."""
    writes = KeptWrites(memory)
    return {
        inode: [(each.offset, bytes(each.data)) for each in writes.writes(inode)]
        for inode in writes.left
    }


def test_the_next_worker_finds_what_is_not_published(few: mmap.mmap) -> None:
    writes = KeptWrites(few)
    assert not writes.left
    note(writes, 7, 0, b"one", 1).give_back()
    note(writes, 8, 5, b"other", 2)
    note(writes, 7, 1, b"two", 3).give_back()
    assert found(few) == {7: [(0, b"one"), (1, b"two")], 8: [(5, b"other")]}
    writes.publish(7, 1, {3})
    assert found(few) == {7: [(1, b"two")], 8: [(5, b"other")]}
    writes.publish(7, 1, ())
    writes.forget(8)
    assert found(few) == {}


def test_what_is_published_behind_what_is_not_stays(few: mmap.mmap) -> None:
    """Or the older bytes would be written over the newer ones."""
    writes = KeptWrites(few)
    note(writes, 7, 0, bytes(2 * BLOCK)).give_back()
    note(writes, 7, 0, b"newer").give_back()
    writes.publish(7, BLOCK, {1})
    assert len(found(few)[7]) == 2


def test_a_request_that_is_not_answered_is_kept(few: mmap.mmap) -> None:
    writes = KeptWrites(few)
    payload = writes.received(b"appended")
    payload.request = 40
    writes.note(payload, 7, 0)
    writes.publish(7, BLOCK, ())
    second = KeptWrites(few)
    assert second.was_noted(40) and not second.was_noted(42)
    payload.give_back()
    assert found(few) == {}


def test_what_is_written_in_its_order_is_one_row(few: mmap.mmap) -> None:
    writes = KeptWrites(few)
    pieces = [bytes([each]) * 4096 for each in range(100)]
    for number, piece in enumerate(pieces):
        note(writes, 7, 10 + 4096 * number, piece, 2 * number).give_back()
    assert found(few) == {7: [(10, b"".join(pieces))]}
    assert KeptWrites(few).was_noted(198)
    refused = note(writes, 7, 10 + 4096 * 100, bytes(4096), 300)
    writes.take_back(refused)
    assert found(few) == {7: [(10, b"".join(pieces))]}
    assert not KeptWrites(few).was_noted(300)
    refused.give_back()
    note(writes, 7, 5, b"elsewhere").give_back()
    note(writes, 7, 14, b"behind").give_back()
    assert len(found(few)[7]) == 3  # small ones lie apart
    writes.publish(7, BLOCK, {1})
    assert len(found(few)[7]) == 3
    writes.publish(7, BLOCK, ())
    assert found(few) == {}


def test_what_has_failed_is_not_kept(few: mmap.mmap) -> None:
    writes = KeptWrites(few)
    first, second = (writes.received(b"fails") for _ in range(2))
    writes.note(first, 7, 0)
    writes.note(second, 7, 5)
    writes.take_back(first)
    assert found(few) == {7: [(5, b"fails")]}
    writes.take_back(second)
    writes.take_back(second)
    assert found(few) == {}


def test_a_worker_that_ends_before_it_has_written_again_leaves_all(few: mmap.mmap) -> None:
    note(KeptWrites(few), 7, 0, b"one", 2)
    second = KeptWrites(few)
    second.publish(7, BLOCK, ())  # a commit before all is written again
    assert found(few) == {7: [(0, b"one")]}
    second.forget(7)
    assert not second.left and second.was_noted(2)
    assert KeptWrites(few).was_noted(2)  # the kernel may ask a third worker for it
    second.all_repeated()
    assert found(few) == {} and not second.was_noted(2)


def test_what_finds_no_room_is_received_all_the_same(few: mmap.mmap) -> None:
    writes = KeptWrites(few)
    pressed = []
    writes.pressed = lambda: pressed.append(writes.much)
    whole = [note(writes, 7, each, bytes(kept.ROOM_BYTES)) for each in range(12)]
    assert pressed == [True]
    beyond = writes.received(b"beyond")
    assert not writes.can_keep(beyond) and bytes(beyond.data) == b"beyond"
    beyond.give_back()
    for each in whole:
        each.give_back()
    assert not writes.can_keep(writes.received(b"still beyond"))
    writes.forget(7)
    assert writes.can_keep(writes.received(b"again")) and not writes.much


def test_no_more_is_noted_than_there_are_rows(
    few: mmap.mmap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "ROWS", 3)
    monkeypatch.setattr(kept, "PRESSED_ROWS", 2)
    writes = KeptWrites(few)
    for each in range(3):
        note(writes, 7 + each, 0, b"x").give_back()
    assert writes.much and not writes.can_keep(writes.received(b"x"))
    assert writes.oldest() == [7, 8, 9]
    writes.forget(8)
    assert writes.can_keep(writes.received(b"x")) and set(found(few)) == {7, 9}


def test_lent_bytes_are_not_received_into(few: mmap.mmap) -> None:
    writes = KeptWrites(few)
    lent = [note(writes, 7, 0, bytes([each]) * 1000) for each in range(100)]
    writes.forget(7)
    for _ in range(100):
        note(writes, 8, 0, b"x" * 1000)
    assert all(bytes(each.data) == bytes([number]) * 1000 for number, each in enumerate(lent))


@pytest.mark.parametrize("seed", range(8))
def test_what_is_kept_on_top_of_what_is_published_is_what_was_written(
    few: mmap.mmap, seed: int
) -> None:
    """Whatever is written, and whichever blocks are published; one worker after the other."""
    dice = random.Random(seed)
    size = 6 * BLOCK
    model = {inode: bytearray(size) for inode in (7, 8)}
    stored = {inode: bytearray(size) for inode in (7, 8)}
    for _ in range(6):
        writes = KeptWrites(few)
        for inode in writes.left:
            for each in writes.writes(inode):
                stored[inode][each.offset : each.offset + len(each.data)] = each.data
            writes.forget(inode)
        writes.all_repeated()
        assert stored == model
        changed: dict[int, set[int]] = {7: set(), 8: set()}
        lent: list[Payload] = []
        for request in range(60):
            inode = dice.choice((7, 8))
            data = dice.randbytes(dice.choice((1, 100, 5000, BLOCK, 2 * BLOCK)))
            offset = dice.randrange(size - len(data) + 1)
            model[inode][offset : offset + len(data)] = data
            changed[inode].update(range(offset // BLOCK, (offset + len(data) - 1) // BLOCK + 1))
            lent.append(note(writes, inode, offset, data, 2 * request))
            while lent and dice.random() < 0.6:
                lent.pop(dice.randrange(len(lent))).give_back()
            if dice.random() < 0.3:
                for block in [each for each in changed[inode] if dice.random() < 0.5]:
                    changed[inode].discard(block)
                    at = slice(block * BLOCK, (block + 1) * BLOCK)
                    stored[inode][at] = model[inode][at]
                writes.publish(inode, BLOCK, changed[inode])
        for payload in lent:
            payload.give_back()


def test_a_ledger_has_it_too() -> None:
    descriptor = ledger.make()
    note(ledger.MountLedger.of_descriptor(descriptor).kept, 7, 3, b"kept")
    second = ledger.MountLedger.of_descriptor(descriptor)
    assert [(each.offset, bytes(each.data)) for each in second.kept.writes(7)] == [(3, b"kept")]
