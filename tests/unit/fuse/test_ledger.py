"""What a worker leaves to the next one, in memory that both map."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from memfs.client.session.held.locks import Holding
from memfs.client.session.request_ids import ERRAND, Errand
from memfs.fuse import ledger
from memfs.fuse.ledger import Locked, MountLedger, OpenDescriptor


@pytest.fixture
def descriptor() -> Iterator[int]:
    found = ledger.make()
    yield found
    os.close(found)


def test_the_first_worker_finds_nothing(descriptor: int) -> None:
    assert MountLedger.of_descriptor(descriptor).former() is None


@pytest.mark.parametrize("change", ["form", "longer", "shorter"])
def test_what_another_release_has_noted_is_left_alone(descriptor: int, change: str) -> None:
    MountLedger.of_descriptor(descriptor).begin(4711)
    size = os.fstat(descriptor).st_size
    if change == "form":
        os.pwrite(descriptor, (ledger.FORM + 1).to_bytes(8, "little"), 0)
    else:
        os.ftruncate(descriptor, size + 4096 if change == "longer" else size - 4096)
    before = os.pread(descriptor, 4096, 0)
    after = MountLedger.of_descriptor(descriptor)
    assert after.former() is None
    after.begin(4712)
    assert os.pread(descriptor, 4096, 0) == before


def test_the_next_worker_finds_what_there_is(descriptor: int) -> None:
    first = MountLedger.of_descriptor(descriptor)
    first.begin(4711)
    for number in range(200):
        first.open(OpenDescriptor(number, 1000 + number, 7 + number % 3))
    for number in range(0, 200, 2):
        assert first.close(number)
    first.lock(Locked(1, 0, 11, 7))
    first.lock(Locked(1, 0, 12, 7))
    first.lock(Locked(2, 1, 12, 8))
    first.unlock(8, 2, 1)
    ERRAND.set(Errand(5))
    first.note(41)
    first.note(42)  # another command of the same request
    ERRAND.set(Errand(6))
    first.note(43)
    first.answered(5)
    ERRAND.set(None)
    first.note(44)
    ERRAND.set(gone := Errand(7))
    gone.end()
    first.note(45)  # a task that was begun by it goes on
    ERRAND.set(None)

    second = MountLedger.of_descriptor(descriptor)
    former = second.former()
    assert former is not None
    assert former[:3] == (4711, 1, 46)
    assert set(former.open) == {7, 8, 9} and former.locked == (Holding(7, 0, 1),)
    assert former.errands == ((6, 43),)
    assert {each.handle for each in second.opened} == set(range(1, 200, 2))
    assert {each.handle for each in second.locked} == {11, 12}
    assert second.close(1) and not second.close(1) and not second.close(2)
    second.keep_sent({})
    second.begin(4711)
    assert (third := MountLedger.of_descriptor(descriptor).former()) is not None
    assert third.turn == 2 and not third.errands


def test_nothing_is_left_when_it_is_cleared(descriptor: int) -> None:
    first = MountLedger.of_descriptor(descriptor)
    first.begin(1)
    first.open(OpenDescriptor(1, 2, 3))
    first.lock(Locked(1, 0, 11, 7))
    first.clear()
    assert first.former() is None and not first.locked
    assert MountLedger.of_descriptor(descriptor).former() is None


@pytest.mark.parametrize("seed", range(5))
def test_it_says_what_a_dictionary_says(seed: int) -> None:
    """Whatever is opened and closed, in one worker after the other."""
    dice, memory, model = (
        random.Random(seed),
        MountLedger.alone()._memory,
        dict[int, OpenDescriptor](),
    )
    for _ in range(5):
        found = MountLedger(memory)
        assert {each.handle: each for each in found.opened} == model
        for _ in range(300):
            handle = dice.randrange(1, 100)
            if dice.random() < 0.6:
                assert found.close(handle) == (model.pop(handle, None) is not None)
            else:
                model[handle] = OpenDescriptor(handle, dice.randrange(1, 9), dice.randrange(1, 9))
                found.open(model[handle])


def test_what_has_no_room_is_known_to_this_worker(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ledger, "ROWS", 3)
    found = MountLedger(memoryview(bytearray(ledger.SIZE)))
    for number in range(1, 5):
        found.open(OpenDescriptor(number, number, number))
    assert [each.handle for each in found.opened] == [1, 2, 3]
    assert "more is open" in caplog.text
    assert found.close(4) and not found.close(4)
    assert found.close(1)
    found.open(OpenDescriptor(5, 5, 5))
    assert {each.handle for each in found.opened} == {2, 3, 5}
