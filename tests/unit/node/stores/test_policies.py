"""Which cached blocks stay: hit ratios of whole jobs, and that the index is never wrong."""

from __future__ import annotations

import itertools
import random
from bisect import bisect
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memfs.node.stores.policies import IDLE_SECONDS, POLICIES, BlockCache, Policy

BLOCKS = 2000
Trace = Sequence[tuple[int, int]]


def ratios(policy: Policy, traces: Sequence[Trace], capacity: int) -> list[float]:
    """Hit ratio of each trace, one after the other through one cache."""
    cache, found = BlockCache(), []
    cache.set_mount(1, policy)
    for trace in traces:
        hits = 0
        for key in trace:
            if cache.read(1, key, 0.0):
                hits += 1
            elif (victims := cache.admit(1, 1, capacity - len(cache), 0.0)) is not None:
                for victim in victims:
                    cache.drop(victim)
                cache.add(1, key, 1)
        assert len(cache) <= capacity
        found.append(hits / len(trace))
    return found


def epochs(job: int, count: int, dice: random.Random | None, blocks: int = BLOCKS) -> list[Trace]:
    """Passes over the data of a job, shuffled unless without dice."""
    trace = [(job, number) for number in range(blocks)]
    return [dice.sample(trace, blocks) if dice else trace for _ in range(count)]


@pytest.mark.parametrize("fraction", [0.25, 0.5, 0.75, 0.9])
@pytest.mark.parametrize("shuffled", [True, False])
@pytest.mark.parametrize("policy", ["aged", "keep"])
def test_epochs_hit_the_cached_fraction(policy: Policy, shuffled: bool, fraction: float) -> None:
    dice = random.Random(1) if shuffled else None
    found = ratios(policy, epochs(0, 5, dice), int(BLOCKS * fraction))
    assert min(found[1:]) >= 0.96 * fraction


def test_lru_thrashes_where_the_others_do_not() -> None:
    assert max(ratios("lru", epochs(0, 5, None), BLOCKS // 2)) == 0
    assert max(ratios("lru", epochs(0, 5, random.Random(1)), BLOCKS // 2)) < 0.2


@pytest.mark.parametrize("capacity", [BLOCKS // 2, BLOCKS * 2 // 3])
def test_another_job_on_the_same_mount_takes_the_cache_over(capacity: int) -> None:
    dice = random.Random(2)
    traces = [*epochs(0, 2, dice), *epochs(1, 4, dice)]
    aged = ratios("aged", traces, capacity)
    assert aged[3] >= 0.4 and aged[5] >= 0.96 * capacity / BLOCKS
    assert max(ratios("keep", traces, capacity)[2:]) == 0


def test_a_scan_does_not_empty_the_cache() -> None:
    weights = list(itertools.accumulate(1 / rank for rank in range(1, BLOCKS)))
    dice = random.Random(3)
    reads = [(0, bisect(weights, dice.random() * weights[-1])) for _ in range(6 * BLOCKS)]
    traces = [reads[:BLOCKS], epochs(1, 1, None, 150)[0], reads[BLOCKS : BLOCKS + 300]]
    warm, _, after = ratios("aged", traces, 200)
    assert after >= warm
    lru = ratios("lru", [reads], 200)
    assert ratios("aged", [reads], 200)[0] >= lru[0] - 0.02


def test_an_idle_mounts_blocks_go_for_another_and_no_others() -> None:
    cache = BlockCache()
    for mount in (1, 2):
        cache.set_mount(mount, "aged")
    for number in range(10):
        cache.read(1, ("a", number), 0.0)
        cache.add(1, ("a", number), 1)
    cache.read(2, "b", 1.0)
    assert cache.admit(2, 1, 0, 1.0) is None
    assert cache.admit(2, 3, 1, IDLE_SECONDS + 1.0) == [("a", 0), ("a", 1)]


def test_a_quota_is_kept_and_makes_room_only_from_its_own_mount() -> None:
    cache = BlockCache()
    cache.set_mount(1, "lru", quota=3)
    cache.set_mount(2, "lru")
    cache.add(2, "other", 100)
    for key in "abc":
        cache.add(1, key, 1)
        cache.read(1, key, 0.0)
    assert cache.admit(1, 1, 50, 0.0) == ["a"]
    assert cache.admit(1, 4, 50, 0.0) is None
    assert cache.admit(2, 60, 50, 0.0) == ["other"]


@pytest.mark.parametrize("policy", POLICIES)
def test_what_is_pinned_comes_in_whatever_the_quota_and_the_policy_say(policy: Policy) -> None:
    cache = BlockCache(lambda key: key == "pinned")
    cache.set_mount(1, policy, quota=3)
    for key in ("a", "pinned", "b", "c"):
        cache.add(1, key, 1)
    assert cache.admit(1, 2, 2, 0.0) is None or policy == "lru"
    assert cache.admit(1, 2, 2, 0.0, pinned=True) == []
    assert cache.admit(1, 2, 0, 0.0, pinned=True) == ["a", "b"]
    assert cache.admit(1, 4, 0, 0.0, pinned=True) is None, "others are pinned as well"


@pytest.mark.parametrize("policy", POLICIES)
def test_a_quota_that_became_smaller_lets_go_what_was_read_longest_ago(policy: Policy) -> None:
    cache = BlockCache(lambda key: key == "pinned")
    assert cache.excess(1) == []
    cache.set_mount(1, policy)
    for key in ("pinned", "a", "b", "c"):
        cache.add(1, key, 10)
    cache.read(1, "a", 1.0)
    assert cache.excess(1) == []
    cache.set_mount(1, policy, quota=25)
    assert cache.excess(1) == ["b", "c"]
    cache.set_mount(1, policy, quota=5)
    assert cache.excess(1) == ["b", "c", "a"]


@pytest.mark.parametrize("policy", POLICIES)
def test_writers_get_what_is_not_protected_whatever_the_policy(policy: Policy) -> None:
    cache = BlockCache(lambda key: key == "pinned")
    cache.set_mount(1, policy)
    for key in ("pinned", "a", "b"):
        cache.add(1, key, 10)
    cache.read(1, "a", 1.0)
    assert cache.victims(5, 1.0) == ["b"]
    assert cache.victims(100, 1.0) == ["b", "a"]


steps = st.lists(
    st.tuples(st.integers(1, 3), st.integers(0, 30), st.integers(1, 5), st.floats(0, 1000)),
    max_size=200,
)


@given(steps, st.lists(st.sampled_from(POLICIES), min_size=3, max_size=3), st.integers(1, 40))
def test_the_index_never_contradicts_itself(
    steps: list[tuple[int, int, int, float]], policies: list[Policy], capacity: int
) -> None:
    cache = BlockCache(lambda key: key in {(1, 0), (2, 1)})
    for mount, policy in enumerate(policies, start=1):
        cache.set_mount(mount, policy, quota=20 if mount == 3 else None)
    for mount, number, size, now in steps:
        key = (mount, number)
        assert cache.read(mount, key, now) == (key in cache)
        if key not in cache:
            victims = cache.admit(mount, size, capacity - cache.size(), now)
            if victims is not None:
                assert len(set(victims)) == len(victims)
                for victim in victims:
                    assert victim in cache and victim not in {(1, 0), (2, 1)}
                    cache.drop(victim)
                cache.add(mount, key, size)
        cache.check_invariants()
        assert cache.size() <= capacity and cache.size(3) <= 20
    for mount, number, *_ in steps:
        cache.drop((mount, number))
        cache.check_invariants()
    assert len(cache) == 0 and cache.size() == 0
