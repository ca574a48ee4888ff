"""Every benchmark runs at a tiny size and yields finite numbers, which are not judged."""

from __future__ import annotations

import math
import os

import pytest

from benchmarks.__main__ import BENCHMARKS, run
from benchmarks.harness import Scale, SkippedError


@pytest.mark.timeout(900)  # the peers may have to be fetched first
@pytest.mark.parametrize("name", BENCHMARKS)
def test_yields_finite_numbers(name: str) -> None:
    try:
        rows = list(run(name, Scale(smoke=True, rounds=1)))
    except SkippedError as reason:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(reason))
    assert rows
    for row in rows:
        figures = (row.ours, row.theirs, row.ratio)
        assert all(math.isfinite(figure) and figure > 0 for figure in figures), row
