"""An ordered map of 64-bit integers to 64-bit integers in arrays: 16 bytes an entry, no objects.

Owns the layout, a B+ tree of two levels: buckets of sorted keys with their values beside them, and
the first key of each bucket. A look-up is two binary searches in C. Keys that come in ascending
order, as new inodes do, leave their buckets full. Knows nothing of blocks.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

BUCKET_ENTRIES: Final = 1024
"""An insertion moves 8 KiB of keys and as much of values at most."""


class SortedTable:
    """Entries in the order of their keys, each from 0 to 2**64 - 1."""

    __slots__ = ("_count", "_firsts", "_keys", "_values")

    def __init__(self) -> None:
        self._count = 0
        self._firsts: list[int] = []
        """At most the smallest key of each bucket, more than the largest of the one before."""
        self._keys: list[array[int]] = []
        self._values: list[array[int]] = []

    def __len__(self) -> int:
        return self._count

    def get(self, key: int) -> int | None:
        """The value of ``key``; None: there is none."""
        bucket = bisect_right(self._firsts, key) - 1
        if bucket < 0:
            return None
        keys = self._keys[bucket]
        at = bisect_left(keys, key)
        return self._values[bucket][at] if at < len(keys) and keys[at] == key else None

    def get_many(self, wanted: Iterable[int]) -> list[int]:
        """The values of keys, -1: there is none. Least work for keys that follow one another."""
        found, firsts = [], self._firsts
        keys: Sequence[int] = ()
        values: Sequence[int] = ()
        at = count = low = high = 0
        for key in wanted:
            at += 1
            if at >= count or keys[at] != key:
                if not low <= key < high:
                    bucket = max(0, bisect_right(firsts, key) - 1)
                    if not firsts or key < firsts[bucket]:
                        found.append(-1)
                        continue
                    keys, values = self._keys[bucket], self._values[bucket]
                    count, low = len(keys), firsts[bucket]
                    high = firsts[bucket + 1] if bucket + 1 < len(firsts) else 1 << 64
                at = bisect_left(keys, key)
                if at == count or keys[at] != key:
                    found.append(-1)
                    continue
            found.append(values[at])
        return found

    def set(self, key: int, value: int) -> None:
        """Give ``key`` a value, whether or not it has one."""
        bucket = bisect_right(self._firsts, key) - 1
        if bucket < 0:
            if not self._firsts:
                self._keys.append(array("Q"))
                self._values.append(array("Q"))
                self._firsts.append(key)
            bucket, self._firsts[0] = 0, key
        keys, values = self._keys[bucket], self._values[bucket]
        at = bisect_left(keys, key)
        if at < len(keys) and keys[at] == key:
            values[at] = value
            return
        keys.insert(at, key)
        values.insert(at, value)
        self._count += 1
        if len(keys) > BUCKET_ENTRIES:
            self._split(bucket, at == BUCKET_ENTRIES)

    def set_many(self, wanted: Iterable[int], given: Iterable[int]) -> None:
        """As :meth:`set`, of many. Least work for keys that follow one another."""
        keys, values = array("Q"), array("Q")
        low = high = 0
        for key, value in zip(wanted, given, strict=True):
            if low <= key < high and len(keys) < BUCKET_ENTRIES:
                at = bisect_left(keys, key)
                if at < len(keys) and keys[at] == key:
                    values[at] = value
                else:
                    keys.insert(at, key)
                    values.insert(at, value)
                    self._count += 1
                continue
            self.set(key, value)
            bucket = bisect_right(self._firsts, key) - 1
            keys, values, low = self._keys[bucket], self._values[bucket], self._firsts[bucket]
            high = self._firsts[bucket + 1] if bucket + 1 < len(self._firsts) else 1 << 64

    def pop(self, key: int) -> int | None:
        """Forget ``key``; the value it had."""
        bucket = bisect_right(self._firsts, key) - 1
        if bucket < 0:
            return None
        keys, values = self._keys[bucket], self._values[bucket]
        at = bisect_left(keys, key)
        if at == len(keys) or keys[at] != key:
            return None
        del keys[at]
        value = values.pop(at)
        self._count -= 1
        self._shrink(bucket)
        return value

    def pop_many(self, wanted: Iterable[int]) -> None:
        """Forget keys that are there, each once. Least work for keys that follow one another."""
        keys = sorted(wanted)
        first = 0
        while first < len(keys):
            bucket = bisect_right(self._firsts, keys[first]) - 1
            held = self._keys[bucket]
            start = stop = bisect_left(held, keys[first])
            last = first
            while stop < len(held) and last < len(keys) and held[stop] == keys[last]:
                stop += 1
                last += 1
            assert last > first, "a key that is not there"
            del held[start:stop]
            del self._values[bucket][start:stop]
            self._count -= stop - start
            self._shrink(bucket)
            first = last

    def keys(self, low: int, high: int) -> Iterator[int]:
        """The keys from ``low`` to before ``high``; the table must not change meanwhile."""
        bucket = max(0, bisect_right(self._firsts, low) - 1)
        while bucket < len(self._firsts) and self._firsts[bucket] < high:
            keys = self._keys[bucket]
            yield from keys[bisect_left(keys, low) : bisect_left(keys, high)]
            bucket += 1

    def check_invariants(self) -> None:
        """Assert that buckets are sorted, apart, filled and counted."""
        assert self._count == sum(map(len, self._keys)), "entries are miscounted"
        previous = -1
        for first, keys, values in zip(self._firsts, self._keys, self._values, strict=True):
            assert 0 < len(keys) <= BUCKET_ENTRIES, f"a bucket of {len(keys)}"
            assert len(keys) == len(values), "keys without values"
            assert first <= keys[0], "a key before its bucket"
            assert first > previous, "buckets overlap"
            assert list(keys) == sorted(set(keys)), "a bucket out of order"
            previous = keys[-1]

    def _split(self, bucket: int, ascending: bool) -> None:
        """Cut a full bucket in two; what grows at its end stays full."""
        keys, values = self._keys[bucket], self._values[bucket]
        middle = BUCKET_ENTRIES if ascending else len(keys) // 2
        self._keys[bucket : bucket + 1] = [keys[:middle], keys[middle:]]
        self._values[bucket : bucket + 1] = [values[:middle], values[middle:]]
        self._firsts.insert(bucket + 1, keys[middle])

    def _shrink(self, bucket: int) -> None:
        """Join a sparse bucket with the next one; drop an empty one."""
        keys, values = self._keys[bucket], self._values[bucket]
        if not keys:
            del self._keys[bucket], self._values[bucket], self._firsts[bucket]
            return
        if len(keys) >= BUCKET_ENTRIES // 4 or bucket + 1 == len(self._keys):
            return
        if len(keys) + len(self._keys[bucket + 1]) <= BUCKET_ENTRIES * 3 // 4:
            self._keys[bucket] = keys + self._keys[bucket + 1]
            self._values[bucket] = values + self._values[bucket + 1]
            del self._keys[bucket + 1], self._values[bucket + 1], self._firsts[bucket + 1]
