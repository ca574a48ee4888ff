"""Shared values are counted exactly and forgotten with their last user."""

from __future__ import annotations

from memfs.node.namespace.tables.interning import Arena, Interned


def test_equal_values_share_a_number_until_the_last_user_goes() -> None:
    table: Interned[str] = Interned("")
    first, again, other = table.acquire("a"), table.acquire("a"), table.acquire("b")
    assert first == again != other and table.values[first] == "a"
    table.release(first)
    assert table.acquire("a") == first
    table.release(first)
    table.release(first)
    assert "a" not in table.numbers and table.values[first] == ""
    assert table.acquire("c") == first


def test_nothing_is_number_zero_and_never_forgotten() -> None:
    table: Interned[tuple[int, ...]] = Interned(())
    assert table.acquire(()) == 0
    table.release(0)
    assert table.acquire(()) == 0 and table.values[0] == ()


def test_an_arena_reuses_numbers() -> None:
    arena: Arena[bytes] = Arena(b"")
    first, second = arena.add(b"a"), arena.add(b"b")
    assert arena.remove(first) == b"a"
    assert arena.add(b"c") == first != second
    assert arena.items == [b"", b"c", b"b"]
