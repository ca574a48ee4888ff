"""Mount points: mounting a FUSE descriptor on a directory, and unmounting it.

Root mounts by mount(2); anybody else through ``fusermount3``, which is set-uid and asks the kernel
on their behalf. Owns ``/dev/fuse``, mount(2), umount2(2) and what ``/proc/self/mountinfo`` says.
Must not know the protocol or the cluster.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import socket
import stat
import subprocess
from pathlib import Path
from typing import NamedTuple

from memfs.errors import MemfsError

DEVICE = "/dev/fuse"
TYPE = "fuse.memfs"
FLAGS = {
    "ro": 1,
    "nosuid": 2,
    "nodev": 4,
    "noexec": 8,
    "sync": 16,
    "dirsync": 128,
    "noatime": 1024,
    "nodiratime": 2048,
    "relatime": 1 << 21,
    "strictatime": 1 << 24,
    "lazytime": 1 << 25,
}
"""``MS_*`` of mount(2), by the words of mount(8)."""
REMOUNT = "remount"
_MS_REMOUNT = 32
_OPPOSITES = {"rw": "ro", "suid": "nosuid", "dev": "nodev", "exec": "noexec", "async": "sync"}
_MNT_DETACH = 2
_HELPER = "fusermount3"
_HELPER_SECONDS = 30.0


class MountError(MemfsError):
    """A directory cannot be mounted, or not be unmounted; the text says what to do."""


class MountEntry(NamedTuple):
    """One line of the kernel's table of mounts."""

    directory: str
    source: str
    options: tuple[str, ...]
    device: tuple[int, int]
    """Major and minor number: the name of its backing device in /sys."""


def flags_of(words: list[str]) -> int:
    """The flags of mount(2) for words of mount(8); of two opposites the later one counts."""
    chosen: set[str] = set()
    for word in words:
        if word in _OPPOSITES:
            chosen.discard(_OPPOSITES[word])
        else:
            chosen.add(word)
    return sum(FLAGS[word] for word in chosen)


def is_flag(word: str) -> bool:
    """Whether mount(8) and mount(2) know a word for every file system."""
    return word in FLAGS or word in _OPPOSITES


def check_directory(path: str) -> str:
    """The directory's path as the kernel will show it. Raises MountError unless it can be mounted
    on."""
    try:
        found = Path(path).stat()
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            text = f"a mount whose server is gone is still there: memfs fuse umount {path}"
        else:
            text = error.strerror or str(error)
        raise MountError(text, path=path) from None
    if not stat.S_ISDIR(found.st_mode):
        raise MountError("not a directory: a mount point is one", path=path)
    return os.path.realpath(path)


def mount(directory: str, source: str, words: list[str], *, allow_other: bool) -> int:
    """Mount on a directory; returns the descriptor on which the kernel sends requests.

    ``words``: flags, as of :func:`flags_of`. Raises MountError.
    """
    if os.geteuid() == 0:
        return _mount_as_root(directory, source, words, allow_other)
    return _mount_by_helper(directory, source, words, allow_other)


def remount(directory: str, words: list[str]) -> None:
    """Change the flags of a mount of memfs to these. Raises MountError."""
    found = next((each for each in reversed(mounts()) if each.directory == directory), None)
    if found is None:
        raise MountError("not a mount of memfs", path=directory)
    flags = flags_of(words) | _MS_REMOUNT
    try:
        _call("mount", found.source.encode(), os.fsencode(directory), None, flags, None)
    except OSError as error:
        text = "only root may do that" if error.errno == errno.EPERM else error.strerror
        raise MountError(f"cannot be remounted: {text}", path=directory) from None


def _kernel_options(allow_other: bool) -> list[str]:
    return ["default_permissions", *(["allow_other"] if allow_other else [])]


def _mount_as_root(directory: str, source: str, words: list[str], allow_other: bool) -> int:
    fd = _open_device()
    mode = stat.S_IFMT(Path(directory).stat().st_mode)
    options = [
        f"fd={fd}",
        f"rootmode={mode:o}",
        f"user_id={os.geteuid()}",
        f"group_id={os.getegid()}",
        *_kernel_options(allow_other),
    ]
    try:
        _call(
            "mount",
            source.encode(),
            os.fsencode(directory),
            TYPE.encode(),
            flags_of(words),
            ",".join(options).encode(),
        )
    except OSError as error:
        os.close(fd)
        raise MountError(_mount_trouble(error), path=directory) from None
    return fd


def _open_device() -> int:
    try:
        return os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        text = "the kernel offers no FUSE: modprobe fuse, in a container: --device /dev/fuse"
        raise MountError(text, path=DEVICE) from None
    except OSError as error:
        raise MountError(f"cannot be opened: {error.strerror}", path=DEVICE) from None


def _mount_trouble(error: OSError) -> str:
    if error.errno in (errno.EPERM, errno.EACCES):
        return (
            "the kernel does not let this process mount: a container needs the capability "
            "SYS_ADMIN (--cap-add SYS_ADMIN --device /dev/fuse)"
        )
    if error.errno == errno.ENODEV:
        return "the kernel offers no FUSE: modprobe fuse"
    return f"cannot be mounted: {error.strerror}"


def _mount_by_helper(directory: str, source: str, words: list[str], allow_other: bool) -> int:
    """Have fusermount3 mount, and receive the descriptor from it."""
    options = [*_kernel_options(allow_other), *words, f"fsname={_escaped(source)}", "subtype=memfs"]
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        command = [_helper(), "-o", ",".join(options), "--", directory]
        environment = os.environ | {"_FUSE_COMMFD": str(theirs.fileno())}
        helper = subprocess.Popen(
            command, env=environment, pass_fds=[theirs.fileno()], stderr=subprocess.PIPE, text=True
        )
        theirs.close()
        ours.settimeout(_HELPER_SECONDS)
        descriptors = socket.recv_fds(ours, 1, 1)[1]
        said = helper.communicate(timeout=_HELPER_SECONDS)[1]
    if not descriptors:
        raise MountError(_helper_said(said), path=directory)
    os.set_inheritable(descriptors[0], False)
    return descriptors[0]


def _escaped(source: str) -> str:
    return source.replace("\\", "\\\\").replace(",", "\\,")


def _helper() -> str:
    found = shutil.which(_HELPER)
    if found is None:
        raise MountError(f"{_HELPER} is missing: install Debian's package fuse3, or mount as root")
    return found


def _helper_said(text: str) -> str:
    said = text.strip().removeprefix(f"{_HELPER}: ")
    if "user_allow_other" in said:
        said += " (or mount without -o allow_other)"
    return said or f"{_HELPER} failed without a word"


def unmount(directory: str, *, lazy: bool = False) -> None:
    """End a mount. ``lazy``: at once for new paths, for open files when they are closed.

    Raises MountError.
    """
    if os.geteuid() == 0:
        try:
            _call("umount2", os.fsencode(directory), _MNT_DETACH if lazy else 0)
        except OSError as error:
            raise MountError(_unmount_trouble(error), path=directory) from None
        return
    command = [_helper(), "-u", *(["-z"] if lazy else []), "--", directory]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=_HELPER_SECONDS
    )
    if done.returncode:
        raise MountError(_helper_said(done.stderr), path=directory)


def _unmount_trouble(error: OSError) -> str:
    if error.errno == errno.EBUSY:
        return "in use: see who by `fuser -vm`, or detach it by --lazy"
    if error.errno == errno.EINVAL:
        return "not a mount point"
    return error.strerror or str(error)


def mounts(table: Path = Path("/proc/self/mountinfo")) -> list[MountEntry]:
    """All mounts of memfs that this process can see, the newest last."""
    return [
        found
        for line in table.read_text(errors="surrogateescape").splitlines()
        if (found := _parse(line)) is not None
    ]


def _parse(line: str) -> MountEntry | None:
    """A line of mountinfo, see proc(5); None for another file system."""
    place, _, what = line.partition(" - ")
    kind, source, special = what.split(" ", 2)
    if kind != TYPE:
        return None
    fields = place.split(" ")
    major, minor = fields[2].split(":")
    options = dict.fromkeys([*fields[5].split(","), *special.split(",")])
    device = int(major), int(minor)
    return MountEntry(_unescaped(fields[4]), _unescaped(source), tuple(options), device)


def _unescaped(text: str) -> str:
    """Spaces, tabs, line ends and backslashes are written as three octal digits."""
    for code in (" ", "\t", "\n", "\\"):
        text = text.replace(f"\\{ord(code):03o}", code)
    return text


def set_readahead(device: tuple[int, int], size: int) -> bool:
    """Set how many bytes the kernel reads ahead of a sequential reader; returns whether it was
    permitted."""
    where = Path(f"/sys/class/bdi/{device[0]}:{device[1]}/read_ahead_kb")
    try:
        where.write_text(str(size // 1024))
    except OSError:
        return False
    return True


def _call(name: str, *arguments: object) -> None:
    """A function of the C library that returns 0. Raises OSError."""
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
