"""The way back of a snapshot: from the pieces of its stream to the state of a namespace.

The layout is :mod:`memfs.node.namespace.snapshot`'s. Nothing is kept of a stream that is not whole:
a section that does not pass its checksum, or does not fit, ends it.
"""

from __future__ import annotations

import contextlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgpack

from memfs.checksum import crc32c
from memfs.errors import ProtocolError
from memfs.node.namespace.containers.interning import Interned
from memfs.node.namespace.rules.acls import StoredAcl
from memfs.node.namespace.snapshot import BODY_BYTES, HEAD, OLDEST, VERSION, Image, Kind
from memfs.node.namespace.tables.block_maps import Table
from memfs.node.namespace.tables.directory import Directory
from memfs.node.namespace.tables.leaf import Leaf
from memfs.node.namespace.tables.locks import Lock, Waiter
from memfs.node.namespace.tables.mounts import MountPoint
from memfs.node.namespace.tables.results import NO_MARK, Results
from memfs.node.namespace.tables.sessions import Holder
from memfs.node.namespace.tables.tokens import Held, MasterKey
from memfs.node.namespace.tables.tree import Tree
from memfs.node.namespace.tables.unsaved import Change, Tombstone
from memfs.node.namespace.tables.volume import Settings, Volume
from memfs.protocol.messages import StoreOption
from memfs.types import AclEntry, Packed


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
        while len(buffer) - at >= HEAD.size:
            length, kind, crc = HEAD.unpack_from(buffer, at)
            if length > BODY_BYTES or self._ended:
                raise ProtocolError("the snapshot is malformed")
            end = at + HEAD.size + length
            if end > len(buffer):
                break
            body = bytes(buffer[at + HEAD.size : end])
            if crc32c(body) != crc:
                raise ProtocolError("the snapshot fails its checksum")
            yield kind, memoryview(body)
            self._ended = kind == Kind.END
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
        self._owner = array("L", [0])
        """The owner of the entries of each directory so far; 0: there are none."""
        self._owners: dict[int, Counter[int]] = {}
        """Of those whose entries have several: how many of each."""
        self._takers: dict[int, Callable[..., None]] = {
            Kind.FREE_SLOTS: lambda slots: self._tree.inodes.free_slots.extend(slots),
            Kind.INTERNED: self._load_interned,
            Kind.DIRECTORY: self._load_directory,
            Kind.LEAF: self._load_leaf,
            Kind.TARGET: lambda target: self._tree.targets.restore(target, not target),
            Kind.CHUNK: self._load_chunk,
            Kind.XATTR: self._load_xattr,
            Kind.ACL: self._load_acl,
            Kind.ACLS: self._load_acls,
            Kind.QUOTA: self._load_quota,
            Kind.TOKENS: self._load_tokens,
            Kind.TOKEN_KEY: self._load_token_key,
            Kind.TOKEN: self._load_token,
            Kind.ACCOUNT: self._load_account,
            Kind.LIMIT: lambda *row: self._volume.limits.set(*row),
            Kind.SESSION_USER: lambda *row: self._volume.sessions.restore(*row),
            Kind.PARENTS: self._load_parents,
            Kind.ABSORBED: self._load_absorbed,
            Kind.LEASES: self._load_leases,
            Kind.COMMITS: self._load_commits,
            Kind.HOLDER: self._load_holder,
            Kind.RESERVED: self._load_reserved,
            Kind.NUMBER: self._load_number,
            Kind.UNLINKED: lambda slots: self._tree.unlinked.update(slots),
            Kind.LINKABLE: lambda slots: self._tree.linkable.update(slots),
            Kind.OPENS: self._load_opens,
            Kind.MOUNTS: self._load_mounts,
            Kind.MOUNT: self._load_mount,
            Kind.OBJECTS: self._load_objects,
            Kind.RESIDENT: lambda slots: self._volume.mounts.resident.update(dict.fromkeys(slots)),
            Kind.PINS: self._load_pins,
            Kind.CHANGE: self._load_change,
            Kind.BURIED: lambda slot, *key: self._volume.mounts.bury(slot, key),
            Kind.TOMBSTONE: self._load_tombstone,
            Kind.LOCK: lambda *row: self._volume.locks.restore(*row),
            Kind.LOCK_WAIT: self._load_lock_wait,
            Kind.RECLAIM: lambda slots: self._volume.reclaim.extend(slots),
            Kind.CLIENT: lambda *row: self._results.restore(*row),
            Kind.RESULT: self._load_result,
        }

    def add(self, kind: int, body: memoryview) -> None:
        """One section."""
        if kind == Kind.COLUMN:
            self._load_column(body)
        elif kind == Kind.DROPPED:
            self._volume.blocks.dropped.append(bytearray(body))
        elif kind == Kind.STATE:
            self._load_state(*_unpacked(body))
        elif kind != Kind.END:
            self._takers[kind](*_unpacked(body))

    def finish(self) -> Image:
        """The state, once all sections were taken. Raises ProtocolError."""
        image = self._checked()
        inodes = image.volume.tree.inodes
        if not inodes.end_restoring(self._used):
            raise ProtocolError("the snapshot's columns differ in length")
        self._tree.count_guards()
        self._count_foreign()
        writers = image.volume.sessions.writers
        tree = image.volume.tree
        nameless = {slot for slot in writers if not inodes.links[slot]}
        tree.nameless.update(nameless - tree.unlinked)
        if self._version == 1:
            self._count_links()
        return image

    def _count_foreign(self) -> None:
        """Count the entries that are not of their directory's user."""
        tree = self._tree
        for slot in tree.directory_slots():
            number = tree.inodes.extra[slot]
            directory = tree.directories.items[number]
            single = self._owner[number]
            owners = self._owners.get(number) or {single: directory.count} if single else {}
            users = Counter[str]()
            for owner, count in owners.items():
                users[tree.owners.values[owner][0]] += count
            del users[tree.owner_of(slot)]
            directory.foreign = dict(users) or None

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

    def _load_state(self, version: int, *values: Packed) -> None:
        if not OLDEST <= version <= VERSION:
            raise ProtocolError(
                f"snapshot of version {version}, {OLDEST} to {VERSION} are understood"
            )
        self._version = version
        *settings, applied, digest, now_ns, retired, self._used = values
        volume = Volume(Settings(*settings))
        volume.tree.inodes.retired = retired
        volume.tree.inodes.begin_restoring()
        self._image = Image(volume, Results(), applied, digest, now_ns)

    def _load_column(self, body: memoryview) -> None:
        self._tree.inodes.restore(body[0], body[1:])

    def _load_interned(self, which: int, values: list[Packed], counts: list[int]) -> None:
        tree = self._tree
        table: Interned[Any] = (tree.owners, tree.layouts, self._volume.blocks.replica_sets)[which]
        for value, count in zip(values, counts, strict=True):
            table.restore(tuple(value), count)

    def _load_directory(self, *raw: bytes) -> None:
        directory = Directory()
        totals = [int.from_bytes(total, "little", signed=True) for total in raw]
        directory.length, directory.files, directory.directories, directory.space = totals[:4]
        directory.links = sum(totals[4:])  # absent in version 1
        self._tree.directories.restore(directory, not directory.directories)
        self._owner.append(0)

    def _load_leaf(self, names: list[bytes], slots: list[int]) -> None:
        leaf = Leaf(names, slots)
        directories = self._tree.directories.items
        directories[-1].append_leaf(leaf)
        self._note_owners(len(directories) - 1, self._tree.inodes.owners_of(slots))

    def _note_owners(self, number: int, owners: list[int]) -> None:
        """Whose some entries of a directory are: mostly one user's."""
        single = self._owner[number] or owners[0]
        self._owner[number] = single
        if number in self._owners or owners.count(single) != len(owners):
            before = self._tree.directories.items[number].count - len(owners)
            known = self._owners.setdefault(number, Counter({single: before}))
            known.update(owners)

    def _load_chunk(self, number: int, chunk: bytes | None) -> None:
        tables = self._volume.blocks.tables
        if number == len(tables.items):
            table: Table = []
            tables.restore(table, chunk is None)
        if chunk is not None:
            tables.items[number].append(bytearray(chunk))

    def _load_xattr(self, slot: int, name: str, value: bytes) -> None:
        self._tree.xattrs.set(slot, self._tree.owner_of(slot), name, value)

    def _load_acl(self, count: int, *scopes: list[list[Packed]]) -> None:
        access, default = [tuple([AclEntry(*entry) for entry in scope]) for scope in scopes]
        self._tree.acl_values.restore(StoredAcl(access, default), count)

    def _load_acls(self, flat: Sequence[int]) -> None:
        self._tree.acls.update(zip(flat[::2], flat[1::2], strict=True))

    def _load_quota(self, slot: int, names: int, space: int) -> None:
        self._tree.quotas[slot] = names, space

    def _load_tokens(self, newest: int, sequence: int, pruned_ms: int) -> None:
        tokens = self._volume.tokens
        tokens.newest, tokens.sequence, tokens.pruned_ms = newest, sequence, pruned_ms

    def _load_token_key(self, *fields: Packed) -> None:
        key = MasterKey(*fields)
        self._volume.tokens.keys[key.number] = key

    def _load_token(self, number: int, *held: Packed) -> None:
        self._volume.tokens.hold(number, Held(*held))

    def _load_account(self, user: str, keys: list[bytes], groups: list[str]) -> None:
        if keys:
            self._volume.accounts.restore_keys(user, tuple(keys))
        self._volume.accounts.restore_groups(user, tuple(groups))

    def _load_parents(self, slot: int, flat: Sequence[int]) -> None:
        links = self._tree.parents.setdefault(slot, {})
        links.update(zip(flat[::2], flat[1::2], strict=True))

    def _load_absorbed(self, slot: int, sources: list[int]) -> None:
        self._volume.blocks.absorbed.setdefault(slot, []).extend(sources)

    def _load_result(self, client: int, request_id: int, marked: bytes) -> None:
        if self._version <= 3:
            marked = NO_MARK + marked
        self._results.restore_result(client, request_id, marked)

    def _load_leases(self, client: int, slots: list[int]) -> None:
        sessions = self._volume.sessions
        sessions.restore(client)
        for slot in slots:
            sessions.grant(client, slot, None)

    def _load_commits(self, client: int, flat: list[int]) -> None:
        leases = self._volume.sessions.by_client[client].leases
        leases.update(zip(flat[::2], flat[1::2], strict=True))

    def _load_holder(self, slot: int, *holder: Packed) -> None:
        self._volume.sessions.holders[slot] = Holder(*holder)

    def _load_opens(self, clients: list[int]) -> None:
        for client in clients:
            self._volume.sessions.expect_opens(client)

    def _load_number(self, client: int, number: int) -> None:
        self._volume.sessions.number(client, number)

    def _load_mounts(self, next_number: int) -> None:
        self._volume.mounts.next_number = next_number

    def _load_mount(self, *row: Packed) -> None:
        mount = MountPoint(*row)
        options = tuple([StoreOption(*option) for option in mount.options])
        self._volume.mounts.by_slot[mount.slot] = mount._replace(options=options)

    def _load_objects(self, slots: list[int], tags: list[bytes]) -> None:
        for slot, tag in zip(slots, tags, strict=True):
            self._volume.mounts.tags.set(slot, tag)

    def _load_pins(self, flat: Sequence[int]) -> None:
        self._volume.mounts.pins.update(zip(flat[::2], flat[1::2], strict=True))

    def _load_change(self, slot: int, *row: Packed) -> None:
        change = Change(*row)
        attempts = tuple([(size, crc) for size, crc in change.attempts])
        self._volume.mounts.changes[slot] = change._replace(attempts=attempts)

    def _load_tombstone(self, number: int, key: bytes, *row: Packed) -> None:
        self._volume.mounts.tombstones[number, key] = Tombstone(*row)

    def _load_lock_wait(self, ticket: int, slot: int, kind: int, *lock: Packed) -> None:
        self._volume.locks.enqueue(Waiter(ticket, (slot, kind), Lock(*lock)))

    def _load_reserved(self, client: int, slots: list[int]) -> None:
        for slot in slots:
            self._volume.sessions.reserve(client, slot)


def _unpacked(body: memoryview) -> list[Packed]:
    values: list[object] = msgpack.unpackb(body, raw=False, use_list=True)
    return values
