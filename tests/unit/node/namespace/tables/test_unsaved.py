"""What stores lack: the tables behave as dictionaries, and totals are the sums over them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memfs.node.namespace.tables.unsaved import (
    NOTHING,
    Change,
    Key,
    Tombstone,
    Tombstones,
    Totals,
    Unsaved,
    UnsavedChanges,
)

SECOND = 10**9

slots = st.integers(1, 5000)
mounts = st.integers(1, 3)
times = st.integers(0, 5 * SECOND)
keys = st.tuples(mounts, st.sampled_from([b"a", b"a/b", b"a/b/c", b"a/d", b"e", b"e/f"]))
changes = st.builds(Change, st.just(1), times, st.just(()), mounts, st.integers(0, 100))
tombstones = st.builds(Tombstone, st.just(1), times, st.none(), st.booleans())
steps = st.lists(
    st.one_of(
        st.tuples(slots, st.one_of(st.none(), changes)),
        st.tuples(keys, st.one_of(st.none(), tombstones)),
    ),
    max_size=60,
)


def summed(changed: dict[int, Change], deleted: dict[Key, Tombstone], mount: int) -> Unsaved:
    rows = [(c.size, c.since_ns) for c in changed.values() if c.mount == mount]
    rows += [(0, t.since_ns) for (number, _), t in deleted.items() if number == mount]
    if not rows:
        return NOTHING
    oldest = min(since for _, since in rows) // SECOND * SECOND
    return Unsaved(len(rows), sum(size for size, _ in rows), max(1, oldest))


@given(steps)
def test_both_tables_are_dictionaries_with_totals(
    done: list[tuple[int | Key, Change | Tombstone | None]],
) -> None:
    totals = Totals()
    changed, deleted = UnsavedChanges(totals), Tombstones(totals)
    model: dict[int | Key, Change | Tombstone] = {}
    for at, value in done:
        table = changed if isinstance(at, int) else deleted
        if value is None:
            table.pop(at, None)  # type: ignore[call-overload]
            model.pop(at, None)
        else:
            table[at] = value  # type: ignore[index, assignment]
            model[at] = value
    of_slots = {at: value for at, value in model.items() if isinstance(value, Change)}
    of_keys = {at: value for at, value in model.items() if isinstance(value, Tombstone)}
    assert dict(changed) == of_slots and len(changed) == len(of_slots)
    assert dict(deleted) == of_keys and len(deleted) == len(of_keys)
    assert list(changed.from_slot()) == sorted(of_slots)
    assert list(deleted.in_order()) == list(of_keys) == list(deleted)
    for mount in (1, 2, 3):
        assert totals.of(mount) == summed(of_slots, of_keys, mount)  # type: ignore[arg-type]
        for directory in (b"", b"a", b"a/b", b"e"):
            below = any(n == mount and p.rpartition(b"/")[0] == directory for n, p in of_keys)
            assert deleted.has_below((mount, directory)) == below


def test_an_image_of_deletions_is_what_they_were() -> None:
    deleted = Tombstones(Totals())
    first, second = Tombstone(1, SECOND, b"t", False), Tombstone(2, SECOND, None, True)
    deleted[1, b"a/b"] = first
    deleted[1, b"a"] = second
    image = deleted.image()
    del deleted[1, b"a/b"]
    deleted[1, b"c"] = first
    (part,) = image
    assert list(part.values()) == [((1, b"a/b"), first), ((1, b"a"), second)]


def test_the_order_of_deletions_survives_what_comes_and_goes() -> None:
    deleted = Tombstones(Totals())
    tombstone = Tombstone(1, SECOND, None, False)
    for name in (b"a", b"b", b"c"):
        deleted[1, name] = tombstone
    seen = []
    for key in deleted.in_order():
        seen.append(key[1])
        deleted.pop((1, b"b"), None)
        deleted[1, b"d"] = tombstone
    assert seen == [b"a", b"c"] or seen == [b"a", b"c", b"d"]
