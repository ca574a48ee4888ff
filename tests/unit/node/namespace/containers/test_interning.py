"""Shared values are counted exactly and forgotten with their last user."""

from __future__ import annotations

from memfs.node.namespace.containers.interning import Arena, Interned


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
    arena: Arena[bytes, bytes] = Arena(b"", bytes)
    first, second = arena.add(b"a"), arena.add(b"b")
    assert arena.remove(first) == b"a"
    assert arena.add(b"c") == first != second
    assert arena.items == [b"", b"c", b"b"]


class _Counting(list[int]):
    """A list that counts how often it is copied."""

    copies = 0

    def frozen(self) -> tuple[int, ...]:
        self.copies += 1
        return tuple(self)


def test_an_image_of_an_arena_copies_an_item_when_it_is_read_or_changes() -> None:
    nothing = _Counting()
    arena: Arena[_Counting, tuple[int, ...]] = Arena(nothing, _Counting.frozen)
    items = [_Counting([number]) for number in range(6)]
    numbers = [arena.add(item) for item in items]
    arena.remove(numbers[5])
    image = arena.image()
    assert not any(item.copies for item in items), "taking an image copies nothing"
    parts = iter(image)
    assert [next(parts), next(parts)] == [(), (0,)]
    arena.changing(numbers[0]).append(9)
    arena.changing(numbers[1]).append(9)
    arena.remove(numbers[2])
    arena.add(_Counting([77]))  # under the number of what has gone
    arena.add(_Counting([78]))  # under one that was free before
    arena.add(_Counting([79]))
    assert list(parts) == [(1,), (2,), (3,), (4,), ()]
    assert [item.copies for item in items] == [1, 1, 1, 1, 1, 0]
    assert [tuple(item) for item in arena.items] == [
        (), (0, 9), (1, 9), (77,), (3,), (4,), (78,), (79,)
    ]  # fmt: skip
