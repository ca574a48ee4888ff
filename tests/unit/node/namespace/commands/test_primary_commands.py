"""What the primary commands on its own."""

from __future__ import annotations

import pytest

from memfs import limits
from memfs.errors import InvalidArgumentError, LeaseLostError, StaleHandleError
from memfs.protocol import messages as m
from tests.support.placed import placed_blocks

from ..machine import BLOCK, Machine, block


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_an_expired_session_leaves_what_it_committed(machine: Machine) -> None:
    held = machine.run(m.Create(b"/f"), client=9).attributes
    other = machine.run(m.Create(b"/g"), client=8).attributes
    machine.run(m.Commit(held.inode, 1, 5, (block(held.inode, length=5),)), client=9)
    assert sorted(machine.namespace.sessions) == [8, 9]
    machine.run(m.ExpireSession(9))
    assert list(machine.namespace.sessions) == [8] and machine.namespace.leases(9) == ()
    left = machine.stat("/f")
    assert (left.size, left.leased, left.generation) == (5, False, 1)
    with pytest.raises(LeaseLostError):
        machine.run(m.Commit(held.inode, 1, 0), client=9)
    assert machine.stat("/g").leased and machine.namespace.leases(8) == (other.inode,)
    machine.run(m.ExpireSession(9))
    assert machine.run(m.AcquireLease(b"/f"), client=9).attributes.generation == 2


def test_uncommitted_blocks_are_live_while_the_lease_is(machine: Machine) -> None:
    """NoEarlyGC."""
    held = machine.run(m.Create(b"/f")).attributes
    version = m.BlockVersion(held.inode, 3, 1, 7)
    assert machine.namespace.is_live(version)
    assert not machine.namespace.is_live(version._replace(generation=0))
    assert not machine.namespace.is_live(version._replace(generation=2))
    machine.run(m.AcquireLease(b"/f", steal=True), client=2)
    assert not machine.namespace.is_live(version)
    assert machine.namespace.is_live(version._replace(generation=2))
    machine.run(m.ExpireSession(2))
    assert not machine.namespace.is_live(version._replace(generation=2))


def test_a_version_older_than_the_published_one_of_its_lease_is_not_live(machine: Machine) -> None:
    """Nobody can publish it any more, though its writer goes on."""
    held = machine.run(m.Create(b"/f")).attributes
    old, new = (m.BlockVersion(held.inode, 1, 1, sequence) for sequence in (3, 4))
    holes = block(held.inode, 0, 0, 0, 0, replicas=())
    published = block(*new)
    machine.run(m.Commit(held.inode, 1, 2 * BLOCK, (holes, published)))
    assert not machine.namespace.is_live(old)
    with pytest.raises(InvalidArgumentError, match="a later version"):
        machine.run(m.Commit(held.inode, 1, 2 * BLOCK, (block(*old),)))
    may_come = (new, new._replace(sequence=5), old._replace(index=0), old._replace(index=2))
    assert all(map(machine.namespace.is_live, may_come))
    stolen = machine.run(m.AcquireLease(b"/f", steal=True), client=2).attributes
    assert machine.namespace.is_live(old._replace(generation=stolen.generation))


@pytest.mark.parametrize("inode", [0, 1, -1, 99, 1 << 40, 1 << 64])
def test_blocks_of_what_is_no_file_are_not_live(machine: Machine, inode: int) -> None:
    machine.mkdir("/d")
    for index in (0, -1, 1 << 63):
        assert not machine.namespace.is_live(m.BlockVersion(inode, index, 0, 0))


def test_replicas_are_replaced_for_the_current_version_only(machine: Machine) -> None:
    machine.file("/f", 2 * BLOCK)
    first, second = machine.blocks("/f")
    change = machine.stat("/f").change
    machine.run(m.SetReplicas(*second.version, (2, 5, 6)))
    assert machine.blocks("/f") == (first, second._replace(replicas=(2, 5, 6)))
    assert machine.discards == [second._replace(replicas=(1,))], "member 1 may forget it"
    assert machine.stat("/f").change == change, "what it holds did not change"
    for version in (
        m.BlockVersion(*first[:3], 99),
        m.BlockVersion(first.inode, 2, 1, 0),
        m.BlockVersion(first.inode, -1, 1, 0),
        m.BlockVersion(77, 0, 1, 0),
    ):
        with pytest.raises(StaleHandleError):
            machine.run(m.SetReplicas(*version, (1,)))
    for replicas in ((), (0,), (1, 1), tuple(range(1, 10))):
        with pytest.raises(InvalidArgumentError):
            machine.run(m.SetReplicas(*first.version, replicas))


def test_replicas_of_many_versions_are_replaced_by_one_command(machine: Machine) -> None:
    machine.file("/f", 2 * BLOCK)
    first, second = machine.blocks("/f")
    stale = m.BlockVersion(*first[:3], 99)
    versions = (first.version, stale, second.version)
    machine.run(m.SetManyReplicas(versions, ((1, 4), (7,), (5,))))
    assert [block.replicas for block in machine.blocks("/f")] == [(1, 4), (5,)]
    assert machine.discards == [first._replace(replicas=(2,)), second]
    before = machine.blocks("/f")
    for replicas in (((3,), (), (3,)), ((3,), (3,))):
        with pytest.raises(InvalidArgumentError):
            machine.run(m.SetManyReplicas(versions, replicas))
    many = (first.version,) * (limits.REPLICAS_PER_COMMAND + 1)
    with pytest.raises(InvalidArgumentError):
        machine.run(m.SetManyReplicas(many, ((3,),) * len(many)))
    assert machine.blocks("/f") == before


@pytest.mark.parametrize("count", [0, -5])
def test_reclaim_of_nothing(machine: Machine, count: int) -> None:
    machine.file("/d/f", parents=True)
    machine.run(m.RemoveDirectory(b"/d", recursive=True))
    left = machine.namespace.reclaiming
    machine.run(m.Reclaim(count))
    assert machine.namespace.reclaiming == left == 2


def test_all_blocks_are_paged_for_healing(machine: Machine) -> None:
    machine.file("/a", 700 * BLOCK, replication=3)
    machine.file("/b", 5)
    machine.file("/gone/c", BLOCK, parents=True)
    machine.file("/d")
    expected = [*machine.blocks("/a"), *machine.blocks("/b")]
    machine.run(m.RemoveDirectory(b"/gone", recursive=True))
    found = list(placed_blocks(machine.namespace, 99))
    assert sorted(placed.ref for placed in found) == sorted(expected)
    assert {(p.replication, p.block_size, p.group_blocks) for p in found} == {
        (3, BLOCK, 4),
        (2, BLOCK, 4),
    }
