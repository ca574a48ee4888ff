"""The end of the log, against all of it: what is kept, what is told of it, and what it takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memfs import limits
from memfs.node.log.entries import Entry
from memfs.node.log.recent import DROPPED_AT_ONCE, ENTRY_BYTES, RecentLog
from memfs.types import Identity

_STEPS = st.lists(
    st.tuples(st.integers(0, 300), st.integers(0, 12)), min_size=1, max_size=60
)  # length of a record, how far the confirmations are behind


def entry(index: int, length: int = 100) -> Entry:
    return Entry(index, index // 7 + 1, index, 4, 5, Identity("u"), 128, bytes(length))


class Whole:
    """All of a log, as lists."""

    def __init__(self, log: RecentLog, applied: int) -> None:
        self.log = log
        self.applied = applied
        self.entries: list[Entry] = []

    def append(self, length: int) -> None:
        each = entry(self.applied + len(self.entries) + 1, length)
        self.entries.append(each)
        self.log.append(each, self.digest(each.index))

    @staticmethod
    def digest(index: int) -> int:
        return index * 7919

    def check(self) -> int:
        """Compare; the number of entries that went."""
        log, last = self.log, self.applied + len(self.entries)
        gone = len(self.entries) - log.entries
        kept = self.entries[gone:]
        first = self.applied + gone
        assert log.bytes == sum(ENTRY_BYTES + len(each.record) for each in kept)
        assert log.last_epoch == (kept[-1].epoch if kept else 0)
        for index in range(self.applied - 1, last + 2):
            known = first <= index <= last
            assert log.digest_at(index) == (self.digest(index) if known else None)
            missing = self.entries[index - self.applied :] if known else None
            assert log.after(index) == missing
            assert log.after(index, 3) == (missing[:3] if missing is not None else None)
        return gone


@given(_STEPS, st.integers(0, 50), st.integers(1, 4000), st.integers(0, 4000), st.integers(1, 20))
def test_what_is_kept_is_the_end_of_the_log(
    steps: list[tuple[int, int]], applied: int, most: int, margin: int, count: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "LOG_BYTES_KEPT", most + ENTRY_BYTES + 300)
        patch.setattr(limits, "LOG_BYTES_CONFIRMED", margin)
        patch.setattr(limits, "LOG_ENTRIES_KEPT", count)
        whole = Whole(RecentLog(applied, Whole.digest(applied)), applied)
        committed = before = 0
        for length, behind in steps:
            whole.append(length)
            gone = whole.check()
            last = applied + len(whole.entries)
            assert whole.log.entries <= count
            assert whole.log.bytes <= limits.LOG_BYTES_KEPT
            committed = max(committed, last - behind)
            whole.log.confirmed(committed)
            after = whole.check()
            assert whole.log.entries
            assert applied + after <= max(committed, applied + gone), "what was not confirmed went"
            kept = whole.log.bytes
            if kept > margin and whole.log.entries > 1:
                assert applied + after >= committed, "what was confirmed stayed"
            assert after == gone or kept + ENTRY_BYTES + 300 > margin * 15 // 16, "more went"
            assert before <= gone <= after
            before = after


def test_nothing_is_confirmed_of_what_is_not_there() -> None:
    log = RecentLog(10, 99)
    log.confirmed(20)
    assert (log.entries, log.digest_at(10), log.last_epoch) == (0, 99, 0)


def test_a_long_log_goes_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOG_BYTES_CONFIRMED", 0)
    log, count = RecentLog(), 3 * DROPPED_AT_ONCE + 10
    for index in range(1, count + 1):
        log.append(entry(index), index)
    left = []
    for _ in range(5):
        log.confirmed(count)
        left.append(log.entries)
    assert left == [*(count - DROPPED_AT_ONCE * times for times in (1, 2, 3)), 1, 1]


def test_an_entry_takes_what_is_counted_for_it() -> None:
    import tracemalloc

    count, client = 5_000, 1 << 62
    tracemalloc.start()
    try:
        log = RecentLog(1_000_000)
        before = tracemalloc.get_traced_memory()[0]
        for number in range(1, count + 1):
            record = b"%0100d" % number
            index = 1_000_000 + number
            numbers = (index, 5, (1 << 60) + number, client, (1 << 40) + number)
            log.append(Entry(*numbers, Identity("u"), 128, record), (1 << 31) + number)
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0.8 * log.bytes <= taken <= 1.1 * log.bytes
