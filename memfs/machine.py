"""What this process can learn of its machine: its name, usable memory, its user, where files go."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path


def machine_id() -> str:
    """Identifies this host while it is up; empty when the kernel does not say.

    Processes with the same one try each other's unix sockets.
    """
    return _read(Path("/proc/sys/kernel/random/boot_id"))


def raise_descriptor_limit() -> None:
    """Allow this process as many descriptors as the system does."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def usable_memory(root: Path = Path("/")) -> int:
    """Bytes this process may use at most: the RAM, or the cgroup's limit when that is lower."""
    found = re.search(r"MemTotal:\s*(\d+) kB", (root / "proc/meminfo").read_text())
    assert found, "/proc/meminfo has no MemTotal"
    limits = (int(text) for text in _cgroup_limits(root) if text.isdigit())  # else "max"
    return min([int(found[1]) * 1024, *limits])


def _cgroup_limits(root: Path) -> Iterator[str]:
    """The limits of this process's cgroup and of those above it (version 2, then version 1)."""
    mount = root / "sys/fs/cgroup"
    for inside in re.findall(r"^0::/(.*)$", _read(root / "proc/self/cgroup"), re.MULTILINE):
        group = mount / inside
        for directory in (group, *group.parents):
            if directory.is_relative_to(mount):
                yield _read(directory / "memory.max")
    yield _read(mount / "memory/memory.limit_in_bytes")


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
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
    import grp

    names: dict[str, None] = {}
    for number in (os.getegid(), *os.getgroups()):
        try:
            names[grp.getgrgid(number).gr_name] = None
        except KeyError:
            names[str(number)] = None
    return tuple(names)


def current_umask() -> int:
    """The umask of this process, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def runtime_directory() -> str:
    """Where this user's sockets belong."""
    if os.geteuid() == 0:
        return "/run/memfs"
    given = os.environ.get("XDG_RUNTIME_DIR")
    return f"{given}/memfs" if given else f"/tmp/memfs-{os.geteuid()}"


def state_directory() -> str:
    """Where this user's durable state belongs."""
    if os.geteuid() == 0:
        return "/var/lib/memfs"
    given = os.environ.get("XDG_STATE_HOME")
    return given + "/memfs" if given else str(Path("~/.local/state/memfs").expanduser())
