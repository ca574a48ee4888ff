"""How long a file may get: what comes with a lease, and the question before bytes travel."""

from __future__ import annotations

import pytest

from memfs import errors
from memfs.protocol import messages as m
from memfs.types import Attributes

from ..machine import BLOCK, Machine


@pytest.fixture
def machine() -> Machine:
    machine = Machine()  # two copies of everything
    machine.mkdir("/q/d", 0o777)
    machine.run(m.SetQuota(b"/q", space=10 * BLOCK))
    return machine


def check(machine: Machine, leased: Attributes, size: int, path: str = "", user: str = "") -> int:
    request = m.CheckGrowth(leased.inode, size, path.encode())
    return (machine.ask(request, user) if user else machine.ask(request)).most


def test_a_lease_says_how_long_the_file_may_get(machine: Machine) -> None:
    assert machine.run(m.Create(b"/free")).most == -1
    assert machine.run(m.Create(b"/q/d/f")).most == 5 * BLOCK
    machine.file("/q/g", 2 * BLOCK)
    assert machine.run(m.AcquireLease(b"/q/g")).most == 5 * BLOCK  # two of it are its own
    machine.run(m.SetQuota(b"/q/d", space=3 * BLOCK + 1))  # the narrowest counts
    assert machine.run(m.Create(b"/q/d/h")).most == 3 * BLOCK // 2
    machine.run(m.SetQuota(b"/q", space=BLOCK))  # less than what is used: it may not grow
    assert machine.run(m.AcquireLease(b"/q/g", steal=True)).most == 2 * BLOCK
    machine.run(m.SetQuota(b"/q", names=7, space=-1))
    assert machine.run(m.AcquireLease(b"/q/g", steal=True)).most == -1


def test_a_draft_takes_the_room_of_what_it_replaces(machine: Machine) -> None:
    machine.file("/q/f", 3 * BLOCK)
    assert machine.run(m.CreateDraft(b"/q/f")).most == 5 * BLOCK
    assert machine.run(m.CreateDraft(b"/q/g")).most == 2 * BLOCK
    assert machine.run(m.CreateDraft(b"/q/a/b/c", parents=True)).most == 2 * BLOCK
    assert machine.run(m.CreateDraft(b"/free")).most == -1
    machine.run(m.SetQuota(b"/q", space=BLOCK))
    assert machine.run(m.CreateDraft(b"/q/f")).most == 3 * BLOCK


def test_a_question_knows_what_has_changed_since(machine: Machine) -> None:
    machine.file("/q/other", 4 * BLOCK)
    leased = machine.run(m.Create(b"/q/f")).attributes
    assert check(machine, leased, BLOCK) == BLOCK
    with pytest.raises(errors.SpaceQuotaError, match="more are wanted"):
        check(machine, leased, BLOCK + 1)
    machine.run(m.Unlink(b"/q/other"))
    assert check(machine, leased, BLOCK + 1) == 5 * BLOCK
    draft = machine.run(m.CreateDraft(b"/q/new/f", parents=True)).attributes
    assert check(machine, draft, 5 * BLOCK, "/q/new/f") == 5 * BLOCK
    with pytest.raises(errors.SpaceQuotaError):
        check(machine, draft, 5 * BLOCK + 1, "/q/new/f")


def test_only_who_writes_a_file_may_ask(machine: Machine) -> None:
    leased = machine.run(m.Create(b"/q/f")).attributes
    with pytest.raises(errors.LeaseLostError):
        check(machine, leased, BLOCK, user="alice")
    machine.run(m.ReleaseLease(leased.inode, leased.generation))
    with pytest.raises(errors.StaleHandleError):
        check(machine, leased, BLOCK)
