"""Files with several names in a copy: which name's content is copied, so that the others follow it.

Owns what is known of each such file, by its identity at the source. Must not know how a further
name is made.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable


class LinkStep(enum.Enum):
    """What is to be done with one of a file's names."""

    COPY = "copy"
    """It is the first one."""
    WAIT = "wait"
    """The first one is being copied."""
    LINK = "link"
    """The file is copied: this becomes another name of the copy."""


class HardLinks:
    """Shared by the copies of several operands, as cp has it."""

    def __init__(self) -> None:
        self._copying: dict[Hashable, str] = {}
        self._copies: dict[Hashable, str] = {}

    def part(self, identity: Hashable, target: str) -> LinkStep:
        """How to make the name ``target``: the first one is copied, further ones are linked."""
        if identity in self._copies:
            return LinkStep.LINK
        first = self._copying.setdefault(identity, target)
        return LinkStep.COPY if first == target else LinkStep.WAIT

    def copy_of(self, identity: Hashable) -> str:
        """The name of the copy."""
        return self._copies[identity]

    def ended(self, identity: Hashable, target: str, copied: bool) -> None:
        """The copy of a name is there, or is not: then another one is the first."""
        if self._copying.get(identity) == target:
            del self._copying[identity]
            if copied:
                self._copies[identity] = target
