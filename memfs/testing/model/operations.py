"""Random workloads as data: one operation is a method's name and its arguments.

Owns the choice of operations (mostly sensible ones, given what exists; some that must fail), and
how results are compared. Runs against anything with the model's methods. Pure but for the
generator's own dice: a seed and a model's answers determine the sequence.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from memfs import paths
from memfs.testing.model.filesystem import Model

WEIGHTS: Mapping[str, int] = {
    "write_bytes": 12,
    "append": 8,
    "write_at": 8,
    "truncate": 6,
    "read_bytes": 10,
    "stat": 4,
    "lstat": 2,
    "listdir": 6,
    "du": 3,
    "mkdir": 8,
    "makedirs": 3,
    "rename": 10,
    "exchange": 2,
    "remove": 6,
    "rmdir": 4,
    "rmtree": 1,
    "symlink": 3,
    "readlink": 2,
    "link": 4,
    "chmod": 3,
    "modify_acl": 2,
    "remove_acl_entries": 1,
    "remove_acl": 1,
    "acl": 2,
    "setxattr": 2,
    "getxattr": 2,
    "removexattr": 1,
    "listxattr": 1,
}
"""How often each operation is drawn."""

_NAMES = ("a", "b", "c", "d", "ä b", "x.txt")
_XATTRS = ("user.one", "user.two")
_ENTRIES = ("user:ann:rw-", "group:staff:r-x", "default:user:bob:r--", "mask::r--", "group::---")
_DEPTH = 4


class Operation(NamedTuple):
    """One call."""

    method: str
    arguments: tuple[object, ...]

    def on(self, target: object) -> Any:
        """Make the call on anything that has the method."""
        return getattr(target, self.method)(*self.arguments)

    def __str__(self) -> str:
        return f"{self.method}({', '.join(map(_show, self.arguments))})"


class Facts(NamedTuple):
    """What every surface can tell of an inode."""

    kind: int
    mode: int
    size: int
    links: int


class RaisedError(NamedTuple):
    """A call that raised, by the name of its errno."""

    error: str


def facts(thing: Any) -> Facts:
    """Facts of a model's inode, of ``Attributes``, or of a client's ``Stat``."""
    thing = getattr(thing, "attributes", thing)
    return Facts(int(thing.kind), thing.mode, thing.size, thing.links)


def outcome(call: Callable[[], object]) -> object:
    """The result of ``call`` in comparable form, or its :class:`RaisedError`."""
    try:
        return comparable(call())
    except OSError as error:
        return failure(error)


def failure(error: OSError) -> RaisedError:
    """The failure that an exception means."""
    return RaisedError(errno.errorcode.get(error.errno or 0, type(error).__name__))


def comparable(result: object) -> object:
    """A result in the form in which all surfaces agree."""
    return facts(result) if hasattr(result, "links") or hasattr(result, "attributes") else result


class RandomOperations:
    """Generates an endless random sequence of operations below ``top``."""

    def __init__(
        self,
        seed: int | str,
        *,
        top: str = "/",
        block_size: int = 4096,
        without: Iterable[str] = (),
    ) -> None:
        """Args: ``block_size``, sizes are chosen around it; ``without``, methods not to use."""
        self.random = random.Random(f"workload {seed}")
        self.top = top
        self._block_size = block_size
        chosen = {name: weight for name, weight in WEIGHTS.items() if name not in set(without)}
        self._symlinks: list[str] = []
        self._hard_links = False
        self._methods, self._weights = list(chosen), list(chosen.values())

    def next(self, model: Model) -> Operation:
        """The next operation, given what exists in ``model``."""
        found = list(model.walk_tree(self.top))
        known = [self.top, *(path for path, _ in found)]
        self._symlinks = [path for path, inode in found if inode.is_symlink]
        self._hard_links = any(inode.names > 1 for _, inode in found)
        method = self.random.choices(self._methods, self._weights)[0]
        return Operation(method, getattr(self, f"_{method}")(known))

    # --- ingredients -------------------------------------------------------------------------

    def _some(self, known: list[str]) -> str:
        """A path that probably exists."""
        if len(known) > 1 and self.random.random() < 0.85:
            return self.random.choice(known[1:])
        return self._new(known)

    def _new(self, known: list[str]) -> str:
        """A path whose parent probably exists and that itself may."""
        parent = self.random.choice(known)
        if parent.count("/") > _DEPTH:
            parent = self.top
        return paths.join(parent, self.random.choice(_NAMES))

    def _size(self) -> int:
        """Near a multiple of the block size, or small, or anything."""
        near = self.random.choice((0, 1, 2, 5)) * self._block_size
        return max(0, near + self.random.choice((-1, 0, 1, 7, self.random.randint(0, 3000))))

    def _data(self) -> bytes:
        token = f"{self.random.getrandbits(40):010x}".encode()
        size = self._size()
        return (token * (size // len(token) + 1))[:size]

    # --- arguments by method -----------------------------------------------------------------

    def _write_bytes(self, known: list[str]) -> tuple[object, ...]:
        return self._new(known), self._data()

    def _append(self, known: list[str]) -> tuple[object, ...]:
        return self._some(known), self._data()

    def _write_at(self, known: list[str]) -> tuple[object, ...]:
        return self._some(known), self._size(), self._data()

    def _truncate(self, known: list[str]) -> tuple[object, ...]:
        return self._some(known), self._size()

    def _one(self, known: list[str]) -> tuple[object, ...]:
        return (self._some(known),)

    def _du(self, known: list[str]) -> tuple[object, ...]:
        """Of a subtree only while no hard link leads out of it: each file counts in one place."""
        return (self.top if self._hard_links else self._some(known),)

    _read_bytes = _stat = _lstat = _listdir = _remove = _rmdir = _rmtree = _one
    _readlink = _listxattr = _acl = _remove_acl = _one

    def _mkdir(self, known: list[str]) -> tuple[object, ...]:
        return (self._new(known),)

    def _makedirs(self, known: list[str]) -> tuple[object, ...]:
        """Not through symlinks: what a broken one leads to is made or refused, as one likes."""
        path = paths.join(self._new(known), self.random.choice(_NAMES))
        through = any(path.startswith(link + "/") or path == link for link in self._symlinks)
        fresh = f"made-{self.random.getrandbits(20):x}/deep"
        return (paths.join(self.top, fresh) if through else path,)

    def _rename(self, known: list[str]) -> tuple[object, ...]:
        target = self._new if self.random.random() < 0.6 else self._some
        return self._some(known), target(known)

    def _exchange(self, known: list[str]) -> tuple[object, ...]:
        return self._some(known), self._some(known)

    def _symlink(self, known: list[str]) -> tuple[object, ...]:
        relative = self.random.random() < 0.5
        target = self.random.choice(_NAMES) if relative else self._some(known)
        return target, self._new(known)

    def _link(self, known: list[str]) -> tuple[object, ...]:
        return self._some(known), self._new(known)

    def _chmod(self, known: list[str]) -> tuple[object, ...]:
        return self._some(known), self.random.choice((0o600, 0o644, 0o755, 0o700, 0o1777))

    def _modify_acl(self, known: list[str]) -> tuple[object, ...]:
        return self._some(known), ",".join(self.random.sample(_ENTRIES, self.random.randint(1, 3)))

    def _remove_acl_entries(self, known: list[str]) -> tuple[object, ...]:
        entry = self.random.choice(_ENTRIES)
        return self._some(known), entry.rpartition(":")[0]

    def _setxattr(self, known: list[str]) -> tuple[object, ...]:
        return self._some(known), self.random.choice(_XATTRS), self._data()[:100]

    def _getxattr(self, known: list[str]) -> tuple[object, ...]:
        return self._some(known), self.random.choice(_XATTRS)

    _removexattr = _getxattr


def snapshot(target: Any, top: str = "/") -> dict[str, tuple[object, ...]]:
    """Everything below ``top`` as ``target`` shows it: facts and content by path."""
    found: dict[str, tuple[object, ...]] = {}
    for name in target.listdir(top):
        path = paths.join(top, name)
        entry = facts(target.lstat(path))
        if entry.kind == 1:
            found[path] = (entry,)
            found |= snapshot(target, path)
        else:
            content = target.readlink(path) if entry.kind == 2 else target.read_bytes(path)
            found[path] = (entry, content)
    return found


def _show(value: object) -> str:
    if isinstance(value, bytes) and len(value) > 24:
        return f"{value[:10]!r}*{len(value)}"
    return repr(value)
