"""Who was the primary, and since when: what a successor has to know of its predecessor."""

from __future__ import annotations

from typing import NamedTuple


class Term(NamedTuple):
    """One node's time as the primary."""

    primary: int
    """Its number, 0: nobody's."""
    since: int
    """The first epoch."""
