"""What an object keeps alive: how many objects of memfs, of which class, can be reached from it."""

from __future__ import annotations

import asyncio
import gc
import types
from collections import Counter

ELSEWHERE = (type, types.ModuleType, types.FunctionType, asyncio.AbstractEventLoop)
"""What everything refers to."""


def held_by(root: object, *elsewhere: type) -> Counter[str]:
    """Counts by class, of memfs and of tracebacks; what is ``elsewhere`` is left alone.

    So is the simulated world outside.
    """
    found: Counter[str] = Counter()
    seen, left = {id(root)}, [root]
    while left:
        each = left.pop()
        name = f"{type(each).__module__}.{type(each).__qualname__}"
        if isinstance(each, (*ELSEWHERE, *elsewhere)) or name.startswith("memfs.testing"):
            continue
        if name.startswith("memfs.") or isinstance(each, types.TracebackType):
            found[name] += 1
        for referent in gc.get_referents(each):
            if id(referent) not in seen:
                seen.add(id(referent))
                left.append(referent)
    return found


def grown(before: Counter[str], after: Counter[str]) -> dict[str, tuple[int, int]]:
    """Of which classes there are a fifth more, and more than a few."""
    return {
        what: (before[what], count)
        for what, count in after.items()
        if count > before[what] + max(12, before[what] // 5)
    }
