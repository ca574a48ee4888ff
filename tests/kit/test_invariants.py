"""What the omniscient side takes for a broken invariant, and what not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from memfs.protocol import messages as m
from tests.support.invariants import _around_apply
from tests.unit.node.namespace.machine import Machine


class Stealings:
    """Stands for the observer: the clients of whom something was taken."""

    def __init__(self) -> None:
        self.robbed: list[tuple[int, int]] = []
        """Client, and generation of the lease that it had."""

    def applied(self, *_what: object) -> None:
        pass

    def stolen(self, _namespace: object, reply: m.LeaseReply, writers: dict[int, int]) -> None:
        self.robbed += [(client, reply.attributes.generation - 1) for client in writers.values()]


@pytest.fixture
def observer() -> Iterator[Stealings]:
    observer = Stealings()
    with _around_apply(observer):  # type: ignore[arg-type]
        yield observer


def test_a_repeated_command_takes_no_lease(observer: Stealings) -> None:
    machine = Machine()
    machine.run(m.Create(b"/f", 0o644), client=1)
    theft = m.AcquireLease(b"/f", steal=True)
    first = machine.entry(theft, client=2, request_id=7)
    machine.apply(first, theft)
    machine.run(theft, client=3)
    again = first._replace(index=machine.namespace.applied + 1)
    assert machine.apply(again, theft).record.attributes.generation == 2
    assert observer.robbed == [(1, 1), (2, 2)]
