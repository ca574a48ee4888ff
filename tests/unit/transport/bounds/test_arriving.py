"""Requests that have begun to arrive: who may have a larger inbox, and who gives it back."""

from __future__ import annotations

import pytest

from memfs import errors, limits
from memfs.limits import KIB, MIB
from memfs.transport.bounds.arriving import ArrivingRequests
from memfs.transport.bounds.ledgers import Ledger, UserAtAddress

ANN, BOB = UserAtAddress("ann", "1.2.3.4"), UserAtAddress("bob", "5.6.7.8")
RECORD = 64 * KIB
EACH, TOGETHER = 4 * RECORD, 6 * RECORD


class Half:
    """A connection with a larger inbox; ``begun``: half a request is in it."""

    def __init__(self, arriving: ArrivingRequests, *, begun: bool) -> None:
        self.begun = begun
        self._arriving = arriving

    def shrink(self) -> None:
        if not self.begun:
            self._arriving.take_back(self)


@pytest.fixture
def arriving() -> ArrivingRequests:
    return ArrivingRequests(Ledger[UserAtAddress]("bytes that arrive", EACH, TOGETHER))


def lend(arriving: ArrivingRequests, who: UserAtAddress, *, begun: bool, needed: bool = True):
    half = Half(arriving, begun=begun)
    found = arriving.lend(half, who, RECORD, needed=needed)
    arriving.ledger.check_invariants()
    return half if found else None


def test_one_user_has_a_share_and_all_have_theirs(arriving: ArrivingRequests) -> None:
    assert all(lend(arriving, ANN, begun=True) for _ in range(4))
    assert lend(arriving, ANN, begun=True) is None
    assert all(lend(arriving, BOB, begun=True) for _ in range(2))
    assert lend(arriving, BOB, begun=True) is None
    assert "allowed" in arriving.refusal(ANN, RECORD)
    with pytest.raises(errors.BusyError, match="bytes that arrive"):
        arriving.charge(BOB, RECORD)


def test_who_has_nothing_begun_gives_way_to_what_is_needed(arriving: ArrivingRequests) -> None:
    idle = [lend(arriving, ANN, begun=False) for _ in range(4)]
    assert all(idle)
    assert lend(arriving, ANN, begun=True, needed=False) is None, "it would only be faster"
    assert arriving.ledger.of(ANN) == EACH
    assert lend(arriving, ANN, begun=True)
    assert arriving.ledger.of(ANN) == RECORD


def test_an_inbox_is_counted_once(arriving: ArrivingRequests) -> None:
    half = Half(arriving, begun=True)
    assert arriving.lend(half, ANN, RECORD, needed=True)
    assert arriving.lend(half, ANN, RECORD + 44, needed=True), "a record and its header"
    assert arriving.ledger.total == RECORD + 44
    arriving.take_back(half)
    arriving.take_back(half)
    assert arriving.ledger.total == 0


def test_a_full_node_takes_a_few_at_a_time() -> None:
    arriving = ArrivingRequests(Ledger[UserAtAddress]("bytes", limits.GIB, limits.GIB))
    arriving.room = lambda: 0
    count = 0
    while lend(arriving, ANN, begun=True):
        count += 1
    assert count == limits.ARRIVING_BYTES_LEAST // RECORD
    assert "full" in arriving.refusal(ANN, RECORD)
    arriving.room = lambda: 8 * MIB
    assert lend(arriving, ANN, begun=True)
