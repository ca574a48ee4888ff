"""How well a simulated network works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Conditions:
    """How well a network works."""

    delay_min: float = 0.000_05
    """Seconds that a piece travels at least."""
    delay_max: float = 0.002
    bytes_per_second: float = 1e9
    """Of one direction of one connection."""
    window_bytes: int = 256 * 1024
    """Bytes on their way before a sender has to wait."""
    split_chance: float = 0.5
    """Chance that a run of bytes arrives in several pieces."""
    reset_chance: float = 0.0
    """Chance per piece that the connection breaks just before it arrives."""
    loss_chance: float = 0.0
    """Chance per piece that it is lost and sent again: it and all behind it come late."""
    resend_seconds: float = 0.2
    """Until a lost piece is sent again, doubled each time: as TCP does."""
