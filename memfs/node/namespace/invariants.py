"""The invariants between commands, recomputed from scratch: for tests and fsck.

Owns no state. Each function takes one family of facts that the state keeps twice (a count and what
it counts, a link and its back link) and asserts that they agree.
"""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TypeVar

from memfs.node.namespace.containers.interning import Interned
from memfs.node.namespace.rules.acls import modified, whole
from memfs.node.namespace.rules.permissions import HAS_ACL
from memfs.node.namespace.tables.inodes import (
    ABSORBED,
    DIRECTORY,
    FILE,
    NOWHERE,
    RESERVED,
    ROOT,
    SYMLINK,
    is_named,
)
from memfs.node.namespace.tables.locks import Table
from memfs.node.namespace.tables.tree import Tree
from memfs.node.namespace.tables.volume import Volume
from memfs.types import LOCK_END

T = TypeVar("T")


def check_volume(volume: Volume) -> None:
    """Assert all invariants of a volume."""
    _check_slots(volume)
    _check_names(volume)
    _check_totals(volume)
    _check_guards(volume)
    _check_foreign(volume)
    _check_holdings(volume)
    _check_locks(volume)
    _check_absorbed(volume)
    _check_shared(volume)
    _check_reclaim(volume)
    _check_mounts(volume)
    volume.tokens.check_invariants()
    volume.accounts.check_invariants()
    volume.limits.check_invariants()
    users = Counter(each.user for each in volume.sessions.by_client.values() if each.user)
    assert users == volume.sessions.by_user
    owned = Counter[str]()
    for (user, _), count in zip(volume.tree.owners.values, volume.tree.owners.counts, strict=True):
        owned[user] += count
    assert +owned == volume.tree.owners.by_user()


def _check_mounts(volume: Volume) -> None:
    """What is known of external stores belongs to inodes that exist."""
    mounts, inodes = volume.mounts, volume.tree.inodes
    numbers = {mount.number for mount in mounts.by_slot.values()}
    assert len(numbers) == len(mounts.by_slot) and max(numbers, default=0) < mounts.next_number
    for slot, mount in mounts.by_slot.items():
        assert slot == mount.slot and inodes.kind[slot] == DIRECTORY, "a mount is a directory"
        assert volume.tree.is_attached(slot), "a mount can be reached"
    tags = dict(mounts.tags.items())
    assert len(tags) == mounts.tags.count, "tags are miscounted"
    for slot in (*tags, *mounts.changes, *mounts.pins):
        assert inodes.kind[slot] in (FILE, DIRECTORY), f"a store's slot {slot} is in use"
    assert not mounts.resident.keys() & mounts.changes.keys(), (
        "a changed file is as the store has it"
    )
    assert mounts.resident.keys() <= tags.keys(), "what the cluster has as well has a tag"
    for slot in tags.keys() - mounts.resident.keys() - mounts.changes.keys():
        held = inodes.kind[slot] == FILE and any(volume.blocks.positions(slot))
        assert not held, "the blocks of what the store alone has are no file's own"
    _check_unsaved(volume, numbers)


def _check_unsaved(volume: Volume, numbers: set[int]) -> None:
    """What is told of unsaved changes is what a walk through them says."""
    mounts, inodes = volume.mounts, volume.tree.inodes
    expected = dict.fromkeys(numbers, (0, 0, 0))

    def count(number: int, size: int, since_ns: int) -> None:
        changes, total, oldest = expected[number]
        second = max(1, since_ns // 10**9 * 10**9)
        expected[number] = changes + 1, total + size, min(oldest or second, second)

    for slot, change in mounts.changes.items():
        mount = mounts.mount_of(volume.tree, slot)
        if volume.tree.is_attached(slot):
            assert mount is not None and mount.number == change.mount, "a change of another mount"
            size = inodes.size[slot] if inodes.kind[slot] == FILE else 0
            assert size == change.size, "a change's size is miscounted"
        count(change.mount, change.size, change.since_ns)
    for (number, path), tombstone in mounts.tombstones.items():
        count(number, 0, tombstone.since_ns)
        above = number, path.rpartition(b"/")[0]
        assert mounts.tombstones.has_below(above), "a deletion below is not known"
    buried = Counter(mounts.buried.values())
    assert mounts.buried.keys() <= set(volume.reclaim), "no deleted directory is buried"
    assert all(key in mounts.tombstones and mounts.is_burying(key) for key in buried)
    assert {number: mounts.unsaved.of(number) for number in numbers} == expected


def _check_slots(volume: Volume) -> None:
    """Free slots are exactly those on the free stack, and those that are retired."""
    inodes = volume.tree.inodes
    in_use = set(inodes.slots())
    free = list(inodes.free_slots)
    assert len(free) == len(set(free)), "a slot is free twice"
    assert not in_use & set(free), "a slot in use is free"
    assert len(in_use) == len(inodes)
    assert len(in_use) + len(free) + inodes.retired == inodes.used - 1


def _directories(tree: Tree) -> list[int]:
    return [slot for slot in tree.inodes.slots() if tree.inodes.kind[slot] == DIRECTORY]


def _names(tree: Tree, slot: int) -> list[int]:
    return [child for _, child in tree.directory(slot).after(b"")]


def _check_names(volume: Volume) -> None:
    """Links, parents and homes agree with the names in directories (TreeAcyclic)."""
    tree = volume.tree
    inodes = tree.inodes
    holders: dict[int, Counter[int]] = {}
    for directory in _directories(tree):
        tree.directory(directory).check_invariants()
        children = _names(tree, directory)
        for child in children:
            holders.setdefault(child, Counter())[directory] += 1
        below = sum(inodes.kind[child] == DIRECTORY for child in children)
        assert not tree.is_attached(directory) or inodes.links[directory] == 2 + below
    for slot in inodes.slots():
        held = holders.get(slot, Counter())
        if inodes.kind[slot] == DIRECTORY:
            parent = inodes.parent[slot]
            assert sum(held.values()) == (slot != ROOT and parent != NOWHERE)
            assert slot == ROOT or parent == NOWHERE or held[parent] == 1
        elif slot in tree.nameless or slot in tree.unlinked:
            assert not held and not inodes.links[slot] and inodes.parent[slot] == NOWHERE
        elif is_named(inodes.kind[slot]):
            assert inodes.links[slot] == sum(held.values()) >= 1, "links are miscounted"
            assert held[inodes.parent[slot]] >= 1, "a home holds no link"
            links = tree.parents.get(slot)
            assert (links is not None) == (inodes.links[slot] > 1)
            assert links is None or (links == held and next(iter(links)) == inodes.parent[slot])
        else:
            assert not held, "a name leads to no file"
    assert set(tree.parents) <= set(holders)


def _check_totals(volume: Volume) -> None:
    """Totals of attached directories are the sum over the homes below them."""
    tree = volume.tree
    inodes = tree.inodes
    sums = {slot: [0, 0, 0, 0, 0] for slot in _directories(tree)}
    for slot in inodes.slots():
        if not is_named(inodes.kind[slot]):
            continue
        is_directory = inodes.kind[slot] == DIRECTORY
        length, space = (0, 0) if is_directory else tree.weight(slot)
        home = slot if is_directory else inodes.parent[slot]
        _add(tree, sums, home, (length, not is_directory, is_directory, space, 0))
    for slot, links in tree.parents.items():
        for directory, count in links.items():
            further = count - (directory == inodes.parent[slot])
            _add(tree, sums, directory, (0, 0, 0, 0, further))
    for slot, expected in sums.items():
        if tree.is_attached(slot):
            assert list(tree.directory(slot).totals) == expected, f"totals of slot {slot}"


def _check_guards(volume: Volume) -> None:
    """Attached directories count the directories below that need a walk (``rules.subtrees``)."""
    tree = volume.tree
    sums = {slot: [0, 0] for slot in _directories(tree)}
    for slot in sums:
        if slot != ROOT:
            parent = tree.inodes.parent[slot]
            _add(tree, sums, parent, tree.guard(slot, parent))
    for slot, expected in sums.items():
        if tree.is_attached(slot):
            directory = tree.directory(slot)
            assert [directory.mixed, directory.closed] == expected, f"guards of slot {slot}"
            _check_open(tree, slot)


def _check_open(tree: Tree, slot: int) -> None:
    """A directory counts the directories in it that deny their owners nothing, by user."""
    kinds, modes = tree.inodes.kind, tree.inodes.mode
    users = Counter(
        tree.owner_of(child)
        for child in _names(tree, slot)
        if kinds[child] == DIRECTORY and modes[child] & 0o700 == 0o700
    )
    directory = tree.directory(slot)
    assert directory.open_kin == users.pop(tree.owner_of(slot), 0), f"open kin of slot {slot}"
    assert directory.open_others == (dict(users) or None), f"open others of slot {slot}"


def _check_foreign(volume: Volume) -> None:
    """Directories count whose entries are not of their own user."""
    tree = volume.tree
    for slot in _directories(tree):
        users = Counter(map(tree.owner_of, _names(tree, slot)))
        del users[tree.owner_of(slot)]
        assert tree.directory(slot).foreign == (dict(users) or None), f"entries of slot {slot}"


def _add(tree: Tree, sums: dict[int, list[int]], at: int, parts: tuple[int, ...]) -> None:
    while at:
        for number, part in enumerate(parts):
            sums[at][number] += part
        at = tree.inodes.parent[at] if at != ROOT else NOWHERE


def _check_holdings(volume: Volume) -> None:
    """Sessions and what they hold point at each other (SingleWriter)."""
    inodes, sessions = volume.tree.inodes, volume.sessions
    writers: dict[int, int] = {}
    reserved: list[int] = []
    for client, session in sessions.by_client.items():
        held = session.leases or session.reserved or session.number or session.opens
        assert held, "an empty session"
        writers |= dict.fromkeys(session.leases, client)
        reserved += session.reserved
    assert volume.tree.nameless <= set(writers), "a draft without a writer"
    assert not volume.tree.nameless & volume.tree.unlinked, "a draft that had a name"
    assert all(inodes.kind[slot] == FILE for slot in volume.tree.unlinked)
    assert volume.tree.linkable <= volume.tree.unlinked, "a named file that waits for its name"
    assert sessions.holders.keys() <= writers.keys(), "a holder of nothing"
    assert writers == sessions.writers and sessions.reserved == len(reserved)
    assert all(inodes.kind[slot] == FILE for slot in writers)
    assert sorted(reserved) == [s for s in inodes.slots() if inodes.kind[s] == RESERVED]


def _check_locks(volume: Volume) -> None:
    """Granted locks are compatible, waiting ones are not, and sessions list what they hold."""
    locks, inodes = volume.locks, volume.tree.inodes
    held: dict[int, Counter[Table]] = {}
    for table, ranges in locks.held.items():
        assert ranges and is_named(inodes.kind[table[0]]), "locks of nothing"
        assert [lock.start for lock in ranges] == sorted(lock.start for lock in ranges)
        for lock in ranges:
            assert 0 <= lock.start <= lock.end <= LOCK_END
            held.setdefault(lock.client, Counter())[table] += 1
        for one, other in itertools.combinations(ranges, 2):
            assert not one.meets(other), f"{one} and {other} exclude one another"
            separate = one.end + (one.exclusive == other.exclusive) < other.start
            assert one.by != other.by or separate, f"{one} and {other} should be one"
    assert locks.count == sum(counts.total() for counts in held.values())
    waits: dict[int, dict[int, Table]] = {}
    for table, queue in locks.waiting.items():
        assert queue and list(queue) == sorted(queue)
        for ticket, waiter in queue.items():
            assert (waiter.ticket, waiter.table) == (ticket, table)
            assert locks.conflict(table, waiter.lock), f"{waiter} waits for nothing"
            waits.setdefault(waiter.lock.client, {})[ticket] = table
    for client, session in volume.sessions.by_client.items():
        assert session.locked == held.pop(client, {}) and session.waits == waits.pop(client, {})
        assert session.number or not (session.locked or session.waits)
    assert not held and not waits, "locks of no session"


def _check_absorbed(volume: Volume) -> None:
    """Absorbed inodes count the rows that name them, and lie where these are."""
    blocks, inodes = volume.blocks, volume.tree.inodes
    rows: Counter[int] = Counter()
    for slot in inodes.slots():
        if inodes.kind[slot] == FILE:
            positions = list(blocks.positions(slot))
            assert not positions or positions[-1] < volume.block_count(slot)
            for position in positions:
                ref = blocks.get(slot, position)
                assert blocks.position_of(slot, ref) == position, "a row lies elsewhere"
                if ref.inode != inodes.id_of(slot):
                    rows[inodes.slot_of(ref.inode)] += 1
    for chunk in blocks.dropped:
        for row in blocks.rows_of(chunk):
            source = inodes.slot_of(row[0])
            if source and inodes.kind[source] == ABSORBED:
                rows[source] += 1
    absorbed = [slot for slot in inodes.slots() if inodes.kind[slot] == ABSORBED]
    assert rows == {slot: inodes.links[slot] for slot in absorbed}
    held = [slot for sources in blocks.absorbed.values() for slot in sources]
    assert sorted(held) == [slot for slot in absorbed if inodes.parent[slot] != NOWHERE]
    for target, sources in blocks.absorbed.items():
        assert all(inodes.parent[slot] == target for slot in sources)


def _check_shared(volume: Volume) -> None:
    """Reference counts of shared values are exact; arenas hold nothing unreferenced."""
    tree, blocks = volume.tree, volume.blocks
    inodes = tree.inodes
    real = [slot for slot in inodes.slots() if is_named(inodes.kind[slot])]
    files = [slot for slot in real if inodes.kind[slot] == FILE]
    _check_counts(tree.owners, Counter(inodes.owner[slot] for slot in real))
    _check_counts(tree.layouts, Counter(inodes.layout[slot] for slot in files))
    sets = Counter(
        row[6]
        for slot in files
        for position in blocks.positions(slot)
        if (row := blocks.row(slot, position))
    )
    for chunk in blocks.dropped:
        sets.update(row[6] for row in blocks.rows_of(chunk))
    _check_counts(blocks.replica_sets, sets)
    arenas = (
        (tree.directories, DIRECTORY),
        (tree.targets, SYMLINK),
        (blocks.tables, FILE),
    )
    for arena, kind in arenas:
        used = sorted(inodes.extra[s] for s in real if inodes.kind[s] == kind and inodes.extra[s])
        assert sorted([*used, *arena.free]) == list(range(1, len(arena.items)))
    assert {slot for slot, _ in tree.xattrs.items()} <= set(real)
    tree.xattrs.check_invariants(tree.owner_of)
    _check_acls(tree, real)
    assert all(inodes.kind[slot] == DIRECTORY for slot in tree.quotas)
    assert all(min(quota) >= -1 and quota != (-1, -1) for quota in tree.quotas.values())


def _check_acls(tree: Tree, real: list[int]) -> None:
    """Modes say who has a list; lists are complete; only directories have default ones."""
    inodes = tree.inodes
    assert set(tree.acls) == {slot for slot in real if inodes.mode[slot] & HAS_ACL}
    _check_counts(tree.acl_values, Counter(tree.acls.values()))
    for slot in tree.acls:
        acl = tree.acl(slot)
        entries = whole(acl, inodes.mode[slot])
        assert inodes.kind[slot] == DIRECTORY or not acl.default
        assert modified(entries, ()) == entries


def _check_counts(table: Interned[T], users: Counter[int]) -> None:
    counts = {number: count for number, count in enumerate(table.counts) if number and count}
    users.pop(0, None)
    assert counts == users, "users of a shared value are miscounted"
    assert table.numbers == {table.values[number]: number for number in (0, *counts)}
    assert sorted([*counts, *table.free]) == list(range(1, len(table.values)))


def _check_reclaim(volume: Volume) -> None:
    """The queue holds the tops of deleted trees; the account is zero exactly when it is empty."""
    tree = volume.tree
    tops = [slot for slot in _directories(tree) if tree.inodes.parent[slot] == NOWHERE]
    assert sorted(volume.reclaim) == tops
    assert bool(volume.reclaiming) == bool(volume.reclaim or volume.blocks.dropped)
