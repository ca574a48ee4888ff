"""The ring: balance and movement against the ideal, distinct members and domains."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memfs.cluster.ring import Ring, key_hash
from memfs.types import Member

KEYS = [(inode, group) for inode in range(1, 2501) for group in range(4)]


def member(number: int, weight: int = 100, domain: str = "", name: str = "") -> Member:
    return Member(number, name or f"node{number}", 7, f"10.0.0.{number}", 1, "", "", weight, domain)


def members(count: int) -> list[Member]:
    return [member(number) for number in range(1, count + 1)]


def loads(ring: Ring, copies: int) -> Counter[int]:
    return Counter(number for key in KEYS for number in ring.place(*key, copies))


@pytest.mark.parametrize("count", [3, 10, 30])
def test_equal_members_hold_nearly_equal_shares(count: int) -> None:
    load = loads(Ring(members(count), 1), 2)
    mean = 2 * len(KEYS) / count
    assert max(load.values()) / mean < 1.22
    assert min(load.values()) / mean > 0.78


def test_shares_follow_weights() -> None:
    weights = {1: 50, 2: 100, 3: 100, 4: 200, 5: 400}
    load = loads(Ring([member(n, weight) for n, weight in weights.items()], 1), 1)
    for number, weight in weights.items():
        ideal = len(KEYS) * weight / sum(weights.values())
        assert 0.8 < load[number] / ideal < 1.2


def test_weight_zero_gets_nothing() -> None:
    ring = Ring([member(1), member(2, weight=0), member(3)], 1)
    assert set(loads(ring, 3)) == {1, 3}


def test_without_members_there_is_no_place() -> None:
    assert Ring([], 1).place(1, 0, 3) == ()
    assert Ring([member(1, weight=0)], 1).place(1, 0, 3) == ()


@pytest.mark.parametrize("count", [3, 10, 30])
def test_a_join_moves_only_what_the_newcomer_gains(count: int) -> None:
    before, after = Ring(members(count), 1), Ring(members(count + 1), 2)
    moved = 0
    for key in KEYS:
        old, new = set(before.place(*key, 2)), set(after.place(*key, 2))
        assert new - old <= {count + 1}
        moved += len(new - old)
    ideal = 2 * len(KEYS) / (count + 1)
    assert 0.75 < moved / ideal < 1.25


def test_a_leave_moves_only_what_the_leaver_held() -> None:
    before, after = Ring(members(10), 1), Ring(members(10)[:-1], 2)
    for key in KEYS:
        old, new = before.place(*key, 2), after.place(*key, 2)
        if 10 not in old:
            assert new == old
        else:
            assert set(old) - {10} <= set(new)


def test_excluding_a_member_is_as_if_it_had_left() -> None:
    ring, without = Ring(members(6), 1), Ring(members(6)[:-1], 1)
    for key in KEYS[:500]:
        assert ring.place(*key, 3, frozenset({6})) == without.place(*key, 3)


def test_a_restarted_node_keeps_its_place() -> None:
    before = Ring([member(1, name="a"), member(2, name="b"), member(3, name="c")], 1)
    after = Ring([member(1, name="a"), member(3, name="c"), member(4, name="b")], 2)
    for key in KEYS[:500]:
        renamed = tuple(4 if number == 2 else number for number in before.place(*key, 2))
        assert after.place(*key, 2) == renamed


def test_racks_are_preferred_to_hosts_and_hosts_to_nothing() -> None:
    domains = ["r1/h1", "r1/h1", "r1/h2", "r2/h3", "r2/h3", "r2/h4"]
    ring = Ring([member(n, domain=domain) for n, domain in enumerate(domains)], 1)
    for key in KEYS[:500]:
        chosen = [domains[number] for number in ring.place(*key, 6)]
        assert len({domain.split("/")[0] for domain in chosen[:2]}) == 2
        assert len(set(chosen[:4])) == 4
        assert sorted(chosen) == sorted(domains)


def test_the_key_hash_spreads_neighbours() -> None:
    hashes = {key_hash(inode, group) for inode, group in KEYS}
    assert len(hashes) == len(KEYS)
    buckets = Counter(value >> 56 for value in hashes)
    assert len(buckets) == 256
    assert max(buckets.values()) < 2 * len(KEYS) / 256


CLUSTERS = st.lists(
    st.tuples(st.integers(0, 300), st.sampled_from(["", "a/1", "a/2", "b/1", "b/3"])), max_size=8
)


@given(CLUSTERS, st.integers(1, 1 << 62), st.integers(0, 1 << 20), st.integers(0, 8), st.data())
def test_places_are_distinct_allowed_and_as_many_as_can_be(
    cluster: list[tuple[int, str]], inode: int, group: int, copies: int, data: st.DataObject
) -> None:
    present = [member(n, weight, domain) for n, (weight, domain) in enumerate(cluster)]
    exclude = data.draw(st.frozensets(st.integers(0, 8), max_size=4))
    chosen = Ring(present, 1).place(inode, group, copies, exclude)
    allowed = {m.number for m in present if m.weight > 0} - exclude
    assert len(set(chosen)) == len(chosen) == min(copies, len(allowed))
    assert set(chosen) <= allowed
    racks = {(m.domain.partition("/")[0]) for m in present if m.number in allowed}
    found = {cluster[number][1].partition("/")[0] for number in chosen}
    assert len(found) == min(copies, len(racks))


def test_a_leaving_member_gets_nothing() -> None:
    ring = Ring([member(1), member(2)._replace(leaving=True), member(3)], 1)
    assert set(loads(ring, 3)) == {1, 3}
    assert ring.takers == {1, 3}


@pytest.mark.parametrize("racks", [2, 3, 9])
def test_any_part_of_a_placement_is_extended_to_it(racks: int) -> None:
    ring = Ring([member(n, domain=f"r{n % racks}/h{n}") for n in range(1, 8)], 1)
    for key in KEYS[:500]:
        placed = ring.place(*key, 3)
        for left_out in placed:
            held = tuple(number for number in placed if number != left_out)
            (added,) = ring.extend(*key, held, 3)
            assert len({n % racks for n in (*held, added)}) == min(racks, 3)
            if racks == 9:
                assert added == left_out


def test_nothing_is_added_to_enough() -> None:
    ring = Ring(members(4), 1)
    assert ring.extend(1, 1, (1, 2, 3), 3) == ()
    assert ring.extend(1, 1, (), 2) == ring.place(1, 1, 2)
