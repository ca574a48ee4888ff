"""What this process can learn of its machine: its name, usable memory, its user, where files go."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple


def machine_id() -> str:
    """Identifies this host while it is up; empty when the kernel does not say.

    Processes with the same one try each other's unix sockets.
    """
    return _read(Path("/proc/sys/kernel/random/boot_id"))


def check_descriptors(count: int) -> None:
    """Raises OSError where this process may not open ``count`` more files."""
    with contextlib.ExitStack() as probe:
        try:
            for _ in range(count):
                probe.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            text = f"{error.strerror}: raise the limit on them (ulimit -n)"
            raise OSError(error.errno, text) from None


def raise_descriptor_limit() -> None:
    """Allow this process as many descriptors as the system does."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def descriptors_allowed() -> int:
    """Descriptors that this process may have once it has raised its limit."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return hard if hard != resource.RLIM_INFINITY else sys.maxsize


def descriptor_limit() -> int:
    """Descriptors that this process may have now."""
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else sys.maxsize


def mapping_limit(root: Path = Path("/")) -> int:
    """Mappings that a process may have; the kernel's default where it does not say."""
    found = _read(root / "proc/sys/vm/max_map_count")
    return int(found) if found.isdigit() else 65_530


def module_command(module: str, *arguments: str) -> list[str]:
    """The command line that runs an installed module: nothing of the current directory is imported.

    Without -P, ``python -m`` would import a local ``http.py`` in the place of Python's own.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


def usable_memory(root: Path = Path("/")) -> int:
    """Bytes this process may use at most: the RAM, or the cgroup's limit when that is lower."""
    return min(each.limit for each in memory_domains(root))


class MemoryDomain(NamedTuple):
    """What bounds the memory of several processes together: the machine, or a cgroup."""

    name: str
    """The same for all processes of this machine that it bounds, and for no others."""
    limit: int
    """Bytes; NO_LIMIT and more: it is none."""


MACHINE: Final = "machine"
"""The name of the domain that has the RAM."""
NO_LIMIT: Final = 1 << 60
"""Version 1 of cgroups has a number for it."""


def memory_domains(root: Path = Path("/")) -> tuple[MemoryDomain, ...]:
    """The machine, this process's cgroups and those above them.

    Two containers that call their own group ``/`` are told apart by their namespaces of cgroups.
    """
    found = re.search(r"MemTotal:\s*(\d+) kB", (root / "proc/meminfo").read_text())
    assert found, "/proc/meminfo has no MemTotal"
    domains = [MemoryDomain(MACHINE, int(found[1]) * 1024)]
    namespace = _link(root / "proc/self/ns/cgroup")
    for group in _memory_groups(root):
        text = _read(group.limit)
        limit = int(text) if text.isdigit() else NO_LIMIT  # else "max", or nothing at the top
        domains.append(MemoryDomain(f"{namespace} {group.name}", limit))
    return tuple(domains)


class _MemoryGroup(NamedTuple):
    """A cgroup that may bound this process's memory."""

    name: str
    """Version and path, unique within a namespace of cgroups."""
    limit: Path
    statistics: Path
    prefix: str
    """Of the names in ``statistics`` that count those below as well."""


def _memory_groups(root: Path) -> Iterator[_MemoryGroup]:
    """This process's cgroups and those above them (version 2, then version 1).

    Both may be mounted at once, and a container sees its own group as the top one, whatever the
    path says.
    """
    mount = root / "sys/fs/cgroup"
    for name, group in _cgroups(root, r"^0::/(.*)$", mount):
        yield _MemoryGroup(f"2:{name}", group / "memory.max", group / "memory.stat", "")
    line = r"^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:/(.*)$"
    for name, group in _cgroups(root, line, mount / "memory"):
        limit = group / "memory.limit_in_bytes"
        yield _MemoryGroup(f"1:{name}", limit, group / "memory.stat", "total_")


def _cgroups(root: Path, line: str, mount: Path) -> Iterator[tuple[str, Path]]:
    """The group that a line of the process's list names, those above it, and the top one; with
    their paths."""
    found = re.search(line, _read(root / "proc/self/cgroup"), re.MULTILINE)
    inside = found[1] if found else ""
    group = mount / inside
    seen = not inside or group.exists()
    for directory in (group, *group.parents):
        if directory.is_relative_to(mount):
            own = directory == mount and not seen  # the top one that a container sees is its own
            path = inside if own else str(directory.relative_to(mount))
            yield f"/{'' if path == '.' else path}", directory


class Footprint(NamedTuple):
    """What the kernel says of this process's memory, in bytes."""

    anonymous: int = 0
    """Resident memory that is no file's: heap and stacks. 0: it does not say."""
    container: int = 0
    """What the cgroup that is nearest to its limit holds and cannot give back."""
    container_limit: int = 0
    """The limit of that cgroup; 0: there is none."""
    mapped: int = 0
    """Resident shared memory that this process has touched through its mappings: at most what its
    memfds take."""


def footprint(root: Path = Path("/")) -> Footprint:
    """The footprint now: two small files of /proc and two a level of the cgroup."""
    status = _read(root / "proc/self/status")
    lines = re.findall(r"^Rss(\w+):\s*(\d+) kB", status, re.MULTILINE)
    found = {name: 1024 * int(size) for name, size in lines}
    nearest = min(_containers(root), key=lambda each: each[1] - each[0], default=(0, 0))
    return Footprint(found.get("Anon", 0), *nearest, found.get("Shmem", 0))


def _containers(root: Path) -> Iterator[tuple[int, int]]:
    """Bytes that cannot be given back, and the limit, of each cgroup that has one."""
    for group in _memory_groups(root):
        text = _read(group.limit)
        if text.isdigit() and int(text) < NO_LIMIT:
            lines = _read(group.statistics)
            stat = dict(re.findall(r"^(\w+) (\d+)$", lines, re.MULTILINE))
            yield sum(int(stat.get(group.prefix + name, 0)) for name in _FIXED), int(text)


_FIXED = ("anon", "rss", "shmem", "kernel", "sock")
"""Of memory.stat: ``rss`` is what version 1 calls ``anon``. Files' pages can be given back."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Of malloc.h."""


def tame_malloc() -> None:
    """Let glibc's malloc keep little of what is freed; others' are as they are.

    Fixed thresholds: by itself it raises them to 32 and 64 MiB once such buffers were freed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in (
            (_M_ARENA_MAX, 2),
            (_M_MMAP_THRESHOLD, 1 << 20),
            (_M_TRIM_THRESHOLD, 4 << 20),
        ):
            mallopt(parameter, value)


def trim_malloc() -> None:
    """Give free pages of the heap back to the system, those between living objects too."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


_LARGE_PAGE: Final = 2 << 20
_MADV_HUGEPAGE: Final = 14
"""Of madvise(2)."""


def use_large_pages(memory: memoryview) -> None:
    """Let the kernel back fresh, writable memory by pages of 2 MiB, where it has them.

    Receiving 256 MiB into pages of 4 KiB that are given one by one costs 0.78 ms a MiB, 0.25 so.
    """
    madvise = getattr(ctypes.CDLL(None), "madvise", None)
    if madvise is None or len(memory) < _LARGE_PAGE:
        return
    address = ctypes.addressof(ctypes.c_ubyte.from_buffer(memory))
    start = -(-address // _LARGE_PAGE) * _LARGE_PAGE
    end = (address + len(memory)) // _LARGE_PAGE * _LARGE_PAGE
    if start < end:  # refused by kernels without such pages
        madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_HUGEPAGE)


def make_private_directory(path: Path) -> None:
    """Make a directory that only this user may look into, and those above it, if they lack.

    Raises OSError; of what is there and is none it says so, and not that it exists.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from None


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def _link(file: Path) -> str:
    try:
        return str(file.readlink())
    except OSError:
        return ""


def login_name() -> str:
    """The user this process runs as; the number of one that has no name."""
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def login_groups() -> tuple[str, ...]:
    """The groups of this process, the primary one first."""
    return _group_names((os.getegid(), *os.getgroups()))


def account_groups(user: str) -> tuple[str, ...]:
    """What this machine's databases say of a user, the primary group first; () of a stranger."""
    import pwd

    try:
        account = pwd.getpwnam(user)
    except (KeyError, ValueError):
        return ()
    return _group_names((account.pw_gid, *os.getgrouplist(user, account.pw_gid)))


def groups_of(user: str) -> tuple[str, ...]:
    """The groups of this process for who it runs as, of others those of their accounts."""
    return login_groups() if user == login_name() else account_groups(user)


def _group_names(numbers: Iterable[int]) -> tuple[str, ...]:
    """Names in order, each once; the number of a group that has none."""
    import grp

    names: dict[str, None] = {}
    for number in numbers:
        try:
            names[grp.getgrgid(number).gr_name] = None
        except KeyError:
            names[str(number)] = None
    return tuple(names)


def process_name(process: int) -> str:
    """What people look for when they want to know who it was: a process, and this host."""
    return f"process {process} on {platform.node()}"


def current_umask() -> int:
    """The umask of this process. Other threads see no other one meanwhile, where /proc tells."""
    try:
        with open("/proc/self/status", "rb", buffering=0) as status:  # noqa: PTH123
            return int(status.read(256).partition(b"\nUmask:")[2].split()[0], 8)
    except (OSError, IndexError, ValueError):
        mask = os.umask(0o077)  # for a moment, what others create is rather too private
        os.umask(mask)
        return mask


def runtime_directory() -> str:
    """Where this user's sockets belong."""
    if os.geteuid() == 0:
        return "/run/memfs"
    given = os.environ.get("XDG_RUNTIME_DIR")
    return f"{given}/memfs" if given else f"/tmp/memfs-{os.geteuid()}"


def state_directory() -> str:
    """Where this user's durable state belongs; one without a home has /var/tmp."""
    if os.geteuid() == 0:
        return "/var/lib/memfs"
    given = os.environ.get("XDG_STATE_HOME")
    if given:
        return f"{given}/memfs"
    home = in_home(".local/state/memfs")
    return home or f"/var/tmp/memfs-{os.geteuid()}"


def in_home(name: str) -> str | None:
    """A path below the user's home; None for a user without one, as containers have them."""
    try:
        return str(Path("~").expanduser() / name)
    except RuntimeError:
        return None
