"""One listing of a level under way: which names are known, as far as its pages have come. Pure.

A store gives its pages in the order of names, or in that of keys, in which a directory counts as
``name/``: ``a-1`` comes before directory ``a`` there. So what came does not say at once that no
earlier name will follow. Invariant: names before ``bound`` are complete as long as the store keeps
to one of both orders; where it is seen not to, ``bound`` stays and the level counts when it ends.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from memfs.node.namespace.rules.frontier import Question
from memfs.node.namespace.tables.directory import Entries
from memfs.protocol import messages as m
from memfs.stores.interface import ObjectInfo, Page

IDLE_SECONDS: Final = 5.0
"""A listing that nobody went on with for so long gives way to a new one, once it is old."""
_SLASH: Final = ord("/")


class Listing:
    """The names of one level that came so far, and what is left to ask."""

    def __init__(self, wanted: Question, at: float, ordered: bool, stored_changes: int = 0) -> None:
        """``at``: when it began. ``ordered``: its store's pages come in order.

        ``stored_changes``: how many changes of the cluster's own were in stores then.
        """
        self.at = at
        self.used = at
        self.stored_changes = stored_changes
        self.after: str | None = None
        """How its store continues it."""
        self.bound = b""
        """Of the names before it all is in the namespace; empty: of none."""
        self._wanted = wanted
        self._ordered = ordered
        self._seen: set[bytes] = set()
        self._absent: set[bytes] = set()
        self._last = b"", b""

    def serves(self, wanted: Question, now: float) -> bool:
        """May it go on for whoever wants this, or is a new one due?"""
        ours, mount = self._wanted, wanted.mount
        if (ours.mount.number, ours.mount.generation) != (mount.number, mount.generation):
            return False
        old = mount.sync_ms >= 0 and now - self.at >= mount.sync_ms / 1000
        idle = now - self.used > IDLE_SECONDS
        return ours.key == wanted.key and (wanted.later or not (old and idle))

    def add_page(self, page: Page) -> list[m.KnownObject]:
        """What a page tells that is new."""
        found: dict[bytes, m.KnownObject] = {}
        seen, absent, bound = self._seen, self._absent, self.bound
        last = self._last
        for info in page.entries:
            name = info.key.rpartition("/")[2].encode("utf-8")
            new = name not in seen
            if new and name < bound and name not in absent:
                self._ordered = False
            if not info.is_directory or (new and name not in found):
                found[name] = known(name, info)  # the object, where a name is both
            at = name + b"/" if info.is_directory else name
            if at > last[0]:
                last = at, name
        self._last = last
        self._seen.update(found)
        self.after = page.after
        return list(found.values())

    def gap(self) -> bytes | None:
        """The first name that may be a directory still to come, before the last that came."""
        last = self._last[1]
        for end in range(1, len(last)):
            name = last[:end]
            known_already = name in self._seen or name in self._absent or name in (b".", b"..")
            if last[end] < _SLASH and not known_already:
                return name
        return None

    def resolve_gap(self, name: bytes, exists: bool) -> None:
        """The store was asked about a gap by itself."""
        (self._seen if exists else self._absent).add(name)

    def waits_for(self, page: Page) -> bytes | None:
        """The gap that keeps all names of a page from being complete; not where more follow it."""
        if not self._ordered or not page.entries or page.after is None:
            return None
        gap = self.gap()
        first = min(info.key.rpartition("/")[2].encode("utf-8") for info in page.entries)
        return gap if gap is not None and gap <= first else None

    def reached(self) -> bytes | None:
        """The bound that what came allows; None: all names have come."""
        if self.after is None:
            return None
        if not self._ordered or not self._last[1]:
            return self.bound
        gap = self.gap()
        return max(self.bound, self._last[1] + b"\0" if gap is None else gap)

    def unlisted(self, directory: Entries, bound: bytes | None) -> list[bytes]:
        """Names from the present bound up to the next one that the store does not have."""
        missing = []
        if directory.get(self.bound) and self.bound not in self._seen:
            missing.append(self.bound)
        for name, _ in directory.after(self.bound):
            if bound is not None and name >= bound:
                break
            if name not in self._seen:
                missing.append(name)
        return missing

    def publish(self, bound: bytes) -> None:
        """All before ``bound`` is in the namespace now."""
        self.bound, last = bound, self._last[1]
        for names in (self._seen, self._absent):
            names -= {name for name in names if name < bound and not last.startswith(name)}


def known(name: bytes, info: ObjectInfo) -> m.KnownObject:
    """What the namespace is told of an object or directory."""
    if info.is_directory:
        return m.KnownObject(name, 0, info.modified_ns, b"", True)
    return m.KnownObject(name, info.size, info.modified_ns, info.tag)


def complete(page: m.ListReply, bound: bytes) -> m.ListReply | None:
    """As much of a page as is before ``bound``, told to go on; None when that is nothing."""
    entries = tuple([entry for entry in page.entries if entry.name < bound])
    names = page.names[: bisect_left(page.names, bound)]
    cut = len(page.entries) - len(entries) + len(page.names) - len(names)
    remaining = page.remaining + cut
    if not remaining:  # the last name goes on the next page, as there may be more
        entries, names, remaining = entries[:-1], names[:-1], 1
    return m.ListReply(entries, remaining, names) if entries or names else None
