"""Pages of levels that a store can only list whole. Keeps the rest of a few listings, so that the
next page does not list again. The cache is bounded: when a rest was evicted the level is listed
again, and the page begins after the continuation's name.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from memfs.stores.key_names import PARTS, is_name

KEPT_NAMES: Final = 200_000
"""Names kept for all listings together: about 20 MB."""


class Levels:
    """The rests of listings that are under way, by directory and the name after which they
    continue."""

    def __init__(self) -> None:
        self._rests: OrderedDict[tuple[str, str], list[str]] = OrderedDict()

    async def some(
        self,
        directory: str,
        after: str | None,
        limit: int,
        names: Callable[[], Awaitable[list[str]]],
    ) -> tuple[list[str], int, str | None]:
        """The next names, how many keys had no valid name (in the first page only), and the
        continuation. ``names`` lists the whole level.
        """
        invalid = 0
        rest = self._rests.pop((directory, after), None) if after is not None else None
        if rest is None:
            listed = await names()
            rest = sorted(name for name in listed if is_name(name) and name != PARTS)
            if after is None:
                invalid = len(listed) - len(rest) - (PARTS in listed)
            else:
                rest = rest[bisect_right(rest, after) :]
        taken, rest = rest[:limit], rest[limit:]
        if not rest:
            return taken, invalid, None
        self._keep(directory, taken[-1], rest)
        return taken, invalid, taken[-1]

    def _keep(self, directory: str, after: str, rest: list[str]) -> None:
        self._rests[directory, after] = rest
        while len(self._rests) > 1 and sum(map(len, self._rests.values())) > KEPT_NAMES:
            self._rests.popitem(last=False)
