"""Random commands: against the oracle, and with a copy that was restored from a snapshot midway."""

from __future__ import annotations

from typing import Any

import pytest

from memfs import errors
from memfs.protocol import messages as m

from . import oracle_commands
from .machine import USERS, Machine
from .oracle import Oracle
from .workload import Workload, step


@pytest.mark.parametrize("seed", range(40))
def test_it_agrees_with_the_oracle(seed: int) -> None:
    machine, oracle, workload = Machine(), Oracle(), Workload(seed)
    for _ in range(150):
        command(machine, oracle, workload)
        machine.reclaim()
        if workload.dice.random() < 0.3:
            commit(machine, oracle, workload)
        compare(machine, oracle)


def command(machine: Machine, oracle: Oracle, workload: Workload) -> None:
    """One command to both; both agree to do it, or refuse it in the same way."""
    request, user, client = workload.structure(), workload.user(), workload.client()
    expected: set[type[Exception] | None] = {None}
    try:
        oracle_commands.run(oracle, USERS[user], client, request)
    except oracle_commands.Refusals as refusals:
        expected = {*refusals.classes}
    except errors.MemfsError as error:
        expected = {type(error)}
    record = machine.apply(machine.entry(request, user, client), request).record
    found = errors.BY_CODE[record.code] if isinstance(record, m.ErrorReply) else None
    assert found in expected, f"{user}: {request}: {record}"


def commit(machine: Machine, oracle: Oracle, workload: Workload) -> None:
    """One commit of a lease that somebody holds."""
    client = workload.client()
    leases = machine.namespace.leases(client)
    if not leases:
        return
    inode = workload.dice.choice(leases)
    request = workload.commit(machine, inode)
    nodes = {machine.stat(path.decode(), follow=False).inode: node for path, node in oracle.every()}
    if inode not in nodes:  # it was deleted, and goes on for its writer
        assert machine.namespace.is_unlinked(inode) or machine.namespace.reclaiming
        machine.apply(machine.entry(request, "alice", client), request)
        return
    before = dict(nodes[inode].blocks)
    refused = machine.apply(machine.entry(request, "alice", client), request).record
    if isinstance(refused, m.ErrorReply):
        # A block of the old content straddles the new end, and it was not among those drawn.
        assert refused.code == errors.InvalidArgumentError.code and before
    else:
        oracle_commands.write(nodes[inode], USERS["alice"], request)


def compare(machine: Machine, oracle: Oracle) -> None:
    """Every name, what it means, and the totals of every directory."""
    files = 0
    for raw, node in oracle.every():
        path = raw.decode()
        found = machine.stat(path, follow=False)
        assert (found.kind, found.mode, found.owner, found.group, found.links, found.size) == (
            node.kind,
            node.mode,
            node.owner,
            node.group,
            node.links,
            node.size,
        ), path
        if node.kind != 2:
            assert listed(machine, raw) == (node.named, node.default), path
        if node.kind == 1:
            assert machine.names(path) == [name.decode() for name in sorted(node.entries)]
            assert found.children == len(node.entries)
            assert machine.du(path) == oracle.du(node), path
        elif node.kind == 0:
            files += 1
            assert (found.leased, found.generation) == (bool(node.writer), node.generation)
            blocks = {
                ref.index: (ref.generation, ref.sequence)
                for ref in machine.blocks(path)
                if ref.length
            }
            assert blocks == node.blocks, path
        elif node.kind == 2:
            assert machine.ask(m.ReadLink(raw)).target == node.target
        else:
            assert found.device == node.device


def listed(machine: Machine, path: bytes) -> tuple[dict[Any, int], dict[Any, int]]:
    """What a list says beyond the mode bits, by scope."""
    entries = machine.ask(m.GetAcl(path)).entries
    access = {(kind, name): bits for kind, name, bits, default in entries if not default}
    default = {(kind, name): bits for kind, name, bits, default in entries if default}
    extended = (2, "") in access
    base = [(0, ""), (2, ""), (3, "")]
    return {key: access[key] for key in access if extended and key not in base}, default


@pytest.mark.parametrize("seed", range(15))
def test_a_restored_copy_stays_equal(seed: int) -> None:
    """AckedDurable, DeterministicApply: snapshots hold all that decides about the future."""
    machine, workload = Machine(), Workload(1000 + seed)
    entries = []
    for number in range(240):
        entries.append(step(machine, workload))
        if number % 80 == 40:
            copy = machine.copy()
            assert list(copy.namespace.snapshot()) == list(machine.namespace.snapshot())
            follow(machine, copy, workload, 60)
    again = Machine(open_to_all=False)
    again.apply(again.entry(m.SetAttributes(b"/", mode=0o777)))
    assert again.namespace.applied == 1


@pytest.mark.parametrize("seed", range(15))
def test_what_free_slots_hold_decides_nothing(seed: int) -> None:
    """DeterministicApply: but for kind and incarnation it may be anything, so a member may have
    given it back."""
    workload = Workload(3000 + seed)
    machine, dice, changed = Machine(), workload.dice, 0
    for number in range(240):
        step(machine, workload)
        if number % 60 == 59:
            copy = machine.copy()
            inodes = copy.namespace.volume.tree.inodes
            changed += len(inodes.free_slots)
            for slot in inodes.free_slots:
                inodes.set_mode(slot, dice.randrange(1 << 16))
                inodes.set_parent(slot, dice.randrange(inodes.used))
                for words in (inodes.owner, inodes.links, inodes.layout, inodes.generation):
                    words[slot] = dice.randrange(1 << 32)
                for quads in (inodes.size, inodes.modified, inodes.changed, inodes.change):
                    quads[slot] = dice.randrange(1 << 63)
            follow(machine, copy, workload, 60)
    assert changed


def follow(machine: Machine, copy: Machine, workload: Workload, steps: int) -> None:
    """The same entries to both give the same outcomes."""
    for _ in range(steps):
        client, request = (
            workload.content(machine)
            if workload.dice.random() < 0.4
            else (workload.client(), workload.structure())
        )
        entry = machine.entry(request, workload.user(), client)
        assert machine.apply(entry, request) == copy.apply(entry)
        assert machine.namespace.digest == copy.namespace.digest
        if workload.dice.random() < 0.1:  # a retry at the new primary
            repeated = entry._replace(index=entry.index + 1)
            assert machine.apply(repeated) == copy.apply(repeated)
