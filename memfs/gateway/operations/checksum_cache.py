"""Checksums of whole files that were computed before: to compute one reads everything."""

from __future__ import annotations

from collections import OrderedDict

KEPT = 4096


class ChecksumCache:
    """Answers by (inode, change, kind), the least recently used first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, int, str], dict[str, object]] = OrderedDict()

    def get(self, key: tuple[int, int, str]) -> dict[str, object] | None:
        """The checksum of this exact content, if it was computed."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def put(self, key: tuple[int, int, str], content: dict[str, object]) -> None:
        """Remember an answer."""
        self._kept[key] = content
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
