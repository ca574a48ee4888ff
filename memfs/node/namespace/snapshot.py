"""Snapshots: the whole state as a sequence of pieces; ``snapshot_loading`` has the way back.

Owns the layout of that byte stream. A node of the same cluster reads it a moment later, or from a
disk after an upgrade: its version is checked, and older ones are understood. What is restored
behaves exactly like the original: slots come back in the same order, results are remembered,
reclaim goes on where it was.

The namespace may change while its snapshot is encoded piece by piece.
What grows with the files (inodes, directories, block tables, what some inodes have) is copied when
its turn comes, or before it changes (``containers.images``); what is small is copied at once.

::

    stream  = section | section | ... | END; pieces are cuts of it of at most 1 MiB
    section = length of body (4 bytes) | kind (1) | CRC32C of body (4) | body
    body    = msgpack array; of COLUMN its number (1 byte) and raw items; of DROPPED raw rows
"""

from __future__ import annotations

import enum
import itertools
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgpack

from memfs import limits
from memfs.checksum import crc32c
from memfs.node.namespace.containers.interning import Interned
from memfs.node.namespace.rules.acls import StoredAcl
from memfs.node.namespace.tables.directory import Frozen
from memfs.node.namespace.tables.inodes import Part
from memfs.node.namespace.tables.locks import Lock
from memfs.node.namespace.tables.mounts import Mounts
from memfs.node.namespace.tables.object_tags import listed
from memfs.node.namespace.tables.results import Results
from memfs.node.namespace.tables.tokens import Tokens
from memfs.node.namespace.tables.unsaved import Change, Key, Tombstone
from memfs.node.namespace.tables.volume import Volume

PIECE_BYTES: Final = 192 * limits.KIB
"""Encoded at once, in a millisecond or so: the event loop does nothing else meanwhile."""
VERSION: Final = 9
OLDEST: Final = 1
"""1: without access control lists, quotas, tokens and totals of further names; 2: without the
times at which clients were last heard; 3: without marks beside results; 4: without file locks;
5: without files that are open and have no name; 6: without mounts; 7: without users' keys,
groups and limits; 8: without quotas of mounts."""
HEAD: Final = struct.Struct("<IBI")
BODY_BYTES: Final = 512 * limits.KIB
_NUMBERS: Final = 10_000  # per section, 90 KB at most
_VALUES: Final = 250  # owners per section, two names of 255 bytes each at most
_TAGS: Final = 500  # per section; a tag has 1 KiB at most
TOTAL_BYTES: Final = 16  # of a directory's totals: sparse files add up to more than 64 bits
assert sys.byteorder == "little", "columns travel as they lie in memory"


class Kind(enum.IntEnum):
    """What a section holds."""

    STATE = 1
    COLUMN = 2
    FREE_SLOTS = 3
    INTERNED = 4
    DIRECTORY = 5
    LEAF = 6
    TARGET = 7
    CHUNK = 8
    XATTR = 9
    PARENTS = 10
    ABSORBED = 11
    DROPPED = 12
    LEASES = 13
    RESERVED = 14
    RECLAIM = 15
    CLIENT = 16
    RESULT = 17
    END = 18
    ACL = 19
    ACLS = 20
    QUOTA = 21
    TOKENS = 22
    TOKEN_KEY = 23
    TOKEN = 24
    HOLDER = 25
    LOCK = 26
    LOCK_WAIT = 27
    NUMBER = 28
    UNLINKED = 29
    OPENS = 30
    MOUNTS = 31
    MOUNT = 32
    OBJECTS = 33
    RESIDENT = 34
    CHANGE = 35
    TOMBSTONE = 36
    PINS = 37
    ACCOUNT = 38
    LIMIT = 39
    SESSION_USER = 40
    LINKABLE = 41
    COMMITS = 42
    BURIED = 43


class Image(NamedTuple):
    """The state of a namespace."""

    volume: Volume
    results: Results
    applied: int
    digest: int
    now_ns: int


def pieces(image: Image) -> Iterator[bytes]:
    """The pieces of the stream, encoded as they are asked for; they hold the state as it is now.

    None is longer than PIECE_BYTES, unless it is one section.
    """
    return _cut(sections(image))


def sections(image: Image) -> Iterator[bytes]:
    """As :func:`pieces`, uncut."""
    return itertools.chain.from_iterable(_frozen(image))


def _cut(uncut: Iterable[bytes]) -> Iterator[bytes]:
    pending: list[bytes] = []
    size = 0
    for section in uncut:
        if pending and size + len(section) > PIECE_BYTES:
            yield b"".join(pending)
            pending, size = [], 0
        pending.append(section)
        size += len(section)
    yield b"".join(pending)


def _frozen(image: Image) -> list[Iterable[bytes]]:
    """Generators of sections; their arguments, copies and images, are the state as it is now."""
    volume, tree, blocks = image.volume, image.volume.tree, image.volume.blocks
    inodes, sessions = tree.inodes, volume.sessions.by_client
    position = (image.applied, image.digest, image.now_ns)
    state = (VERSION, *volume.settings, *position, inodes.retired, inodes.used)
    interned: tuple[Interned[Any], ...] = (tree.owners, tree.layouts, blocks.replica_sets)
    return [
        [_packed(Kind.STATE, *state)],
        _columns(inodes.image()),
        _numbers(Kind.FREE_SLOTS, (((), part) for part in inodes.free_slots.image())),
        *[_interned(at, each.values[1:], each.counts[1:]) for at, each in enumerate(interned)],
        _directories(tree.directories.image()),
        _targets(tree.targets.image()),
        _tables(blocks.tables.image()),
        _xattrs(tree.xattrs.image()),
        _acls(tree.acl_values.values[1:], tree.acl_values.counts[1:]),
        [_packed(Kind.QUOTA, slot, *quota) for slot, quota in tree.quotas.items()],
        _numbers(Kind.ACLS, (((), _flat(part.items())) for part in tree.acls.image() if part)),
        _numbers(
            Kind.PARENTS,
            (
                ((slot,), _flat(links.items()))
                for part in tree.parents.image()
                for slot, links in part.items()
            ),
        ),
        _numbers(Kind.ABSORBED, [((slot,), held[:]) for slot, held in blocks.absorbed.items()]),
        [_section(Kind.DROPPED, bytes(chunk)) for chunk in blocks.dropped],
        _numbers(Kind.LEASES, [((client,), list(s.leases)) for client, s in sessions.items()]),
        _numbers(
            Kind.COMMITS,
            [
                ((client,), _flat((slot, commit) for slot, commit in s.leases.items() if commit))
                for client, s in sessions.items()
                if any(s.leases.values())
            ],
        ),
        [_packed(Kind.HOLDER, slot, *h) for slot, h in volume.sessions.holders.items()],
        _numbers(Kind.RESERVED, [((client,), list(s.reserved)) for client, s in sessions.items()]),
        [_packed(Kind.NUMBER, client, s.number) for client, s in sessions.items() if s.number],
        _numbers(Kind.UNLINKED, [((), sorted(tree.unlinked))]),
        # Nodes before CreateUnnamed do not know the section: it is there when they cannot know it.
        _numbers(Kind.LINKABLE, [((), sorted(tree.linkable))] if tree.linkable else []),
        _numbers(Kind.OPENS, [((), [client for client, s in sessions.items() if s.opens])]),
        _locks(volume.locks.rows()),
        [_packed(Kind.LOCK_WAIT, w.ticket, *w.table, *w.lock) for w in volume.locks.waiters()],
        _numbers(Kind.RECLAIM, [((), volume.reclaim[:])]),
        _tokens(volume.tokens),
        [_packed(Kind.ACCOUNT, *row) for row in volume.accounts.rows()],
        [_packed(Kind.LIMIT, *row) for row in volume.limits.rows()],
        [_packed(Kind.SESSION_USER, client, s.user) for client, s in sessions.items() if s.user],
        *_mounts(volume.mounts),
        _results(
            [
                (
                    (client, held.floor, image.results.clock_ns - held.active_ns),
                    list(held.by_request.items()),
                )
                for client, held in image.results.by_client.items()
            ]
        ),
        [_section(Kind.END, b"")],
    ]


def _section(kind: Kind, body: bytes) -> bytes:
    assert len(body) <= BODY_BYTES
    return HEAD.pack(len(body), kind, crc32c(body)) + body


def _packed(kind: Kind, *values: object) -> bytes:
    return _section(kind, msgpack.packb(values, use_bin_type=True))


def _columns(parts: Iterable[Part]) -> Iterator[bytes]:
    for part in parts:
        for number, raw in enumerate(part):
            yield _section(Kind.COLUMN, bytes([number]) + raw)


def _numbers(kind: Kind, rows: Iterable[tuple[tuple[int, ...], Sequence[int]]]) -> Iterator[bytes]:
    """Per row, sections of its key and of its numbers in turn; an empty row has one as well."""
    for key, numbers in rows:
        for at in range(0, max(len(numbers), 1), _NUMBERS):
            yield _packed(kind, *key, list(numbers[at : at + _NUMBERS]))


def _interned(which: int, values: list[object], counts: list[int]) -> Iterator[bytes]:
    for at in range(0, len(values), _VALUES):
        part = slice(at, at + _VALUES)
        yield _packed(Kind.INTERNED, which, values[part], counts[part])


def _directories(directories: Iterable[Frozen]) -> Iterator[bytes]:
    for totals, leaves in itertools.islice(directories, 1, None):
        raw = [total.to_bytes(TOTAL_BYTES, "little", signed=True) for total in totals]
        yield _packed(Kind.DIRECTORY, *raw)
        for leaf in leaves:
            if leaf:
                yield _packed(Kind.LEAF, list(leaf), list(leaf.values()))


def _targets(targets: Iterable[bytes]) -> Iterator[bytes]:
    return (_packed(Kind.TARGET, target) for target in itertools.islice(targets, 1, None))


def _tables(tables: Iterable[list[bytes]]) -> Iterator[bytes]:
    for number, table in enumerate(tables):
        if number and not table:
            yield _packed(Kind.CHUNK, number, None)
        for chunk in table:
            yield _packed(Kind.CHUNK, number, chunk)


def _xattrs(parts: Iterable[Mapping[int, Mapping[str, bytes]]]) -> Iterator[bytes]:
    for part in parts:
        for slot, held in part.items():
            for name, value in held.items():
                yield _packed(Kind.XATTR, slot, name, value)


def _acls(values: list[StoredAcl], counts: list[int]) -> Iterator[bytes]:
    for value, count in zip(values, counts, strict=True):
        yield _packed(Kind.ACL, count, value.access, value.default)


def _locks(tables: list[tuple[tuple[int, int], list[Lock]]]) -> Iterator[bytes]:
    return (_packed(Kind.LOCK, *table, *lock) for table, held in tables for lock in held)


def _tokens(tokens: Tokens) -> list[bytes]:
    """Encoded at once: they are few, and each is replaced rather than changed."""
    return [
        _packed(Kind.TOKENS, tokens.newest, tokens.sequence, tokens.pruned_ms),
        *[_packed(Kind.TOKEN_KEY, *key) for key in tokens.keys.values()],
        *[_packed(Kind.TOKEN, number, *held) for number, held in tokens.by_sequence.items()],
    ]


def _mounts(mounts: Mounts) -> list[Iterable[bytes]]:
    """No section where nothing was ever mounted."""
    if mounts.next_number == 1:
        return []
    return [
        [_packed(Kind.MOUNTS, mounts.next_number)],
        [_packed(Kind.MOUNT, *each) for each in mounts.by_slot.values()],
        _objects(listed(enumerate(mounts.tags.image()))),
        _numbers(Kind.RESIDENT, (((), sorted(part)) for part in mounts.resident.image() if part)),
        _numbers(Kind.PINS, (((), _flat(part.items())) for part in mounts.pins.image() if part)),
        _changes(mounts.changes.image()),
        _tombstones(mounts.tombstones.image()),
        [_packed(Kind.BURIED, slot, *key) for slot, key in mounts.buried.items()],
    ]


def _changes(parts: Iterable[Mapping[int, Change]]) -> Iterator[bytes]:
    for part in parts:
        for slot, change in part.items():
            yield _packed(Kind.CHANGE, slot, *change)


def _tombstones(parts: Iterable[Mapping[int, tuple[Key, Tombstone]]]) -> Iterator[bytes]:
    for part in parts:
        for _, (key, tombstone) in sorted(part.items()):
            yield _packed(Kind.TOMBSTONE, *key, *tombstone)


def _objects(tags: Iterator[tuple[int, bytes]]) -> Iterator[bytes]:
    while part := list(itertools.islice(tags, _TAGS)):
        yield _packed(Kind.OBJECTS, [slot for slot, _ in part], [tag for _, tag in part])


def _results(
    clients: list[tuple[tuple[int, int, int], list[tuple[int, bytes]]]],
) -> Iterator[bytes]:
    for held, results in clients:
        yield _packed(Kind.CLIENT, *held)
        for request_id, result in results:
            yield _packed(Kind.RESULT, held[0], request_id, result)


def _flat(pairs: Iterable[tuple[int, int]]) -> list[int]:
    return list(itertools.chain.from_iterable(pairs))
