"""Snapshots: the whole state as a sequence of pieces, and back.

Owns the layout of that byte stream. A node of the same cluster reads it a moment later, or from a
disk after an upgrade: its version is checked, and older ones are understood. What is restored
behaves exactly like the original: slots come back in the same order, results are remembered,
reclaim goes on where it was.

Taking a snapshot copies columns, names and tables at once and encodes the copy piece by piece, so
that the namespace may change meanwhile.

::

    stream  = section | section | ... | END; pieces are cuts of it of at most 1 MiB
    section = length of body (4 bytes) | kind (1) | CRC32C of body (4) | body
    body    = msgpack array; of COLUMN its number (1 byte) and raw items; of DROPPED raw rows
"""

from __future__ import annotations

import contextlib
import enum
import itertools
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgpack

from memfs import limits
from memfs.checksum import crc32c
from memfs.errors import ProtocolError
from memfs.node.namespace.rules.acls import StoredAcl
from memfs.node.namespace.tables.block_maps import Table
from memfs.node.namespace.tables.directory import Directory
from memfs.node.namespace.tables.inodes import COLUMNS
from memfs.node.namespace.tables.interning import Interned
from memfs.node.namespace.tables.locks import Lock, Waiter
from memfs.node.namespace.tables.mounts import Change, MountPoint, Mounts, Tombstone
from memfs.node.namespace.tables.results import NO_MARK, Results
from memfs.node.namespace.tables.sessions import Holder
from memfs.node.namespace.tables.tokens import Held, MasterKey, Tokens
from memfs.node.namespace.tables.tree import Tree
from memfs.node.namespace.tables.volume import Settings, Volume
from memfs.protocol.messages import StoreOption
from memfs.types import AclEntry

PIECE_BYTES: Final = 1 * limits.MIB
_VERSION: Final = 9
_OLDEST: Final = 1
"""1: without access control lists, quotas, tokens and totals of further names; 2: without the
times at which clients were last heard; 3: without marks beside results; 4: without file locks;
5: without files that are open and have no name; 6: without mounts; 7: without users' keys,
groups and limits; 8: without quotas of mounts."""
_HEAD: Final = struct.Struct("<IBI")
_BODY_BYTES: Final = 512 * limits.KIB
_COLUMN_BYTES: Final = 256 * limits.KIB
_NUMBERS: Final = 10_000  # per section, 90 KB at most
_VALUES: Final = 250  # owners per section, two names of 255 bytes each at most
_TAGS: Final = 500  # per section; a tag has 1 KiB at most
_TOTAL_BYTES: Final = 16  # of a directory's totals: sparse files add up to more than 64 bits
assert _HEAD.size + _BODY_BYTES <= PIECE_BYTES
assert sys.byteorder == "little", "columns travel as they lie in memory"


class _Kind(enum.IntEnum):
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


class Image(NamedTuple):
    """The state of a namespace."""

    volume: Volume
    results: Results
    applied: int
    digest: int
    now_ns: int


# --- writing ---------------------------------------------------------------------------------


def pieces(image: Image) -> Iterator[bytes]:
    """Copy the state now; returns the pieces of the stream, encoded as they are asked for."""
    return _cut(itertools.chain.from_iterable(_frozen(image)))


def _cut(sections: Iterable[bytes]) -> Iterator[bytes]:
    pending: list[bytes] = []
    size = 0
    for section in sections:
        if size + len(section) > PIECE_BYTES:
            yield b"".join(pending)
            pending, size = [], 0
        pending.append(section)
        size += len(section)
    yield b"".join(pending)


def _frozen(image: Image) -> list[Iterable[bytes]]:
    """Generators of sections; their arguments, copied here, are the state as it is now."""
    volume, tree, blocks = image.volume, image.volume.tree, image.volume.blocks
    inodes, sessions = tree.inodes, volume.sessions.by_client
    position = (image.applied, image.digest, image.now_ns)
    state = (_VERSION, *volume.settings, *position, inodes.retired, inodes.used)
    interned: tuple[Interned[Any], ...] = (tree.owners, tree.layouts, blocks.replica_sets)
    return [
        [_packed(_Kind.STATE, *state)],
        *[
            _column(number, bytes(memoryview(getattr(inodes, name))[: inodes.used * count]))
            for number, (name, (_, count)) in enumerate(COLUMNS.items())
        ],
        _numbers(_Kind.FREE_SLOTS, [((), inodes.free_slots.tolist())]),
        *[_interned(at, each.values[1:], each.counts[1:]) for at, each in enumerate(interned)],
        _directories([_copied(each) for each in tree.directories.items]),
        _targets(tree.targets.items[:]),
        _tables([[bytes(chunk) for chunk in table] for table in blocks.tables.items]),
        _xattrs([(slot, dict(held)) for slot, held in tree.xattrs.items()]),
        _acls(tree.acl_values.values[1:], tree.acl_values.counts[1:]),
        [_packed(_Kind.QUOTA, slot, *quota) for slot, quota in tree.quotas.items()],
        _numbers(_Kind.ACLS, [((), _flat(tree.acls.items()))]),
        _numbers(
            _Kind.PARENTS,
            [((slot,), _flat(links.items())) for slot, links in tree.parents.items()],
        ),
        _numbers(_Kind.ABSORBED, [((slot,), held[:]) for slot, held in blocks.absorbed.items()]),
        [_section(_Kind.DROPPED, bytes(chunk)) for chunk in blocks.dropped],
        _numbers(_Kind.LEASES, [((client,), list(s.leases)) for client, s in sessions.items()]),
        [_packed(_Kind.HOLDER, slot, *h) for slot, h in volume.sessions.holders.items()],
        _numbers(_Kind.RESERVED, [((client,), list(s.reserved)) for client, s in sessions.items()]),
        [_packed(_Kind.NUMBER, client, s.number) for client, s in sessions.items() if s.number],
        _numbers(_Kind.UNLINKED, [((), sorted(tree.unlinked))]),
        _numbers(_Kind.OPENS, [((), [client for client, s in sessions.items() if s.opens])]),
        _locks(volume.locks.rows()),
        [_packed(_Kind.LOCK_WAIT, w.ticket, *w.table, *w.lock) for w in volume.locks.waiters()],
        _numbers(_Kind.RECLAIM, [((), volume.reclaim[:])]),
        _tokens(volume.tokens),
        [_packed(_Kind.ACCOUNT, *row) for row in volume.accounts.rows()],
        [_packed(_Kind.LIMIT, *row) for row in volume.limits.rows()],
        [_packed(_Kind.SESSION_USER, client, s.user) for client, s in sessions.items() if s.user],
        *_mounts(volume.mounts),
        _results(
            [
                (
                    (client, held.floor, image.results.clock_ns - held.heard_ns),
                    list(held.by_request.items()),
                )
                for client, held in image.results.by_client.items()
            ]
        ),
        [_section(_Kind.END, b"")],
    ]


def _section(kind: _Kind, body: bytes) -> bytes:
    assert len(body) <= _BODY_BYTES
    return _HEAD.pack(len(body), kind, crc32c(body)) + body


def _packed(kind: _Kind, *values: Any) -> bytes:
    return _section(kind, msgpack.packb(values, use_bin_type=True))


def _column(number: int, raw: bytes) -> Iterator[bytes]:
    for at in range(0, len(raw), _COLUMN_BYTES):
        yield _section(_Kind.COLUMN, bytes([number]) + raw[at : at + _COLUMN_BYTES])


def _numbers(kind: _Kind, rows: list[tuple[tuple[int, ...], list[int]]]) -> Iterator[bytes]:
    """Per row, sections of its key and of its numbers in turn; an empty row has one as well."""
    for key, numbers in rows:
        for at in range(0, max(len(numbers), 1), _NUMBERS):
            yield _packed(kind, *key, numbers[at : at + _NUMBERS])


def _interned(which: int, values: list[object], counts: list[int]) -> Iterator[bytes]:
    for at in range(0, len(values), _VALUES):
        part = slice(at, at + _VALUES)
        yield _packed(_Kind.INTERNED, which, values[part], counts[part])


_Copied = tuple[tuple[int, ...], list[dict[bytes, int]]]


def _copied(directory: Directory) -> _Copied:
    return directory.totals, [leaf.copy() for leaf in directory.leaves()]


def _directories(directories: list[_Copied]) -> Iterator[bytes]:
    for totals, leaves in directories[1:]:
        raw = [total.to_bytes(_TOTAL_BYTES, "little", signed=True) for total in totals]
        yield _packed(_Kind.DIRECTORY, *raw)
        for leaf in leaves:
            if leaf:
                yield _packed(_Kind.LEAF, list(leaf), list(leaf.values()))


def _targets(targets: list[bytes]) -> Iterator[bytes]:
    return (_packed(_Kind.TARGET, target) for target in targets[1:])


def _tables(tables: list[list[bytes]]) -> Iterator[bytes]:
    for number, table in enumerate(tables[1:], 1):
        if not table:
            yield _packed(_Kind.CHUNK, number, None)
        for chunk in table:
            yield _packed(_Kind.CHUNK, number, chunk)


def _xattrs(rows: list[tuple[int, dict[str, bytes]]]) -> Iterator[bytes]:
    for slot, held in rows:
        for name, value in held.items():
            yield _packed(_Kind.XATTR, slot, name, value)


def _acls(values: list[StoredAcl], counts: list[int]) -> Iterator[bytes]:
    for value, count in zip(values, counts, strict=True):
        yield _packed(_Kind.ACL, count, value.access, value.default)


def _locks(tables: list[tuple[tuple[int, int], list[Lock]]]) -> Iterator[bytes]:
    return (_packed(_Kind.LOCK, *table, *lock) for table, held in tables for lock in held)


def _tokens(tokens: Tokens) -> list[bytes]:
    """Encoded at once: they are few, and each is replaced rather than changed."""
    return [
        _packed(_Kind.TOKENS, tokens.newest, tokens.sequence, tokens.pruned_ms),
        *[_packed(_Kind.TOKEN_KEY, *key) for key in tokens.keys.values()],
        *[_packed(_Kind.TOKEN, number, *held) for number, held in tokens.by_sequence.items()],
    ]


def _mounts(mounts: Mounts) -> list[Iterable[bytes]]:
    """No section where nothing was ever mounted."""
    if mounts.next_number == 1:
        return []
    tags = list(mounts.tags.items())
    return [
        [_packed(_Kind.MOUNTS, mounts.next_number)],
        [_packed(_Kind.MOUNT, *each) for each in mounts.by_slot.values()],
        (
            _packed(_Kind.OBJECTS, [s for s, _ in part], [tag for _, tag in part])
            for part in [tags[at : at + _TAGS] for at in range(0, len(tags), _TAGS)]
        ),
        _numbers(_Kind.RESIDENT, [((), sorted(mounts.resident))]),
        _numbers(_Kind.PINS, [((), _flat(mounts.pins.items()))]),
        [_packed(_Kind.CHANGE, slot, *change) for slot, change in mounts.changes.items()],
        [_packed(_Kind.TOMBSTONE, *key, *each) for key, each in mounts.tombstones.items()],
    ]


def _results(
    clients: list[tuple[tuple[int, int, int], list[tuple[int, bytes]]]],
) -> Iterator[bytes]:
    for held, results in clients:
        yield _packed(_Kind.CLIENT, *held)
        for request_id, result in results:
            yield _packed(_Kind.RESULT, held[0], request_id, result)


def _flat(pairs: Iterable[tuple[int, int]]) -> list[int]:
    return list(itertools.chain.from_iterable(pairs))


# --- reading ---------------------------------------------------------------------------------


class Loading:
    """Builds the state of a snapshot from its pieces as they arrive, however they are cut."""

    def __init__(self) -> None:
        """The state is complete, and readable, only after :meth:`finish`."""
        self._loader = _Loader()
        self._buffer = bytearray()
        self._ended = False

    def add(self, piece: bytes | memoryview) -> None:
        """The next piece. Raises ProtocolError when it is damaged."""
        self._buffer += piece
        with _malformed():
            for kind, body in self._sections():
                self._loader.add(kind, body)

    def finish(self) -> Image:
        """The state, once all pieces were taken. Raises ProtocolError when some are missing."""
        if self._buffer or not self._ended:
            raise ProtocolError("the snapshot is cut short")
        with _malformed():
            return self._loader.finish()

    def _sections(self) -> Iterator[tuple[int, memoryview]]:
        """The sections that are whole by now; the others stay in the buffer."""
        buffer, at = self._buffer, 0
        while len(buffer) - at >= _HEAD.size:
            length, kind, crc = _HEAD.unpack_from(buffer, at)
            if length > _BODY_BYTES or self._ended:
                raise ProtocolError("the snapshot is malformed")
            end = at + _HEAD.size + length
            if end > len(buffer):
                break
            body = bytes(buffer[at + _HEAD.size : end])
            if crc32c(body) != crc:
                raise ProtocolError("the snapshot fails its checksum")
            yield kind, memoryview(body)
            self._ended = kind == _Kind.END
            at = end
        del buffer[:at]


@contextlib.contextmanager
def _malformed() -> Iterator[None]:
    """The errors that well-formed sections in a wrong order or with wrong content cause."""
    try:
        yield
    except (LookupError, TypeError, ValueError, OverflowError, msgpack.UnpackException) as error:
        raise ProtocolError(f"the snapshot is malformed: {error}") from error


class _Loader:
    """Builds a volume from sections in the order in which they were written."""

    def __init__(self) -> None:
        self._image: Image | None = None
        self._version = 0
        self._used = 0
        self._takers: dict[int, Callable[..., None]] = {
            _Kind.FREE_SLOTS: lambda slots: self._tree.inodes.free_slots.extend(slots),
            _Kind.INTERNED: self._take_interned,
            _Kind.DIRECTORY: self._take_directory,
            _Kind.LEAF: self._take_leaf,
            _Kind.TARGET: lambda target: self._tree.targets.restore(target, not target),
            _Kind.CHUNK: self._take_chunk,
            _Kind.XATTR: self._take_xattr,
            _Kind.ACL: self._take_acl,
            _Kind.ACLS: self._take_acls,
            _Kind.QUOTA: self._take_quota,
            _Kind.TOKENS: self._take_tokens,
            _Kind.TOKEN_KEY: self._take_token_key,
            _Kind.TOKEN: self._take_token,
            _Kind.ACCOUNT: self._take_account,
            _Kind.LIMIT: lambda *row: self._volume.limits.set(*row),
            _Kind.SESSION_USER: lambda *row: self._volume.sessions.restore(*row),
            _Kind.PARENTS: self._take_parents,
            _Kind.ABSORBED: self._take_absorbed,
            _Kind.LEASES: self._take_leases,
            _Kind.HOLDER: self._take_holder,
            _Kind.RESERVED: self._take_reserved,
            _Kind.NUMBER: self._take_number,
            _Kind.UNLINKED: lambda slots: self._tree.unlinked.update(slots),
            _Kind.OPENS: self._take_opens,
            _Kind.MOUNTS: self._take_mounts,
            _Kind.MOUNT: self._take_mount,
            _Kind.OBJECTS: self._take_objects,
            _Kind.RESIDENT: lambda slots: self._volume.mounts.resident.update(slots),
            _Kind.PINS: self._take_pins,
            _Kind.CHANGE: self._take_change,
            _Kind.TOMBSTONE: self._take_tombstone,
            _Kind.LOCK: lambda *row: self._volume.locks.restore(*row),
            _Kind.LOCK_WAIT: self._take_lock_wait,
            _Kind.RECLAIM: lambda slots: self._volume.reclaim.extend(slots),
            _Kind.CLIENT: lambda *row: self._results.restore(*row),
            _Kind.RESULT: self._take_result,
        }

    def add(self, kind: int, body: memoryview) -> None:
        """One section."""
        if kind == _Kind.COLUMN:
            self._take_column(body)
        elif kind == _Kind.DROPPED:
            self._volume.blocks.dropped.append(bytearray(body))
        elif kind == _Kind.STATE:
            self._take_state(*_unpacked(body))
        elif kind != _Kind.END:
            self._takers[kind](*_unpacked(body))

    def finish(self) -> Image:
        """The state, once all sections were taken. Raises ProtocolError."""
        image = self._checked()
        inodes = image.volume.tree.inodes
        if any(
            len(getattr(inodes, name)) != self._used * count for name, (_, count) in COLUMNS.items()
        ):
            raise ProtocolError("the snapshot's columns differ in length")
        inodes.used = self._used
        self._tree.count_guards()
        writers = image.volume.sessions.writers
        tree = image.volume.tree
        nameless = {slot for slot in writers if not inodes.links[slot]}
        tree.nameless.update(nameless - tree.unlinked)
        if self._version == 1:
            self._count_links()
        return image

    def _count_links(self) -> None:
        """Count the links that version 1 did not record for directories."""
        tree = self._tree
        for slot, links in tree.parents.items():
            for directory, count in links.items():
                tree.charge_links(directory, count - (directory == tree.inodes.parent[slot]))

    def _checked(self) -> Image:
        if self._image is None:
            raise ProtocolError("the snapshot does not begin with its state")
        return self._image

    @property
    def _volume(self) -> Volume:
        return self._checked().volume

    @property
    def _tree(self) -> Tree:
        return self._volume.tree

    @property
    def _results(self) -> Results:
        return self._checked().results

    def _take_state(self, version: int, *values: Any) -> None:
        if not _OLDEST <= version <= _VERSION:
            raise ProtocolError(
                f"snapshot of version {version}, {_OLDEST} to {_VERSION} are understood"
            )
        self._version = version
        *settings, applied, digest, now_ns, retired, self._used = values
        volume = Volume(Settings(*settings))
        volume.tree.inodes.retired = retired
        for name in COLUMNS:
            del getattr(volume.tree.inodes, name)[:]
        self._image = Image(volume, Results(), applied, digest, now_ns)

    def _take_column(self, body: memoryview) -> None:
        column = getattr(self._tree.inodes, tuple(COLUMNS)[body[0]])
        column.frombytes(body[1:])

    def _take_interned(self, which: int, values: list[Any], counts: list[int]) -> None:
        tree = self._tree
        table: Interned[Any] = (tree.owners, tree.layouts, self._volume.blocks.replica_sets)[which]
        for value, count in zip(values, counts, strict=True):
            table.restore(tuple(value), count)

    def _take_directory(self, *raw: bytes) -> None:
        directory = Directory()
        totals = [int.from_bytes(total, "little", signed=True) for total in raw]
        directory.length, directory.files, directory.directories, directory.space = totals[:4]
        directory.links = sum(totals[4:])  # absent in version 1
        self._tree.directories.restore(directory, not directory.directories)

    def _take_leaf(self, names: list[bytes], slots: list[int]) -> None:
        leaf = dict(zip(names, slots, strict=True))
        self._tree.directories.items[-1].append_leaf(leaf)

    def _take_chunk(self, number: int, chunk: bytes | None) -> None:
        tables = self._volume.blocks.tables
        if number == len(tables.items):
            table: Table = []
            tables.restore(table, chunk is None)
        if chunk is not None:
            tables.items[number].append(bytearray(chunk))

    def _take_xattr(self, slot: int, name: str, value: bytes) -> None:
        self._tree.xattrs.set(slot, self._tree.owner_of(slot), name, value)

    def _take_acl(self, count: int, *scopes: list[list[Any]]) -> None:
        access, default = [tuple([AclEntry(*entry) for entry in scope]) for scope in scopes]
        self._tree.acl_values.restore(StoredAcl(access, default), count)

    def _take_acls(self, flat: Sequence[int]) -> None:
        self._tree.acls.update(zip(flat[::2], flat[1::2], strict=True))

    def _take_quota(self, slot: int, names: int, space: int) -> None:
        self._tree.quotas[slot] = names, space

    def _take_tokens(self, newest: int, sequence: int, pruned_ms: int) -> None:
        tokens = self._volume.tokens
        tokens.newest, tokens.sequence, tokens.pruned_ms = newest, sequence, pruned_ms

    def _take_token_key(self, *fields: Any) -> None:
        key = MasterKey(*fields)
        self._volume.tokens.keys[key.number] = key

    def _take_token(self, number: int, *held: Any) -> None:
        self._volume.tokens.hold(number, Held(*held))

    def _take_account(self, user: str, keys: list[bytes], groups: list[str]) -> None:
        if keys:
            self._volume.accounts.restore_keys(user, tuple(keys))
        self._volume.accounts.restore_groups(user, tuple(groups))

    def _take_parents(self, slot: int, flat: Sequence[int]) -> None:
        links = self._tree.parents.setdefault(slot, {})
        links.update(zip(flat[::2], flat[1::2], strict=True))

    def _take_absorbed(self, slot: int, sources: list[int]) -> None:
        self._volume.blocks.absorbed.setdefault(slot, []).extend(sources)

    def _take_result(self, client: int, request_id: int, marked: bytes) -> None:
        if self._version <= 3:
            marked = NO_MARK + marked
        self._results.restore_result(client, request_id, marked)

    def _take_leases(self, client: int, slots: list[int]) -> None:
        sessions = self._volume.sessions
        sessions.restore(client)
        for slot in slots:
            sessions.grant(client, slot, None)

    def _take_holder(self, slot: int, *holder: Any) -> None:
        self._volume.sessions.holders[slot] = Holder(*holder)

    def _take_opens(self, clients: list[int]) -> None:
        for client in clients:
            self._volume.sessions.expect_opens(client)

    def _take_number(self, client: int, number: int) -> None:
        self._volume.sessions.number(client, number)

    def _take_mounts(self, next_number: int) -> None:
        self._volume.mounts.next_number = next_number

    def _take_mount(self, *row: Any) -> None:
        mount = MountPoint(*row)
        options = tuple([StoreOption(*option) for option in mount.options])
        self._volume.mounts.by_slot[mount.slot] = mount._replace(options=options)

    def _take_objects(self, slots: list[int], tags: list[bytes]) -> None:
        for slot, tag in zip(slots, tags, strict=True):
            self._volume.mounts.tags.set(slot, tag)

    def _take_pins(self, flat: Sequence[int]) -> None:
        self._volume.mounts.pins.update(zip(flat[::2], flat[1::2], strict=True))

    def _take_change(self, slot: int, version: int, since: int, attempts: list[list[int]]) -> None:
        sent = tuple([(size, crc) for size, crc in attempts])
        self._volume.mounts.changes[slot] = Change(version, since, sent)

    def _take_tombstone(self, number: int, key: bytes, *row: Any) -> None:
        self._volume.mounts.tombstones[number, key] = Tombstone(*row)

    def _take_lock_wait(self, ticket: int, slot: int, kind: int, *lock: Any) -> None:
        self._volume.locks.enqueue(Waiter(ticket, (slot, kind), Lock(*lock)))

    def _take_reserved(self, client: int, slots: list[int]) -> None:
        for slot in slots:
            self._volume.sessions.reserve(client, slot)


def _unpacked(body: memoryview) -> list[Any]:
    values: list[object] = msgpack.unpackb(body, raw=False, use_list=True)
    return values
