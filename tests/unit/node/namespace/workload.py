"""Random commands of several users and clients over few names, so that they meet often.

Used against the oracle, and to see that two processes, or an original and its copy, stay equal.
Everything follows from the seed.
"""

from __future__ import annotations

import random
from typing import Any

from memfs.protocol import messages as m
from memfs.types import AclEntry

from .machine import BLOCK, USERS, Machine, blocks_of

NAMES = [b"a", b"b", b"c", b"d"]
MODES = [0o644, 0o666, 0o600, 0o755, 0o777, 0o700, 0o1777, 0o2775, 0o4755, 0o6777, 0o555]
TARGETS = [b"a", b"../b", b"/c/d", b"/a", b"b/", b"..", b"/", b"x/y"]
CLIENTS = [1, 2, 3]


class Workload:
    """Draws the next request for a machine."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)

    def user(self) -> str:
        return self.dice.choice([*USERS, "root", "alice", "bob"])

    def client(self) -> int:
        return self.dice.choice(CLIENTS)

    def path(self) -> bytes:
        depth = self.dice.choice([1, 1, 2, 2, 3])
        parts = [self.dice.choice(NAMES) for _ in range(depth)]
        if self.dice.random() < 0.05:
            parts.insert(self.dice.randrange(depth), b"..")
        tail = b"/" if self.dice.random() < 0.05 else b""
        return b"/" + b"/".join(parts) + tail

    def structure(self) -> Any:
        """A command that the oracle knows."""
        dice, chance = self.dice, self.dice.random
        maybe = lambda value: value if chance() < 0.4 else None  # noqa: E731
        draw = dice.choice(
            [
                lambda: m.Create(
                    self.path(),
                    dice.choice(MODES),
                    chance() < 0.2,
                    chance() < 0.3,
                    dice.choice([0, 0, 1, 3]),
                    unmasked=maybe(0o666),
                ),
                lambda: m.AcquireLease(self.path(), chance() < 0.3),
                lambda: m.MakeDirectory(self.path(), dice.choice(MODES), chance() < 0.4),
                lambda: m.MakeDirectory(self.path(), 0o777),
                lambda: m.RemoveDirectory(self.path(), chance() < 0.5),
                lambda: m.Unlink(self.path()),
                lambda: m.MakeSymlink(
                    self.path(), dice.choice(TARGETS), chance() < 0.2, replace=chance() < 0.4
                ),
                lambda: m.MakeLink(self.path(), self.path(), replace=chance() < 0.4),
                self.special,
                lambda: m.Rename(self.path(), self.path(), dice.choice([0, 0, 1, 2])),
                lambda: m.Rename(self.path(), self.path()),
                lambda: m.SetAttributes(
                    self.path(),
                    maybe(dice.choice(MODES)),
                    maybe(dice.choice(["alice", "bob", "root"])),
                    maybe(dice.choice(["people", "others", "artists"])),
                    replication=maybe(dice.choice([1, 2, 4])) if chance() < 0.5 else None,
                    follow=chance() < 0.8,
                ),
                lambda: m.ExpireSession(self.client()),
                self.list_change,
            ]
        )
        return draw()

    def special(self) -> m.MakeNode:
        """A FIFO, a device or a socket."""
        kind = self.dice.choice([5, 5, 6, 7, 8])
        device = self.dice.randrange(1 << 32) if kind in (6, 7) else 0
        return m.MakeNode(self.path(), kind, self.dice.choice(MODES), device)

    def list_change(self) -> m.ChangeAcl:
        """Named entries, or the end of a list."""
        dice = self.dice
        change = dice.choice([m.AclChange.MODIFY] * 3 + [m.AclChange(3), m.AclChange(4)])
        names = [(0, "alice"), (0, "bob"), (0, "carol"), (1, "artists"), (1, "others")]
        entries = tuple(
            AclEntry(kind, name, dice.randrange(8), dice.random() < 0.4)
            for kind, name in dice.sample(names, dice.randrange(1, 3))
        )
        return m.ChangeAcl(self.path(), change, entries if change == m.AclChange.MODIFY else ())

    def content(self, machine: Machine) -> Any:
        """A command on content; most are well formed."""
        dice = self.dice
        client = self.client()
        leases = machine.namespace.leases(client)
        if leases and dice.random() < 0.6:
            return client, self.commit(machine, dice.choice(leases))
        session = machine.namespace.sessions.get(client)
        if session is not None and session.reserved and dice.random() < 0.7:
            slots = list(session.reserved)[:3]
            inodes = map(machine.namespace.volume.tree.inodes.id_of, slots)
            return client, m.PutFiles(tuple(self.new_file(inode) for inode in inodes))
        return client, dice.choice(
            [
                m.ReserveInodes(dice.randrange(1, 5)),
                m.CreateDraft(self.path(), dice.random() < 0.2, dice.random() < 0.3),
                m.CreateDraft(self.path(), recover=True),
                m.CreateUnnamed(self.path(), linkable=dice.random() < 0.8),
                self.naming(machine),
                m.ReleaseInodes(tuple(dice.choices(range(1, 40), k=3))),
                m.Concat(self.path(), (self.path(), self.path())),
                m.Concat(self.path(), (self.path(),)),
                m.SetXattr(self.path(), dice.choice(["user.a", "user.b"]), dice.randbytes(9)),
                m.RemoveXattr(self.path(), "user.a"),
                m.Reclaim(dice.randrange(8)),
                self.lock(machine),
                self.lock(machine),
                m.CancelLock(dice.randrange(machine.namespace.applied + 1)),
                m.TakeOver(0, tuple(range(dice.randrange(9)))),
            ]
        )

    def naming(self, machine: Machine) -> m.MakeLink:
        """Give a name to what has none, if there is such a file."""
        tree = machine.namespace.volume.tree
        slots = sorted(tree.linkable) or sorted(tree.unlinked) or [1]
        inode = tree.inodes.id_of(self.dice.choice(slots))
        return m.MakeLink(b"", self.path(), inode, replace=self.dice.random() < 0.4)

    def lock(self, machine: Machine) -> m.SetLock:
        """Lock or unlock some inode, often waiting for it."""
        dice, inodes = self.dice, machine.namespace.volume.tree.inodes
        slot = dice.choice([1, *inodes.slots()])
        start = dice.randrange(9)
        owner, kind, end = dice.randrange(3), dice.choice((0, 1)), start + dice.randrange(9)
        mode = dice.choice((0, 1, 1, 2))
        wait = dice.random() < 0.6
        return m.SetLock(inodes.id_of(slot), mode, owner, kind, start, end, wait=wait)

    def commit(self, machine: Machine, inode: int) -> Any:
        volume = machine.namespace.volume  # asked directly: the file's tree may be deleted
        slot = volume.tree.inodes.slot_of(inode)
        attributes = volume.attributes(slot)
        size = self.dice.choice([0, 1, BLOCK, 2 * BLOCK, 2 * BLOCK + 7, attributes.size])
        refs = blocks_of(inode, attributes.generation, size, sequence=machine.namespace.applied)
        chosen = [ref for ref in refs if self.dice.random() < 0.7 or ref is refs[-1]]
        held = inode, attributes.generation
        if slot not in volume.tree.nameless:
            return m.Commit(*held, size, tuple(chosen), self.dice.random() < 0.5)
        if self.dice.random() < 0.2:
            return m.ReleaseLease(*held)
        recover = self.dice.random() < 0.5
        return m.PublishDraft(*held, self.path(), size, tuple(chosen), recover=recover)

    def new_file(self, inode: int) -> m.NewFile:
        size = self.dice.choice([0, 5, BLOCK, 2 * BLOCK])
        refs = blocks_of(inode, 1, size)
        return m.NewFile(self.path(), inode, size, refs, parents=self.dice.random() < 0.3)


def run(seed: int, steps: int = 300) -> Machine:
    """A machine after ``steps`` random commands of every kind."""
    machine, workload = Machine(), Workload(seed)
    for _ in range(steps):
        step(machine, workload)
    return machine


def step(machine: Machine, workload: Workload) -> Any:
    """One random command; its entry."""
    if workload.dice.random() < 0.4:
        client, request = workload.content(machine)
    else:
        client, request = workload.client(), workload.structure()
    entry = machine.entry(request, workload.user(), client)
    machine.apply(entry, request)
    return entry
