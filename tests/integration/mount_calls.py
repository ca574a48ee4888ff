"""System calls that few programs make, as root and as others: ``mount_calls.py CASE DIRECTORY``.

Prints what came of each. What differs from file system to file system by right is not printed.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import signal
import stat
import struct
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

CASES: Final[dict[str, Callable[[Path], Any]]] = {}
SIZE: Final = 9000
KEEP_SIZE, PUNCH_HOLE = 1, 2
F_OFD_GETLK, F_OFD_SETLK = 36, 37
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
_LOCK: Final = "hhqqi4x"
_libc = ctypes.CDLL(None, use_errno=True)


def case(function: Callable[[Path], Any]) -> Callable[[Path], Any]:
    CASES[function.__name__] = function
    return function


def call(name: str, *arguments: Any) -> int:
    """A function of libc. Raises OSError."""
    result: int = getattr(_libc, name)(*arguments)
    if result == -1:
        raise OSError(ctypes.get_errno(), name)
    return result


def link(source: str, target: Path) -> int:
    """linkat(2) with AT_SYMLINK_FOLLOW, by which a descriptor gets a name."""
    return call("linkat", -100, source.encode(), -100, os.fsencode(target), 0x400)


def allocate(descriptor: int, mode: int, offset: int, length: int) -> int:
    return call("fallocate", descriptor, mode, ctypes.c_long(offset), ctypes.c_long(length))


def tried(act: Callable[[], Any]) -> Any:
    """What it returns, or the name of its errno."""
    try:
        return act()
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def shown(path: Path | int) -> tuple[str, int, int]:
    found = os.stat(path, follow_symlinks=isinstance(path, int))
    return oct(found.st_mode), found.st_uid, found.st_gid


def by(user: int, groups: list[int], act: Callable[[], Any]) -> Any:
    """Do it in a process of that user, whose group has the same number."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.setgroups(groups)
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        os.write(writing, repr(tried(act)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    os.wait()
    return said


def made(path: Path, content: bytes = b"content", mode: int = 0o644) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


# --- privileges --------------------------------------------------------------------------------


def _write(path: Path, flags: int = 0) -> None:
    descriptor = os.open(path, os.O_WRONLY | flags)
    os.write(descriptor, b"more")
    os.close(descriptor)


def _with_descriptor(path: Path, act: Callable[[int], Any]) -> None:
    descriptor = os.open(path, os.O_RDWR)
    act(descriptor)
    os.close(descriptor)


def _map(descriptor: int) -> None:
    with mmap.mmap(descriptor, SIZE) as memory:
        memory[0] = 1
        memory.flush()


CHANGES: Final[dict[str, Callable[[Path], object]]] = {
    "write": _write,
    "append": lambda path: _write(path, os.O_APPEND),
    "truncate": lambda path: os.truncate(path, 3),
    "O_TRUNC": lambda path: _write(path, os.O_TRUNC),
    "ftruncate": lambda path: _with_descriptor(path, lambda fd: os.ftruncate(fd, 3)),
    "fallocate": lambda path: _with_descriptor(path, lambda fd: allocate(fd, 0, 0, 2 * SIZE)),
    "punch": lambda path: _with_descriptor(path, lambda fd: allocate(fd, 3, 0, 4096)),
    "copy": lambda path: _with_descriptor(path, lambda fd: os.copy_file_range(fd, fd, 9, 0, 99)),
    "mmap": lambda path: _with_descriptor(path, _map),
}


@case
def set_id_bits_after_a_change(top: Path) -> Any:
    """Of a file of group 1000, changed by a member of it, by one of another, and by the owner."""
    told = []
    for mode in (0o4777, 0o2777, 0o6757, 0o2767, 0o6666):
        for name, change in CHANGES.items():
            for user, groups in ((1001, []), (1001, [5, 1000]), (1000, []), (0, [])):
                path = made(top / f"{mode:o} {name} {user} {len(groups)}", bytes(SIZE))
                os.chown(path, 1000, 1000)
                path.chmod(mode)
                said = by(user, groups, lambda path=path, change=change: change(path))
                told.append((path.name, said, oct(path.stat().st_mode)))
    return told


@case
def groups_beside_the_first(top: Path) -> Any:
    directory, path = top / "directory", top / "directory" / "file"
    directory.mkdir()
    made(path)
    os.chown(path, 0, 2002)
    path.chmod(0o640)
    os.chown(directory, 0, 2001)
    directory.chmod(0o770)

    def look() -> Any:
        reading = tried(lambda: os.listdir(directory)), tried(path.read_bytes)
        return *reading, tried(lambda: os.open(path, os.O_WRONLY))

    told = [by(1000, groups, look) for groups in ([], [2001], [2001, 2002], [2002])]
    own = made(top / "own", mode=0o2775)
    os.chown(own, 1000, 1000)
    for group in (2001, 2003, -1):
        told.append(by(1000, [2001], lambda group=group: (os.chown(own, -1, group), shown(own))))
    for group in (2005, 2006):
        os.chown(own, 1000, group)
        told.append(by(1000, [2006], lambda: (own.chmod(0o2775), shown(own))))
    shared = top / "shared"
    shared.mkdir()
    os.chown(shared, 0, 2001)
    shared.chmod(0o2777)

    def make(prefix: str) -> Any:
        os.umask(0)
        for mode in (0o2755, 0o2744, 0o644):
            os.close(os.open(shared / f"{prefix}{mode:o}", os.O_CREAT | os.O_WRONLY, mode))
        (shared / f"{prefix}d").mkdir()
        (shared / f"{prefix}l").symlink_to("nowhere")
        os.mkfifo(shared / f"{prefix}p")
        return [shown(each) for each in sorted(shared.glob(f"{prefix}*"))]

    return [*told, by(1000, [], lambda: make("a")), by(1000, [2001], lambda: make("b"))]


@case
def attributes_for_the_superuser_alone(top: Path) -> Any:
    path = made(top / "file")
    for name in ("user.seen", "trusted.hidden"):
        os.setxattr(path, name, b"1")
    names = [
        (
            tried(lambda name=name: os.setxattr(path, name, b"")),
            tried(lambda name=name: os.getxattr(path, name)),
        )
        for name in ("user.", "trusted.", "user", "nothing.x", "user." + 251 * "n")
    ]
    told = [sorted(os.listxattr(path)), names]
    told.append(
        by(
            1000,
            [],
            lambda: (os.listxattr(path), tried(lambda: os.getxattr(path, "trusted.hidden"))),
        )
    )
    return told


# --- times -------------------------------------------------------------------------------------


@case
def times_that_a_call_changes(top: Path) -> Any:
    """Whether it changes the time of modification, and that of the inode."""
    path = made(top / "file", bytes(5000))
    link, directory = top / "link", top / "directory"
    link.symlink_to("file")
    directory.mkdir()
    descriptor = os.open(path, os.O_RDWR)

    def utimens(accessed: tuple[int, int], modified: tuple[int, int]) -> int:
        times = (ctypes.c_long * 4)(*accessed, *modified)
        return call("utimensat", -100, os.fsencode(path), times, 0)

    def of(where: Path, act: Callable[[], Any]) -> tuple[Any, ...]:
        before = where.lstat()
        time.sleep(0.01)
        said = tried(act)
        after = where.lstat()
        return (
            said if isinstance(said, str) else "",
            after.st_mtime_ns > before.st_mtime_ns,
            after.st_ctime_ns > before.st_ctime_ns,
        )

    told = [
        of(path, lambda: os.truncate(path, 5000)),
        of(path, lambda: os.ftruncate(descriptor, 5000)),
        of(path, lambda: os.truncate(path, 4000)),
        of(path, lambda: os.pwrite(descriptor, b"", 0)),
        of(path, lambda: os.pwrite(descriptor, b"x", 0)),
        of(path, lambda: os.ftruncate(descriptor, 4000)),
        of(path, lambda: allocate(descriptor, 0, 0, 10)),
        of(path, lambda: allocate(descriptor, KEEP_SIZE, 0, 10_000)),
        of(path, lambda: allocate(descriptor, KEEP_SIZE | PUNCH_HOLE, 10_000, 10)),
        of(path, lambda: allocate(descriptor, 0, 0, 10_000)),
        of(path, lambda: os.copy_file_range(descriptor, descriptor, 10, 0, 5000)),
        of(path, lambda: os.open(path, os.O_RDONLY)),
        of(path, lambda: os.open(path, os.O_WRONLY | os.O_TRUNC)),
        of(path, lambda: os.open(path, os.O_WRONLY | os.O_TRUNC)),
        of(path, lambda: path.chmod(0o644)),
        *(of(each, lambda each=each: os.lchown(each, -1, -1)) for each in (path, link, directory)),
        of(path, lambda: os.chown(path, 0, 0)),
        of(path, lambda: os.setxattr(path, "user.a", b"")),
        of(path, lambda: os.removexattr(path, "user.a")),
        of(path, lambda: os.link(path, top / "another")),
        of(top, lambda: os.link(path, top / "third")),
        of(path, lambda: os.unlink(top / "third")),
        of(path, lambda: utimens((0, UTIME_OMIT), (0, UTIME_OMIT))),
        of(path, lambda: utimens((0, UTIME_NOW), (0, UTIME_OMIT))),
        of(path, lambda: utimens((7, 8), (0, UTIME_NOW))),
    ]
    path.chmod(0o666)
    told.append(by(1000, [], lambda: tried(lambda: os.truncate(path, path.stat().st_size))))
    told.append(by(1000, [], lambda: tried(lambda: os.chown(path, -1, -1))))
    for how in (lambda: os.utime(path, ns=(1, 2)), lambda: os.utime(descriptor, ns=(1, 2))):
        os.pwrite(descriptor, b"x" * 300_000, 0)
        how()
        os.fsync(descriptor)
        told.append(path.stat().st_mtime_ns)
    return told


# --- locks -------------------------------------------------------------------------------------


def lock(kind: int, start: int, length: int, whence: int = os.SEEK_SET) -> bytes:
    return struct.pack(_LOCK, kind, whence, start, length, 0)


def in_the_way(path: Path) -> list[Any]:
    """What another process is told of the locks on a file."""
    descriptor = os.open(path, os.O_RDWR)
    told: list[Any] = []
    for kind in (fcntl.F_RDLCK, fcntl.F_WRLCK):
        for start, length in ((0, 10), (0, 11), (12, 1), (15, 5), (20, 0), (30, 0), (0, 0)):
            answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, lock(kind, start, length))
            found, _, first, count, owner = struct.unpack(_LOCK, answer)
            free = found == fcntl.F_UNLCK
            told.append("free" if free else (found, first, count, owner == os.getppid()))
    return told


@case
def ranges_of_locks(top: Path) -> Any:
    path = made(top / "file", bytes(100))
    descriptor = os.open(path, os.O_RDWR)

    def locking(kind: int, start: int, length: int, whence: int = os.SEEK_SET) -> Any:
        asked = lock(kind, start, length, whence)
        return tried(lambda: len(fcntl.fcntl(descriptor, fcntl.F_SETLK, asked)))

    told = [locking(fcntl.F_WRLCK, 10, 20), locking(fcntl.F_RDLCK, 15, 5)]
    told.append(by(0, [], lambda: in_the_way(path)))
    os.close(os.open(path, os.O_RDONLY))  # whatever of it a process closes
    told.append(by(0, [], lambda: in_the_way(path)))
    told += [locking(fcntl.F_WRLCK, -10, 5, os.SEEK_END), locking(fcntl.F_WRLCK, 50, -10)]
    told += [locking(fcntl.F_WRLCK, 5, -10), by(0, [], lambda: in_the_way(path))]
    for flags in (os.O_RDONLY, os.O_WRONLY):
        other = os.open(path, flags)
        for how in (fcntl.LOCK_SH, fcntl.LOCK_EX):
            for act in (fcntl.lockf, fcntl.flock):
                told.append(tried(partial(act, other, how | fcntl.LOCK_NB)))
        os.close(other)
    return told


@case
def locks_of_open_files(top: Path) -> Any:
    """Of what was opened, not of the process: they end with the last descriptor of it."""
    path = made(top / "file", bytes(100))
    first, second = (os.open(path, os.O_RDWR) for _ in range(2))

    def locking(descriptor: int, kind: int, start: int) -> Any:
        asked = lock(kind, start, 10)
        return tried(lambda: len(fcntl.fcntl(descriptor, F_OFD_SETLK, asked)))

    told = [locking(first, fcntl.F_WRLCK, 0), locking(second, fcntl.F_WRLCK, 5)]
    told.append(struct.unpack(_LOCK, fcntl.fcntl(second, F_OFD_GETLK, lock(fcntl.F_WRLCK, 5, 10))))
    copy = os.dup(first)
    os.close(first)
    told.append(locking(second, fcntl.F_WRLCK, 5))
    os.close(copy)
    told += [locking(second, fcntl.F_WRLCK, 5), locking(second, fcntl.F_UNLCK, 5)]
    # A process whose own lock goes through a descriptor that another one closes last.
    shared = os.open(path, os.O_RDWR)
    go, ready = os.pipe()
    kept = os.fork()
    if kept == 0:
        os.close(ready)
        os.read(go, 1)
        os._exit(0)
    fcntl.lockf(shared, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 0)
    os.close(shared)
    fcntl.lockf(second, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 10)
    os.close(ready)
    os.waitpid(kept, 0)
    return [*told, by(0, [], lambda: in_the_way(path))]


@case
def waits_for_locks_that_end(top: Path) -> Any:
    """By a deadlock that one of two hears of, and by a signal."""
    path = made(top / "file", bytes(100))
    locked, tell = os.pipe()
    child = os.fork()
    if child == 0:
        descriptor = os.open(path, os.O_RDWR)
        fcntl.lockf(descriptor, fcntl.LOCK_EX, 10, 50)
        os.write(tell, b"x")
        os._exit(tried(lambda: fcntl.lockf(descriptor, fcntl.LOCK_EX, 10, 0)) == "EDEADLK")
    descriptor = os.open(path, os.O_RDWR)
    while tried(lambda: fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 0)) is not None:
        time.sleep(0.01)
    os.read(locked, 1)
    mine = tried(lambda: fcntl.lockf(descriptor, fcntl.LOCK_EX, 10, 50)) == "EDEADLK"
    os.close(descriptor)
    heard = mine + os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    descriptor = os.open(path, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    told = [heard]
    for wait in (fcntl.flock, fcntl.lockf):
        child = os.fork()
        if child == 0:
            os._exit(_interrupted(path, wait))
        told.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        fcntl.lockf(descriptor, fcntl.LOCK_EX)
    return told


class Alarm(Exception):
    """It is time."""


def _interrupted(path: Path, wait: Callable[[int, int], None]) -> int:
    """5: a signal has ended the wait."""

    def ring(*_: object) -> None:
        raise Alarm

    signal.signal(signal.SIGALRM, ring)
    descriptor = os.open(path, os.O_RDWR)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        wait(descriptor, fcntl.LOCK_EX)
    except Alarm:
        return 5
    return 0


# --- what is gone ------------------------------------------------------------------------------


@case
def directories_that_were_removed(top: Path) -> Any:
    work, other = top / "work", made(top / "other")
    work.mkdir()
    descriptor = os.open(work, os.O_RDONLY)
    work.rmdir()
    acts: list[Callable[[], Any]] = [
        lambda: os.listdir(descriptor),
        lambda: os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor),
        lambda: os.mkdir("new", dir_fd=descriptor),
        lambda: os.mkfifo("new", dir_fd=descriptor),
        lambda: os.symlink("x", "new", dir_fd=descriptor),
        lambda: os.link(other, "new", dst_dir_fd=descriptor),
        lambda: os.rename(other, "new", dst_dir_fd=descriptor),
        lambda: os.stat("new", dir_fd=descriptor),
        lambda: os.fchmod(descriptor, 0o700),
        lambda: os.fchown(descriptor, 0, 0),
        lambda: os.utime(descriptor, ns=(1, 1)),
        lambda: os.fsync(descriptor),
        lambda: os.fstat(descriptor).st_nlink,
    ]
    return [tried(act) for act in acts]


@case
def modes_of_what_is_deleted(top: Path) -> Any:
    path = made(top / "file")
    descriptor = os.open(path, os.O_RDWR)
    path.unlink()
    itself = f"/proc/self/fd/{descriptor}"
    told = [
        tried(lambda: link(itself, top / "back")),
        tried(lambda: os.fchown(descriptor, 5, 6)),
        tried(lambda: os.fchmod(descriptor, 0o640)),
        tried(lambda: os.setxattr(descriptor, "user.a", b"1")),
        tried(lambda: os.utime(descriptor, ns=(1, 2))),
        tried(lambda: fcntl.flock(descriptor, fcntl.LOCK_EX)),
        tried(lambda: fcntl.lockf(descriptor, fcntl.LOCK_EX)),
        shown(descriptor),
        os.fstat(descriptor).st_mtime_ns,
        os.listxattr(descriptor),
    ]
    again = os.open(itself, os.O_RDWR)
    os.close(descriptor)
    return [
        *told,
        os.pwrite(again, b"more", 2),
        os.pread(again, 10, 0),
        stat.S_ISREG(os.fstat(again).st_mode),
    ]


def _in_a_child(act: Callable[[], Any]) -> int:
    """``act`` in a process that has inherited all descriptors, and closes them as it ends."""
    child = os.fork()
    if not child:
        act()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@case
def descriptors_that_were_duplicated(top: Path) -> Any:
    """Closing one of them shows what was written, and the others write on."""
    path, told = top / "file", []
    first = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    for number in range(4):
        other = os.dup(first)
        os.write(first, b"first %d\n" % number)
        os.write(other, b"other %d\n" % number)
        os.close(other)
        told.append(path.read_bytes())
        os.write(first, b"after %d\n" % number)
        told.append(_in_a_child(lambda: os.write(first, b"child\n")))
        told.append(path.read_bytes())
    os.write(first, b"end\n")
    os.close(first)
    return [*told, path.read_bytes()]


@case
def duplicates_of_what_is_deleted(top: Path) -> Any:
    path = top / "file"
    first = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    os.close(os.dup(first))
    path.unlink()
    told = []
    for number in range(3):
        os.write(first, b"%d" % number)
        os.close(os.dup(first))
        told += [_in_a_child(lambda: os.write(first, b"c")), os.pread(first, 100, 0)]
        time.sleep(1.5)  # longer than a mount keeps a lease that nobody uses
    return [*told, os.fstat(first).st_size, os.fstat(first).st_nlink]


if __name__ == "__main__":
    os.umask(0o022)
    for line in CASES[sys.argv[1]](Path(sys.argv[2])):
        print(line)
