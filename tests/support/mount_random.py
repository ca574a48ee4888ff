"""Random operations on mounts and on a tmpfs side by side: every answer has to be the same.

    make fuzz-mount MINUTES=10 SEED=7

One process, so that what an operation did has to be seen by the next one, on whichever mount of the
same directory it is made. Owns the choice of operations, from a seed, and what is compared. Must
not know memfs.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import random
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

NAMES = [f"{kind}{number}" for kind in ("a", "b") for number in range(4)]
DEPTH = 3
FILES_OPEN = 6
BYTES_MAX = 300_000
LENGTHS = (0, 1, 7, 4095, 4096, 4097, 20_000, 131_072, 200_001)
_libc = ctypes.CDLL(None, use_errno=True)


class Difference(AssertionError):
    """A mount did something else than tmpfs."""


class Opened(NamedTuple):
    """One file, open on a mount and on tmpfs."""

    here: int
    there: int
    flags: int


class Comparison:
    """One run."""

    def __init__(self, seed: int, mounts: Sequence[Path], oracle: Path) -> None:
        self.random = random.Random(seed)
        self.mounts = mounts
        self.oracle = oracle
        self.open: list[Opened] = []
        self.story: list[str] = []
        self._acts: list[tuple[int, Callable[[], None]]] = [
            (6, self.make_file),
            (4, self.make_directory),
            (8, self.open_file),
            (12, self.write_file),
            (10, self.read_file),
            (3, self.cut_file),
            (3, self.punch_file),
            (2, self.map_file),
            (3, self.seek_file),
            (2, self.synchronise),
            (6, self.close_file),
            (8, self.look),
            (3, self.list_directory),
            (5, self.rename),
            (3, self.link),
            (2, self.symlink),
            (3, self.unlink),
            (2, self.remove_directory),
            (3, self.chmod),
            (2, self.chown),
            (3, self.utime),
            (2, self.truncate),
            (3, self.xattr),
        ]

    def run(self, steps: int) -> None:
        """Do so many operations; raises Difference."""
        weights = [weight for weight, _ in self._acts]
        acts = [act for _, act in self._acts]
        try:
            for number in range(steps):
                self.random.choices(acts, weights)[0]()
                if number % 100 == 99:
                    self.compare()
            self.compare()
        finally:
            while self.open:
                self._close(self.open.pop())

    # --- what is compared --------------------------------------------------------------------

    def both(self, what: str, act: Callable[[Path], Any], root: Path | None = None) -> Any:
        """Do the same in both places, and compare."""
        where = root or self.random.choice(self.mounts)
        return self._same(what, lambda: act(where), lambda: act(self.oracle), where)

    def on(self, what: str, opened: Opened, act: Callable[[int], Any]) -> Any:
        """Do the same with both descriptors, and compare."""
        return self._same(what, lambda: act(opened.here), lambda: act(opened.there), None)

    def _same(
        self, what: str, here: Callable[[], Any], there: Callable[[], Any], where: Path | None
    ) -> Any:
        expected, found = outcome(there), outcome(here)
        self.story.append(f"{where.name if where else 'fd'} {what}: {shown(expected)}")
        if found != expected:
            last = "\n".join(self.story[-25:])
            raise Difference(f"{last}\ngot {shown(found)}")
        return expected

    def compare(self) -> None:
        """Everything that is there."""
        for opened in self.open:
            self.on("fsync", opened, os.fsync)
        expected = dict(tree(self.oracle))
        for root in self.mounts:
            found = dict(tree(root))
            if found != expected:
                wrong = {
                    name: (found.get(name), expected.get(name))
                    for name in found.keys() | expected.keys()
                    if found.get(name) != expected.get(name)
                }
                last = "\n".join(self.story[-25:])
                raise Difference(f"{last}\n{root.name} (got, expected): {wrong}")

    # --- choices -----------------------------------------------------------------------------

    def name(self) -> str:
        return "/".join(self.random.choices(NAMES, k=self.random.choice((1, 1, 2, 2, DEPTH))))

    def offset(self) -> int:
        return self.random.choice((0, self.random.randrange(BYTES_MAX)))

    def some_open(self, writing: bool | None = None) -> Opened | None:
        found = [
            each for each in self.open if writing is None or bool(each.flags & os.O_RDWR) == writing
        ]
        return self.random.choice(found) if found else None

    # --- files -------------------------------------------------------------------------------

    def make_file(self) -> None:
        name, content = self.name(), self.random.randbytes(self.random.choice(LENGTHS))
        flags = os.O_CREAT | os.O_WRONLY | self.random.choice((os.O_EXCL, os.O_TRUNC, os.O_APPEND))

        def act(root: Path) -> int:
            descriptor = os.open(root / name, flags, 0o644)
            try:
                return os.write(descriptor, content)
            finally:
                os.close(descriptor)

        self.both(f"make {name} {flags:o} {len(content)}", act)

    def open_file(self) -> None:
        if len(self.open) == FILES_OPEN or len(self.mounts) > 1:
            return  # with several mounts, what is open on one is not written on another
        name, flags = self.name(), self.random.choice((os.O_RDONLY, os.O_RDWR, os.O_RDWR))
        extra = self.random.choice((0, 0, os.O_CREAT, os.O_TRUNC, os.O_APPEND))
        found: list[int] = []

        def act(root: Path) -> bool:
            found.append(os.open(root / name, flags | extra, 0o600))
            return True

        self.both(f"open {name} {flags | extra:o}", act)
        if found:
            there, here = found
            self.open.append(Opened(here, there, flags))
            if stat.S_ISDIR(os.fstat(there).st_mode):
                self._close(self.open.pop())

    def close_file(self) -> None:
        if self.open:
            self._close(self.open.pop(self.random.randrange(len(self.open))))

    def _close(self, opened: Opened) -> None:
        os.close(opened.here)
        os.close(opened.there)
        self.story.append("close")

    def write_file(self) -> None:
        if (opened := self.some_open(True)) is None:
            return
        data, offset = self.random.randbytes(self.random.choice(LENGTHS)), self.offset()
        self.on(f"write {offset}+{len(data)}", opened, lambda fd: os.pwrite(fd, data, offset))

    def read_file(self) -> None:
        if (opened := self.some_open()) is not None:
            length, offset = self.random.choice(LENGTHS), self.offset()
            self.on(f"read {offset}+{length}", opened, lambda fd: os.pread(fd, length, offset))

    def cut_file(self) -> None:
        if (opened := self.some_open(True)) is not None:
            size = self.random.randrange(BYTES_MAX)
            self.on(f"ftruncate {size}", opened, lambda fd: os.ftruncate(fd, size))

    def punch_file(self) -> None:
        if (opened := self.some_open(True)) is not None:
            offset, length = self.offset(), self.random.choice(LENGTHS[1:])
            mode = self.random.choice((0, 1, 3))
            self.on(
                f"fallocate {mode} {offset}+{length}",
                opened,
                lambda fd: allocate(fd, mode, offset, length),
            )

    def map_file(self) -> None:
        if (opened := self.some_open(True)) is None:
            return
        at, data = self.random.randrange(BYTES_MAX), self.random.randbytes(50)

        def act(fd: int) -> bytes:
            size = os.fstat(fd).st_size
            if size <= at + len(data):
                return b""
            with mmap.mmap(fd, size) as memory:
                before = memory[at : at + len(data)]
                memory[at : at + len(data)] = data
                memory.flush()
            return before

        self.on(f"mmap {at}", opened, act)

    def seek_file(self) -> None:
        """Data is never called a hole."""
        if (opened := self.some_open()) is None:
            return
        at = self.offset()
        size = os.fstat(opened.there).st_size
        hole = outcome(lambda: os.lseek(opened.here, at, os.SEEK_HOLE))
        if at < size and not (isinstance(hole, int) and at <= hole <= size):
            raise Difference(f"a hole at {hole} from {at} in {size} bytes")
        data = outcome(lambda: os.lseek(opened.here, at, os.SEEK_DATA))
        end = data if isinstance(data, int) else size
        if any(os.pread(opened.there, max(0, end - at), at)):
            raise Difference(f"data between {at} and {end} is called a hole")

    def synchronise(self) -> None:
        if (opened := self.some_open()) is not None:
            self.on("fsync", opened, os.fsync)

    def truncate(self) -> None:
        name, size = self.name(), self.random.randrange(BYTES_MAX)
        self.both(f"truncate {name} {size}", lambda root: os.truncate(root / name, size))

    # --- names -------------------------------------------------------------------------------

    def make_directory(self) -> None:
        name = self.name()
        self.both(f"mkdir {name}", lambda root: (root / name).mkdir())

    def look(self) -> None:
        name, follow = self.name(), self.random.random() < 0.5
        self.both(f"stat {name}", lambda root: described(root / name, follow))

    def list_directory(self) -> None:
        name = self.name()
        self.both(f"list {name}", lambda root: sorted(os.listdir(root / name)))

    def rename(self) -> None:
        first, second, flags = self.name(), self.name(), self.random.choice((0, 0, 0, 1, 2))
        self.both(
            f"rename {first} {second} {flags}",
            lambda root: rename(root / first, root / second, flags),
        )

    def link(self) -> None:
        first, second = self.name(), self.name()
        self.both(
            f"link {first} {second}",
            lambda root: os.link(root / first, root / second, follow_symlinks=False),
        )

    def symlink(self) -> None:
        name, target = self.name(), self.random.choice([*NAMES, "../a0", "nowhere", "."])
        self.both(f"symlink {target} {name}", lambda root: os.symlink(target, root / name))

    def unlink(self) -> None:
        name = self.name()
        self.both(f"unlink {name}", lambda root: os.unlink(root / name))

    def remove_directory(self) -> None:
        name = self.name()
        self.both(f"rmdir {name}", lambda root: os.rmdir(root / name))

    # --- attributes --------------------------------------------------------------------------

    def chmod(self) -> None:
        name, mode = self.name(), self.random.choice((0o644, 0o600, 0o755, 0o4755, 0o2640, 0o1777))
        self.both(f"chmod {name} {mode:o}", lambda root: os.chmod(root / name, mode))

    def chown(self) -> None:
        name, user, group = self.name(), *self.random.choices((-1, 0, 1000, 4242), k=2)
        self.both(f"chown {name} {user} {group}", lambda root: os.chown(root / name, user, group))

    def utime(self) -> None:
        name, times = self.name(), (self.random.getrandbits(61), self.random.getrandbits(61))
        self.both(f"utime {name} {times}", lambda root: os.utime(root / name, ns=times))
        self.both(f"times of {name}", lambda root: os.stat(root / name).st_mtime_ns == times[1])

    def xattr(self) -> None:
        name, key = self.name(), self.random.choice(("user.a", "user.b"))
        value = self.random.randbytes(self.random.choice((0, 5, 3000)))
        flags = self.random.choice((0, os.XATTR_CREATE, os.XATTR_REPLACE))
        self.both(
            f"setxattr {name} {key} {flags}",
            lambda root: os.setxattr(root / name, key, value, flags),
        )
        self.both(f"getxattr {name} {key}", lambda root: os.getxattr(root / name, key))
        self.both(f"removexattr {name} {key}", lambda root: os.removexattr(root / name, key))


def outcome(act: Callable[[], Any]) -> Any:
    """What came of it: an answer, or the name of an errno."""
    try:
        return act()
    except OSError as error:
        return f"E {errno.errorcode[error.errno or 0]}"


def shown(found: Any) -> str:
    """Short."""
    if isinstance(found, bytes):
        return f"{len(found)} bytes, {found[:12].hex()}..."
    return repr(found)[:200]


def described(path: Path, follow: bool) -> tuple[object, ...]:
    """What stat says that does not differ from file system to file system."""
    found = os.stat(path, follow_symlinks=follow)
    if stat.S_ISDIR(found.st_mode):
        return oct(found.st_mode), found.st_uid, found.st_gid
    return oct(found.st_mode), found.st_uid, found.st_gid, found.st_nlink, found.st_size


def tree(top: Path) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Everything below."""
    for path in sorted(top.rglob("*")):
        content: object = None
        if path.is_symlink():
            content = os.readlink(path)
        elif path.is_file():
            content = path.read_bytes()
        yield str(path.relative_to(top)), (*described(path, False), content)


def allocate(descriptor: int, mode: int, offset: int, length: int) -> None:
    """fallocate(2)."""
    numbers = ctypes.c_long(offset), ctypes.c_long(length)
    if _libc.fallocate(descriptor, mode, *numbers):
        raise OSError(ctypes.get_errno(), "fallocate")


def rename(source: Path, target: Path, flags: int) -> None:
    """renameat2(2)."""
    if _libc.renameat2(-100, os.fsencode(source), -100, os.fsencode(target), flags):
        raise OSError(ctypes.get_errno(), "renameat2")
