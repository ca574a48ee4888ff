"""What must add up at every moment: things move about, none is made and none vanishes.

Calls: ``total`` (result: the sum that an atomic look found).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from memfs.testing.checkers.violation import Guarantee, Violation
from memfs.testing.history import FINAL, Call


def check_totals(key: str, calls: Iterable[Call], expected: Hashable) -> list[Violation]:
    """Looks that found another total than ``expected``."""
    wrong = [call for call in calls if call.name == "total" and call.ok]
    return [
        Violation(
            Guarantee.LOST if call.process == FINAL else Guarantee.BROKEN,
            key,
            f"the total is {call.result}, not {expected}",
            (call,),
        )
        for call in wrong
        if call.result != expected
    ]
