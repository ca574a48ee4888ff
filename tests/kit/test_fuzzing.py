"""The fuzzer's targets: each takes its seeds and inputs nearly like them, and finds what is wrong.

The search itself is ``make fuzz``.
"""

from __future__ import annotations

import random

import pytest

from memfs.gateway.operations.reading import ByteRange
from memfs.protocol import frames
from memfs.protocol import messages as m
from tests.golden.samples import golden_texts, parse_frames
from tests.support.fuzzing import targets
from tests.support.fuzzing.mutation import mutated
from tests.support.fuzzing.targets import TARGETS, golden_frames

INPUTS = 400


@pytest.mark.parametrize("name", TARGETS)
def test_hostile_bytes_are_refused_or_read(name: str) -> None:
    target = TARGETS[name]
    seeds = target.seeds()
    for data in (*seeds, *mutated(seeds, INPUTS, random.Random(f"fuzz {name}"))):
        target.run(data)


def test_the_seeds_are_every_message() -> None:
    found = [frame for text in golden_texts().values() for frame in parse_frames(text)]
    assert sorted(golden_frames()) == sorted(found)
    assert {frames.unpack_header(frame).opcode for frame in golden_frames()} == set(m.BY_OPCODE)


def test_a_reader_that_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes every number of a range as it is."""
    monkeypatch.setattr(targets, "byte_range", lambda header, size: _trusting(header))
    target = TARGETS["headers"]
    with pytest.raises(AssertionError, match="bytes that the file has not"):
        for data in target.seeds():
            target.run(data)


def _trusting(header: str) -> ByteRange | None:
    digits = header.removeprefix("bytes=").partition("-")[0]
    return ByteRange(int(digits), int(digits) + 1, 206) if digits.isdigit() else None


def test_inputs_are_the_same_every_time() -> None:
    seeds = TARGETS["tokens"].seeds()
    first, second = (list(mutated(seeds, 50, random.Random(7))) for _ in range(2))
    assert first == second
    assert len(set(first)) > 25
