"""Extended attributes by slot, of the few inodes that have some, and their size.

Attributes count as their inode's owner's, whoever set them, as blocks do under a disk quota.

Invariant: ``bytes`` is the sum of :func:`cost` over all attributes, and of what the owners have; no
slot is listed without any, no owner without bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, ItemsView, Mapping
from typing import Final

from memfs import limits
from memfs.node.namespace.containers.images import TableImage
from memfs.node.namespace.containers.slot_map import SlotMap

_NONE: Final[Mapping[str, bytes]] = {}


def name_cost(name: str) -> int:
    """What a name counts against ``limits.XATTR_NAMES_BYTES``."""
    return limits.XATTR_OVERHEAD_BYTES + len(name.encode())


def cost(name: str, value: bytes) -> int:
    """What an attribute counts against the bounds of its inode and of the cluster."""
    return name_cost(name) + len(value)


class Xattrs:
    """Names and values of every inode that has some."""

    __slots__ = ("_of_owner", "_owners", "_rows", "bytes")

    def __init__(self) -> None:
        self._rows: SlotMap[Mapping[str, bytes]] = SlotMap()
        self._owners: SlotMap[str] = SlotMap()
        """Of every slot that has some."""
        self._of_owner: dict[str, int] = {}
        self.bytes = 0
        """All of them together, as :func:`cost` counts."""

    def __len__(self) -> int:
        return len(self._rows)

    def of(self, slot: int) -> Mapping[str, bytes]:
        """Those of an inode. Not to be kept over a change."""
        return self._rows.get(slot, _NONE)

    def bytes_of(self, slot: int) -> int:
        """Bytes that those of an inode count."""
        return sum(cost(*item) for item in self.of(slot).items())

    @property
    def of_owners(self) -> Mapping[str, int]:
        """Bytes by owner."""
        return self._of_owner

    @property
    def most(self) -> int:
        """The largest total of any owner."""
        return max(self._of_owner.values(), default=0)

    def refusal(self, owner: str, growth: int, each: int) -> str:
        """The bound that ``growth`` more bytes of an owner would exceed, empty: none; ``each``:
        bytes per owner."""
        held = self._of_owner.get(owner, 0)
        if growth > 0 and held + growth > each:
            return f"files of {owner} have {held} bytes of extended attributes, {each} are allowed"
        together = limits.XATTRS_CLUSTER_BYTES
        if growth > 0 and self.bytes + growth > together:
            return (
                f"all files together have {self.bytes} bytes of extended attributes, {together} "
                "are allowed"
            )
        return ""

    def items(self) -> ItemsView[int, Mapping[str, bytes]]:
        """Slots and what they have."""
        return self._rows.items()

    def image(self) -> TableImage[dict[int, Mapping[str, bytes]]]:
        """The same as it is now, in parts: a row is replaced, not changed."""
        return self._rows.image()

    def set(self, slot: int, owner: str, name: str, value: bytes) -> None:
        """Set one of an inode that ``owner`` has, in place of one of that name."""
        row = self._rows.get(slot, _NONE)
        self._owners.setdefault(slot, owner)
        growth = cost(name, value)
        if name in row:
            growth -= cost(name, row[name])
        self._rows[slot] = {**row, name: value}
        self._count(slot, growth)

    def remove(self, slot: int, name: str) -> None:
        """Remove one that is there."""
        row = self._rows[slot]
        self._count(slot, -cost(name, row[name]))
        self._rows[slot] = {each: held for each, held in row.items() if each != name}
        if not self._rows[slot]:
            del self._rows[slot], self._owners[slot]

    def copy(self, source: int, target: int, owner: str) -> None:
        """Give ``target``, which ``owner`` has, what ``source`` has."""
        for name, value in self.of(source).items():
            self.set(target, owner, name, value)

    def give(self, slot: int, owner: str) -> None:
        """The inode has another owner."""
        if slot in self._rows:
            held = self.bytes_of(slot)
            self._count(slot, -held)
            self._owners[slot] = owner
            self._count(slot, held)

    def forget(self, slot: int) -> None:
        """Remove all of an inode."""
        if slot in self._rows:
            self._count(slot, -self.bytes_of(slot))
            del self._rows[slot], self._owners[slot]

    def _count(self, slot: int, growth: int) -> None:
        owner = self._owners[slot]
        held = self._of_owner.get(owner, 0) + growth
        self.bytes += growth
        if held:
            self._of_owner[owner] = held
        else:
            self._of_owner.pop(owner, None)

    def check_invariants(self, owner_of: Callable[[int], str]) -> None:
        """Assert the module's invariant; ``owner_of`` says who has an inode."""
        assert all(self._rows.values())
        counted: Counter[str] = Counter()
        for slot in self._rows:
            counted[owner_of(slot)] += self.bytes_of(slot)
        assert counted == self._of_owner
        assert self.bytes == counted.total()
