"""The ``memfs`` command as a surface: each call is a command line, run in this process."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from memfs.cli.main import run
from memfs.client.access import Quota
from memfs.types import ContentSummary

from ..surface import Feature
from .served import BLOCK_SIZE, Served

_NUMBERS = {os.strerror(number).lower(): number for number in errno.errorcode}


class CliSurface:
    """Arguments in, exit status and output out; the words of an error give its errno."""

    name = "cli"
    features = frozenset(
        {
            Feature.SYMLINK,
            Feature.LINK,
            Feature.LINK_OVER,
            Feature.CHMOD,
            Feature.SET_ID,
            Feature.DOTS,
            Feature.CHOWN,
            Feature.USERS,
            Feature.DU,
            Feature.ACL,
            Feature.QUOTA,
            Feature.ERRORS,
            Feature.BINARY_NAMES,
            Feature.COLONS,
        }
    )
    block_size = BLOCK_SIZE

    def __init__(self, served: Served, user: str = "root", groups: tuple[str, ...] = ()) -> None:
        self.served = served
        self._environment = {
            "MEMFS_URL": served.cluster.url,
            "MEMFS_CLIENT_USER": user,
            "MEMFS_CLIENT_GROUPS": ",".join(groups or (user,)),
        }
        self._local = Path(tempfile.mkdtemp(prefix="conformance-cli-"))

    def close(self) -> None:
        shutil.rmtree(self._local)

    def as_user(self, user: str, groups: tuple[str, ...] = ()) -> CliSurface:
        return CliSurface(self.served, user, groups)

    def memfs(self, *arguments: str) -> str:
        """Run one command; its output. Raises OSError with the errno that its words mean."""
        output, complaints = io.StringIO(newline=""), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(complaints),
        ):
            for name, value in self._environment.items():
                patch.setenv(name, value)
            status = run(arguments)
        if status:
            reason = complaints.getvalue().strip()
            words = reason.rpartition(": ")[2].lower()
            raise OSError(_NUMBERS.get(words, errno.EINVAL), reason)
        return output.getvalue()

    # --- files ---------------------------------------------------------------------------------

    def read_bytes(self, path: str) -> bytes:
        local = self._local / "got"
        if self.stat(path).kind == 1:
            raise IsADirectoryError(errno.EISDIR, "is a directory", path)
        self.memfs("get", "-q", path, str(local))
        return local.read_bytes()

    def write_bytes(self, path: str, data: bytes) -> None:
        if self.exists(path) and self.stat(path).kind == 1:
            raise IsADirectoryError(errno.EISDIR, "is a directory", path)
        if self._inode(path) is not None and not self.exists(path):
            self.memfs("touch", path)  # cp(1) does not write through a link that leads nowhere
        local = self._local / "put"
        local.write_bytes(data)
        self.memfs("put", "-q", str(local), path)

    def exists(self, path: str) -> bool:
        try:
            self.stat(path)
        except FileNotFoundError:
            return False
        return True

    def stat(self, path: str) -> Any:
        return self._stat("-L", path)

    def lstat(self, path: str) -> Any:
        return self._stat(path)

    def _stat(self, *arguments: str) -> Any:
        found = json.loads(self.memfs("stat", "--json", *arguments))
        found["kind"] = {"file": 0, "directory": 1, "symlink": 2}[found["kind"]]
        found["mode"] = int(str(found["mode"]), 8)
        return SimpleNamespace(**found)

    def settle(self) -> None:
        self.served.settle()

    # --- directories and names -----------------------------------------------------------------

    def listdir(self, path: str) -> list[str]:
        if self.stat(path).kind != 1:
            raise NotADirectoryError(errno.ENOTDIR, "not a directory", path)
        if self.lstat(path).kind == 2:
            return self.memfs("ls", "-A1", path).splitlines()
        found = self.memfs("find", path, "-mindepth", "1", "-maxdepth", "1", "-print0")
        return [each.rpartition("/")[2] for each in found.split("\0")[:-1]]

    def mkdir(self, path: str) -> None:
        self.memfs("mkdir", path)

    def makedirs(self, path: str) -> None:
        self.memfs("mkdir", "-p", path)

    def rename(self, source: str, target: str) -> None:
        first, second = self._inode(source), self._inode(target)
        if first is not None and first == second:
            return  # rename(2) leaves two names of one inode alone; mv(1) refuses or removes one
        if second is not None and second == self._inode(source, "-L"):
            self.memfs("rm", target)  # mv(1) does not replace a file by a link that leads to it
        self.memfs("mv", "-T", source, target)

    def _inode(self, path: str, *options: str) -> int | None:
        try:
            return int(self._stat(*options, path).inode)
        except OSError:
            return None

    def remove(self, path: str) -> None:
        self.memfs("rm", path)

    def rmdir(self, path: str) -> None:
        self.memfs("rmdir", path)

    def rmtree(self, path: str) -> None:
        if self.lstat(path).kind != 1:
            raise NotADirectoryError(errno.ENOTDIR, "not a directory", path)
        self.memfs("rm", "-r", path)

    def symlink(self, target: str, path: str, *, replace: bool = False) -> None:
        if replace:
            self.memfs("ln", "-sfT", target, path)
        else:
            self._refuse_existing(path)
            self.memfs("ln", "-s", target, path)

    def readlink(self, path: str) -> str:
        if self.lstat(path).kind != 2:
            raise OSError(errno.EINVAL, "no symbolic link", path)
        first_line, _, _ = self.memfs("stat", path).partition("\n  Size: ")
        return first_line.removeprefix(f"  File: {path} -> ")

    def link(self, source: str, path: str, *, replace: bool = False) -> None:
        self.lstat(source)
        if replace:
            self.memfs("ln", "-fT", source, path)
        else:
            self._refuse_existing(path)
            self.memfs("ln", source, path)

    def _refuse_existing(self, path: str) -> None:
        """``ln`` would put the link into a directory of that name."""
        with contextlib.suppress(FileNotFoundError):
            self.lstat(path)
            raise FileExistsError(errno.EEXIST, "exists", path)

    def chmod(self, path: str, mode: int) -> None:
        # Five digits, or a directory keeps its set-id bits, as with GNU's chmod.
        self.memfs("chmod", f"{mode:05o}", path)

    def chown(self, path: str, owner: str | None = None, group: str | None = None) -> None:
        self.memfs("chown", (owner or "") + (f":{group}" if group else ""), path)

    def acl(self, path: str) -> list[str]:
        entries: list[str] = json.loads(self.memfs("getfacl", "--json", path))["entries"]
        return entries

    def set_acl(self, path: str, entries: str) -> None:
        self.memfs("setfacl", *(["--set", entries] if entries else ["-b"]), path)

    def modify_acl(self, path: str, entries: str) -> None:
        self.memfs("setfacl", "-m", entries, path)

    def remove_acl_entries(self, path: str, entries: str) -> None:
        self.memfs("setfacl", "-x", entries, path)

    def remove_default_acl(self, path: str) -> None:
        self.memfs("setfacl", "-k", path)

    def remove_acl(self, path: str) -> None:
        self.memfs("setfacl", "-b", path)

    def set_quota(self, path: str, *, names: int | None = None, space: int | None = None) -> None:
        for name, value in (("--names", names), ("--space", space)):
            if value is not None:
                change = ["clear", name] if value < 0 else ["set", name, str(value)]
                self.memfs("quota", *change, path)

    def get_quota(self, path: str) -> Quota:
        found = json.loads(self.memfs("quota", "show", "--json", path))
        return Quota(**{name: found[name] for name in Quota._fields})

    def du(self, path: str) -> Any:
        found = json.loads(self.memfs("du", "-sD", "--json", path))
        return ContentSummary(**{name: found[name] for name in ContentSummary._fields})
