"""Blocks that wait, compared with a list of (situation, version)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memfs.node.healing.placement_check import Situation
from memfs.node.healing.waiting import WaitingBlocks
from memfs.types import BlockVersion

SITUATIONS = [Situation((n,), (n,), 2, 4096, 4, (1, 2)) for n in (1, 2, 3)]
VERSIONS = [BlockVersion(inode, 0, 1, 0) for inode in range(1, 6)]

some = st.lists(st.sampled_from(VERSIONS), max_size=6)
steps = st.lists(
    st.tuples(st.sampled_from(("add", "remove", "clear")), st.sampled_from(SITUATIONS), some),
    max_size=30,
)


@given(steps)
def test_it_holds_what_was_added_and_not_removed(steps: list[tuple[str, Situation, list]]) -> None:  # type: ignore[type-arg]
    waiting, expected = WaitingBlocks(), dict[tuple[Situation, BlockVersion], None]()
    for act, situation, versions in steps:
        if act == "clear":
            waiting.clear()
            expected.clear()
        elif act == "add":
            waiting.add(situation, versions)
            expected |= dict.fromkeys((situation, version) for version in versions)
        else:
            waiting.ways[situation] = ((1, 2),)
            waiting.remove(situation, versions)
            for version in versions:
                expected.pop((situation, version), None)
        assert len(waiting) == len(expected)
        assert set(waiting.situations) == {situation for situation, _ in expected}
        for each in SITUATIONS:
            held = [version for there, version in expected if there == each]
            assert waiting.first(each, 99) == held
            assert waiting.first(each, 2) == held[:2]


def test_what_is_known_of_a_situation_goes_with_its_last_block() -> None:
    waiting = WaitingBlocks()
    waiting.add(SITUATIONS[0], VERSIONS[:2])
    waiting.ways[SITUATIONS[0]] = ((1, 2),)
    waiting.remove(SITUATIONS[0], VERSIONS[:1])
    assert waiting.ways
    waiting.remove(SITUATIONS[0], VERSIONS)
    assert not waiting.ways
