"""Whose directory a node's sockets lie in, and who is trusted at the other end."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from memfs.transport.local_sockets import ACCESS, check_peer, prepare_directory

STRANGER = 54321


@pytest.mark.parametrize("name", ACCESS)
def test_a_directory_is_made_and_kept_narrow(name: str, tmp_path: Path) -> None:
    access = ACCESS[name]
    for before in (None, 0o777, 0o700):
        directory = tmp_path / "a" / "sockets"
        if before is not None:
            directory.chmod(before)
        prepare_directory(directory, access)
        assert stat.S_IMODE(directory.stat().st_mode) == access.directory


def test_what_is_not_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/tmp")
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        with pytest.raises(NotADirectoryError, match="socket_directory"):
            prepare_directory(tmp_path / name, ACCESS["user"])
    if os.geteuid() != 0:
        return  # only root can make directories of others
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", STRANGER, STRANGER)
    with pytest.raises(PermissionError, match=f"belongs to user {STRANGER}"):
        prepare_directory(tmp_path / "theirs", ACCESS["all"])


class Connected:
    """A socket whose other end is somebody's."""

    def __init__(self, user: int) -> None:
        self._user = user

    def getsockopt(self, level: int, name: int, size: int) -> bytes:
        assert (level, name) == (socket.SOL_SOCKET, socket.SO_PEERCRED)
        return (1).to_bytes(4, "little") + self._user.to_bytes(4, "little") + bytes(4)


def test_strangers_are_not_talked_to(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "s", tmp_path / "theirs" / "s"
    theirs.parent.mkdir()
    for user in (0, os.geteuid()):
        check_peer(Connected(user), str(ours))  # type: ignore[arg-type]
    with pytest.raises(ConnectionRefusedError, match=f"user {STRANGER} listens"):
        check_peer(Connected(STRANGER), str(ours))  # type: ignore[arg-type]
    if os.geteuid() != 0:
        return
    os.chown(theirs.parent, STRANGER, STRANGER)
    check_peer(Connected(STRANGER), str(theirs))  # type: ignore[arg-type]  # root put it there
    tmp_path.chmod(0o777)  # where anybody could have
    with pytest.raises(ConnectionRefusedError):
        check_peer(Connected(STRANGER), str(theirs))  # type: ignore[arg-type]
    tmp_path.chmod(0o755)
    theirs.parent.chmod(0o777)
    with pytest.raises(ConnectionRefusedError):
        check_peer(Connected(STRANGER), str(theirs))  # type: ignore[arg-type]


def test_a_real_connection(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        client.connect(str(tmp_path / "s"))
        check_peer(client, str(tmp_path / "s"))
