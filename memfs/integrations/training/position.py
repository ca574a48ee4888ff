"""Where an iteration stands, as plain numbers for a checkpoint, and the way back. Pure.

All ranks stand at the same place, so what one of them has saved serves all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from memfs.integrations.training.order import EpochOrder


def noted(order: EpochOrder, epoch: int, position: int) -> dict[str, Any]:
    """``position`` batches of this epoch were handed out, in this order."""
    return {"epoch": epoch, "position": position, "order": _without_rank(order)}


def found(state: Mapping[str, Any], order: EpochOrder) -> tuple[int, int]:
    """Epoch and position. Raises ValueError for what is no position in ``order``.

    A state that was written by hand may leave out the order.
    """
    if state.get("order", _without_rank(order)) != _without_rank(order):
        raise ValueError(f"the state is of another order: {state['order']}")
    epoch, position = state.get("epoch"), state.get("position")
    if not (isinstance(epoch, int) and isinstance(position, int)):
        raise ValueError(f"a state has an epoch and a position, not {sorted(state)}")
    if epoch < 0 or not 0 <= position <= order.batch_count:
        text = f"epoch {epoch}, batch {position} is not among {order.batch_count} batches"
        raise ValueError(text)
    return epoch, position


def _without_rank(order: EpochOrder) -> dict[str, Any]:
    return {name: value for name, value in asdict(order).items() if name != "rank"}
