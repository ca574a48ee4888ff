"""What a primary knows of open files: registrations, late ones, everything anew, the grace."""

from __future__ import annotations

import random

import pytest

from memfs import limits
from memfs.errors import InvalidArgumentError
from memfs.node.namespace import Namespace
from memfs.node.replication import open_files
from memfs.node.replication.open_files import GRACE_SECONDS, OpenFiles
from memfs.protocol import messages as m
from tests.unit.node.namespace.machine import BLOCK, Machine


class Bench:
    """A namespace with some files, and what its primary knows."""

    def __init__(self, expected: tuple[int, ...] = ()) -> None:
        self.machine = Machine()
        self.now = 0.0
        for client in expected:
            self.machine.run(m.ExpectOpens(client))
        self.opens = OpenFiles(self.machine.namespace, lambda: self.now)
        self.opens.begin()
        self.machine.opens = self.opens

    def file(self, name: str) -> int:
        return self.machine.file(f"/{name}", BLOCK).inode

    def unlink(self, name: str) -> None:
        self.machine.run(m.Unlink(f"/{name}".encode()))

    @property
    def namespace(self) -> Namespace:
        return self.machine.namespace

    def free(self) -> None:
        self.machine.run(m.FreeUnlinked(self.opens.take_due()))

    @property
    def due(self) -> tuple[int, ...]:
        """What is due, which stays so."""
        inodes = self.opens.take_due()
        self.opens.put_back(inodes)
        return inodes


def closed(*pairs: tuple[int, int]) -> m.ReportOpens:
    return m.ReportOpens(tuple(p[0] for p in pairs), tuple(p[1] for p in pairs))


def everything(number: int, *inodes: int) -> m.ReportOpens:
    return m.ReportOpens(opened=inodes, number=number, complete=True, total=len(inodes))


def test_a_file_stays_until_its_last_user_has_closed_it() -> None:
    bench = Bench()
    inode = bench.file("f")
    bench.opens.opened(1, inode, 2)
    bench.opens.opened(1, inode, 4)
    bench.opens.opened(2, inode, 2)
    bench.unlink("f")
    bench.opens.report(1, closed((inode, 4)))
    assert bench.due == () and bench.opens.is_open(inode)
    assert (bench.opens.has_open(1, inode), bench.opens.has_open(2, inode)) == (False, True)
    bench.opens.forget(2)
    assert bench.due == (inode,)
    bench.free()
    assert bench.due == () == tuple(bench.namespace.unlinked())


def test_what_was_opened_again_meanwhile_stays() -> None:
    bench = Bench()
    inode = bench.file("f")
    bench.opens.opened(1, inode, 6)
    bench.opens.report(1, closed((inode, 4), (inode + 1, 4), (-1, 4)))
    assert bench.opens.has_open(1, inode)
    bench.opens.report(1, closed((inode, 6)))
    assert not bench.opens.has_open(1, inode) and bench.opens.count == 0


def test_what_is_opened_and_closed_while_it_is_being_freed_is_due_again() -> None:
    """The command was decided, and finds it open; it is answered when it is closed again."""
    bench = Bench()
    inode = bench.file("f")
    bench.opens.opened(1, inode, 2)
    bench.unlink("f")
    bench.opens.report(1, closed((inode, 2)))
    taken = bench.opens.take_due()
    bench.opens.opened(2, inode, 4)
    bench.machine.run(m.FreeUnlinked(taken))
    assert bench.namespace.unlinked() == [inode] and bench.due == ()
    bench.opens.report(2, closed((inode, 4)))
    assert taken == bench.due == (inode,)
    bench.free()
    assert bench.namespace.unlinked() == [] and bench.due == ()


def test_what_was_opened_before_it_is_taken_is_not_due() -> None:
    bench = Bench()
    inode = bench.file("f")
    bench.opens.opened(1, inode, 2)
    bench.unlink("f")
    bench.opens.report(1, closed((inode, 2)))
    bench.opens.opened(2, inode, 4)
    assert bench.due == ()


def test_what_could_not_be_freed_is_due_again_unless_somebody_has_it_open() -> None:
    bench = Bench()
    inodes = [bench.file(name) for name in "ab"]
    for inode, name in zip(inodes, "ab", strict=True):
        bench.opens.opened(1, inode, 2)
        bench.unlink(name)
    bench.opens.report(1, everything(3))
    taken = bench.opens.take_due()
    bench.opens.opened(2, inodes[0], 4)
    bench.opens.put_back(taken)
    assert sorted(taken) == sorted(inodes) and bench.due == (inodes[1],)


def test_named_files_are_never_due() -> None:
    bench = Bench()
    inode = bench.file("f")
    bench.opens.opened(1, inode, 2)
    bench.opens.report(1, closed((inode, 2)))
    assert bench.due == ()


def test_everything_anew_drops_what_was_given_up_and_what_of_it_comes_late() -> None:
    bench = Bench()
    mine, given_up, late = bench.file("a"), bench.file("b"), bench.file("c")
    bench.opens.opened(1, mine, 2)
    bench.opens.opened(1, given_up, 4)
    assert not bench.opens.report(1, closed())
    assert bench.opens.report(1, everything(7, mine))
    bench.opens.opened(1, late, 6)
    assert [bench.opens.has_open(1, i) for i in (mine, given_up, late)] == [True, False, False]
    bench.opens.opened(1, late, 8)
    assert bench.opens.report(1, closed())
    assert bench.opens.has_open(1, late)


def test_a_part_of_everything_is_not_everything() -> None:
    """The first half went to a former primary."""
    bench = Bench(expected=(1,))
    inodes = [bench.file(f"f{n}") for n in range(4)]
    bench.opens.report(1, m.ReportOpens(opened=tuple(inodes[2:]), number=9))
    assert not bench.opens.report(1, m.ReportOpens(number=9, complete=True, total=4))
    assert not bench.opens.all_registered
    bench.opens.report(1, m.ReportOpens(opened=tuple(inodes[:2]), number=9))
    assert bench.opens.report(1, m.ReportOpens(number=9, complete=True, total=4))
    assert bench.opens.all_registered and bench.opens.count == 4


def test_nothing_is_freed_before_those_have_spoken_who_had_files_open() -> None:
    bench = Bench(expected=(1, 2))
    inode, other = bench.file("f"), bench.file("g")
    bench.unlink("f")
    bench.unlink("g")
    assert bench.due == () and bench.namespace.statistics().unlinked == 2
    bench.opens.report(1, everything(3, inode))
    assert not bench.opens.all_registered
    bench.opens.forget(2)
    assert bench.opens.all_registered and bench.due == (other,)
    bench.free()
    assert bench.namespace.unlinked() == [inode]
    bench.opens.report(1, closed((inode, 3)))
    bench.free()
    assert bench.namespace.unlinked() == []


def test_who_does_not_speak_is_waited_for_in_vain() -> None:
    bench = Bench(expected=(1, 2))
    inode = bench.file("f")
    bench.unlink("f")
    bench.now = GRACE_SECONDS - 0.1
    assert not bench.opens.all_registered
    bench.now = GRACE_SECONDS
    assert bench.opens.all_registered and bench.due == (inode,)


def test_before_its_reign_a_primary_knows_nothing() -> None:
    bench = Bench()
    opens = OpenFiles(bench.namespace, lambda: 0.0)
    assert opens.is_open(1) and opens.take_due() == () and not opens.has_open(1, 1)


def test_more_than_is_kept_in_mind_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OPEN_FILES_PER_CLIENT", 3)
    monkeypatch.setattr(limits, "OPEN_FILES", 5)
    bench = Bench()
    for client in (1, 2):
        for inode in range(10, 20):
            bench.opens.opened(client, inode, 2)
    assert bench.opens.count == 5
    for client in (1, 2):
        bench.opens.report(client, closed(*[(inode, 2) for inode in range(10, 20)]))
    assert bench.opens.count == 0


def test_on_a_full_node_few_are_kept_in_mind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_files, "KEPT_ANYWAY", 3)
    full = False
    opens = OpenFiles(Bench().namespace, lambda: 0.0, lambda _: not full)
    for inode in range(10, 15):
        opens.opened(1, inode, 2)
    full = True
    for inode in range(12, 20):
        opens.opened(1, inode, 3)
    assert opens.count == 5
    opens.report(1, closed(*[(inode, 3) for inode in range(10, 14)]))
    for inode in range(16, 20):
        opens.opened(1, inode, 4)
    assert opens.count == 3 and opens.has_open(1, 14) and opens.has_open(1, 17)


def test_a_report_has_a_number_for_each_inode() -> None:
    with pytest.raises(InvalidArgumentError):
        Bench().opens.report(1, m.ReportOpens((1, 2), (3,)))


@pytest.mark.parametrize("seed", range(20))
def test_whatever_overtakes_what_the_client_is_believed(seed: int) -> None:
    """Requests travel on several connections; reports follow one another."""
    dice = random.Random(seed)
    opens = Bench().opens
    have: dict[int, int] = {}  # inode -> number of its last opening
    flying: list[tuple[int, int]] = []  # (number, inode), sent and not answered
    lost: list[tuple[int, int]] = []  # given up by the client, may arrive yet
    last = 0
    for _ in range(400):
        act = dice.random()
        if act < 0.35:
            last += 2
            flying.append((last, dice.randrange(5)))
        elif act < 0.65 and flying:
            number, inode = flying.pop(dice.randrange(len(flying)))
            opens.opened(1, inode, number)
            have[inode] = max(number, have.get(inode, 0))
        elif act < 0.7 and flying:
            lost.append(flying.pop(dice.randrange(len(flying))))
        elif act < 0.75 and lost:
            number, inode = lost.pop(dice.randrange(len(lost)))
            opens.opened(1, inode, number)
        elif act < 0.9 and have:
            mark = min([number for number, _ in flying], default=last + 2) - 1
            ready = [inode for inode, number in have.items() if number < mark]
            gone = [inode for inode in ready if dice.random() < 0.5]
            opens.report(1, closed(*[(inode, have.pop(inode)) for inode in gone]))
        else:
            mark = min([number for number, _ in flying], default=last + 2) - 1
            assert opens.report(1, everything(mark, *have))
            have = {inode: max(mark, number) for inode, number in have.items()}
        assert all(opens.has_open(1, inode) for inode in have)
    mark = min([number for number, _ in flying], default=last + 2) - 1
    opens.report(1, everything(mark, *have))
    for number, inode in lost:
        if number < mark:
            opens.opened(1, inode, number)
    assert {inode for inode in range(5) if opens.has_open(1, inode)} == set(have)
