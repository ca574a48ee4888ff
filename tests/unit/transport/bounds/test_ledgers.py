"""What holders have of something, and their bounds."""

from __future__ import annotations

import pytest

from memfs.errors import BusyError
from memfs.transport.bounds.ledgers import Ledger


def ledger() -> Ledger[str]:
    found = Ledger[str]("pieces", 3, 10)
    found.follow(lambda who, usual: {"ann": 5, "eve": 0}.get(who, usual))
    return found


def test_a_bound_may_be_one_s_own() -> None:
    held = ledger()
    held.charge("ann", 5)
    held.charge("bob", 3)
    for who in ("ann", "bob"):
        with pytest.raises(BusyError, match=f"{who} has .* pieces"):
            held.charge(who, 1)
    assert (held.bound("ann"), held.bound("bob")) == (5, 3)
    held.check_invariants()


def test_who_may_have_nothing_gets_nothing() -> None:
    with pytest.raises(BusyError, match="eve has 0 pieces, 0 are allowed"):
        ledger().charge("eve", 1)


def test_who_has_nothing_gets_one_above_the_bound() -> None:
    held = ledger()
    held.charge("bob", 9)
    assert held.of("bob") == 9
