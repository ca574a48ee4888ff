"""List a directory of a million entries in pages; the longest step is what matters.

A node serves everybody from one event loop: a page that takes long makes all others wait. The
pages are made by the state machine in this process, encoding included, each after the last name of
the one before. The limit is fixed: no step over 50 ms. (The collector of Python's garbage runs
between rounds; the namespace creates none that it would have to find.)
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from statistics import median
from time import perf_counter

from benchmarks import populated
from benchmarks.harness import Row, Scale
from memfs import limits
from memfs.protocol import messages, records

LONGEST_MS = 50.0
RATE = 100_000.0


def run(scale: Scale) -> Iterator[Row]:
    """List everything a few times."""
    count = scale.pick(1_000_000, 3000)
    state = populated.populated(populated.together(count))
    rounds = [page_seconds(state, count) for _ in range(min(scale.rounds, 3))]
    longest = median(max(seconds) for seconds in rounds) * 1e3
    rate = count / median(sum(seconds) for seconds in rounds)
    name = "list a directory of 1 M"
    yield Row(f"{name}: longest step", "ms", longest, "fixed", LONGEST_MS, 1.0, True)
    yield Row(f"{name}: rate", "entries/s", rate, "fixed", RATE, 1.0)


def page_seconds(state: populated.Populated, count: int) -> list[float]:
    """List the directory; return the seconds that each page took."""
    seconds, seen, after = [], 0, b""
    gc.freeze()
    while True:
        started = perf_counter()
        request = messages.List(b"/all", after, limits.ENTRIES_PER_PAGE)
        page = state.namespace.query(populated.ROOT, request)
        records.encode(page)
        seconds.append(perf_counter() - started)
        seen += len(page.entries)
        if not page.remaining:
            break
        after = page.entries[-1].name
    gc.unfreeze()
    assert seen == count
    return seconds
