"""A client whose process was replaced: what the former one alone could use ends, the rest stays."""

from __future__ import annotations

import pytest

from memfs import limits
from memfs.errors import InvalidArgumentError, LeaseLostError, OutcomeUnknownError, WouldBlockError
from memfs.protocol import messages as m
from memfs.protocol.messages import LockMode

from ..machine import BLOCK, Machine

HEIR, OTHER = 1, 2


@pytest.fixture
def machine() -> Machine:
    return Machine()


def lock(machine: Machine, inode: int, client: int, *, wait: bool = False) -> m.LockReply:
    request = m.SetLock(inode, LockMode.EXCLUSIVE, 1, wait=wait)
    return machine.run(request, client=client)  # type: ignore[no-any-return]


def test_locks_stay_and_leases_and_reservations_end(machine: Machine) -> None:
    inode = machine.file("/locked").inode
    number = lock(machine, inode, HEIR).session
    lease = machine.run(m.Create(b"/written"), client=HEIR).attributes
    machine.run(m.ReserveInodes(3), client=HEIR)
    outcome = machine.apply(machine.entry(m.TakeOver(0), client=HEIR))
    assert outcome.record == m.TakeOverReply(number, ())
    assert lease.inode in outcome.ended and len(outcome.ended) == 4
    with pytest.raises(WouldBlockError):
        lock(machine, inode, OTHER)
    assert not machine.namespace.leases(HEIR) and not machine.namespace.statistics().reserved
    with pytest.raises(LeaseLostError):
        machine.write(lease, BLOCK, client=HEIR)
    machine.run(m.AcquireLease(b"/written"), client=OTHER)


def test_what_waited_for_a_lock_waits_no_more(machine: Machine) -> None:
    inode = machine.file("/f").inode
    lock(machine, inode, OTHER)
    ticket = lock(machine, inode, HEIR, wait=True).ticket
    outcome = machine.apply(machine.entry(m.TakeOver(0), client=HEIR))
    assert outcome.woken == (ticket,)
    machine.run(m.SetLock(inode, LockMode.UNLOCK, 1), client=OTHER)
    assert lock(machine, inode, 3), "the former process does not get it"


def test_who_has_no_session_gets_none(machine: Machine) -> None:
    assert machine.run(m.TakeOver(0), client=HEIR) == m.TakeOverReply(0, ())
    assert HEIR not in machine.namespace.sessions


def test_results_are_told_and_what_was_not_carried_out_never_is(machine: Machine) -> None:
    done = machine.entry(m.MakeDirectory(b"/done"), client=HEIR, request_id=1001)
    made = machine.apply(done).record
    refused = machine.entry(m.Unlink(b"/missing"), client=HEIR, request_id=1002)
    machine.apply(refused)
    asked = (1001, 1002, 1003)
    heir = machine.entry(m.TakeOver(1004, asked), client=HEIR, request_id=1004)
    assert machine.apply(heir).record.answered == (1001, 1002)

    repeated = machine.entry(m.MakeDirectory(b"/done"), client=HEIR, request_id=1001)
    assert machine.apply(repeated).record.attributes == made.attributes
    for each in (machine, machine.copy()):
        late = each.entry(m.MakeDirectory(b"/late"), client=HEIR, request_id=1003)
        assert each.apply(late).record.code == OutcomeUnknownError.code
        assert each.names("/") == ["done"]
        new = each.entry(m.MakeDirectory(b"/new"), client=HEIR, request_id=1005)
        assert isinstance(each.apply(new).record, m.MadeReply)


def test_no_more_results_are_asked_for_than_are_kept(machine: Machine) -> None:
    with pytest.raises(InvalidArgumentError):
        machine.run(m.TakeOver(0, tuple(range(limits.RESULTS_PER_SESSION + 1))))
