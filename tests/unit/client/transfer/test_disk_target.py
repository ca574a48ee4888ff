"""What becomes of local files that are the target of a copy."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from memfs.client.transfer import disk_target
from memfs.client.transfer.copying import Item
from memfs.client.transfer.disk_target import completed, find_place
from memfs.types import FileKind

OLD, NEW = b"old", b"new content"


def item(target: Path) -> Item:
    return Item("/source", str(target), FileKind.FILE, len(NEW), 0o755, 0)


def replace(target: Path) -> None:
    with completed(item(target)) as (descriptor, _):
        os.write(descriptor, NEW)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    path.chmod(0o600)
    return path


def test_a_file_keeps_its_mode_and_attributes(old: Path) -> None:
    os.setxattr(old, "user.origin", b"here")
    replace(old)
    assert old.read_bytes() == NEW and old.stat().st_mode & 0o777 == 0o600
    assert os.getxattr(old, "user.origin") == b"here"


def test_further_names_stay_names_of_it(old: Path, tmp_path: Path) -> None:
    (tmp_path / "other").hardlink_to(old)
    replace(old)
    assert (tmp_path / "other").read_bytes() == NEW
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "other"]


def test_what_cannot_be_replaced_is_written_through(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mount point, say."""

    def busy(path: Path, target: str) -> None:
        raise OSError(errno.EBUSY, "busy")

    monkeypatch.setattr(Path, "replace", busy)
    inode = old.stat().st_ino
    replace(old)
    assert (old.read_bytes(), old.stat().st_ino) == (NEW, inode)
    assert [path.name for path in old.parent.iterdir()] == ["file"]


def test_an_open_file_behind_proc_is_written_itself(old: Path) -> None:
    with old.open("r+b") as file:
        inode = old.stat().st_ino
        replace(Path(f"/proc/self/fd/{file.fileno()}"))
        assert (old.read_bytes(), old.stat().st_ino) == (NEW, inode)


def test_a_shorter_file_is_cut(old: Path, tmp_path: Path) -> None:
    old.write_bytes(bytes(1000))
    (tmp_path / "other").hardlink_to(old)
    replace(old)
    assert old.read_bytes() == NEW


def test_no_room_for_a_file_with_further_names(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    (tmp_path / "other").hardlink_to(old)
    monkeypatch.setattr(disk_target.os, "posix_fallocate", full)
    with pytest.raises(OSError, match="full"):
        replace(old)
    assert old.read_bytes() == OLD
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "other"]


def test_a_failure_leaves_the_old_content(old: Path) -> None:
    with pytest.raises(RuntimeError), completed(item(old)) as (descriptor, _):
        os.write(descriptor, b"half")
        raise RuntimeError
    assert old.read_bytes() == OLD and list(old.parent.iterdir()) == [old]


def test_what_is_refused(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    wanted = {
        "directory": errno.EISDIR,
        "pipe": errno.EINVAL,
        "dangling": errno.ENOENT,
        "loop": errno.ELOOP,
    }
    for name, number in wanted.items():
        with pytest.raises(OSError) as caught:
            find_place(str(tmp_path / name))
        assert caught.value.errno == number


def test_links_are_followed(old: Path, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "one").symlink_to("../two")
    (tmp_path / "two").symlink_to(old)
    replace(tmp_path / "sub" / "one")
    assert old.read_bytes() == NEW and (tmp_path / "two").is_symlink()
