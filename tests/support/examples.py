"""How many examples a property is tried with, where the profile's number does not suit it."""

from __future__ import annotations

import hypothesis

USUAL = 60
"""Of the profile that ``make test`` uses."""


def examples(count: int) -> int:
    """``count``, and as many times more as the loaded profile tries more than usual."""
    return count * hypothesis.settings().max_examples // USUAL
