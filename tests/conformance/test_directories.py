"""Directories: making, listing, renaming, removing."""

from __future__ import annotations

import errno

import pytest

from memfs import limits

from .surface import Feature, needs


def fails_with(number, call, *arguments, **options):
    with pytest.raises(OSError) as caught:
        call(*arguments, **options)
    assert caught.value.errno == number


def test_listing_is_ordered_by_bytes(surface, top):
    names = ["b", "a", "ä", "B", "a b", "a-b", "1", "10", "2", "世"]
    for name in names:
        surface.write_bytes(f"{top}/{name}", b"")
    assert surface.listdir(top) == sorted(names, key=str.encode)


def test_a_listing_longer_than_a_page(surface, top):
    count = 1200 if Feature.OPEN in surface.features else 60
    names = sorted(f"file-{number:05}" for number in range(count))
    fill(surface, top, names)
    assert surface.listdir(top) == names
    surface.rmtree(top)
    assert not surface.exists(top)


def fill(surface, top, names):
    """Many empty files, by the batch where the surface has one."""
    if Feature.MEMFS in surface.features:
        surface.write_many({f"{top}/{name}": b"" for name in names})
    else:
        for name in names:
            surface.write_bytes(f"{top}/{name}", b"")


@needs(Feature.ERRORS)
def test_mkdir_errors(surface, top):
    surface.write_bytes(f"{top}/file", b"")
    fails_with(errno.EEXIST, surface.mkdir, top)
    fails_with(errno.EEXIST, surface.mkdir, f"{top}/file")
    fails_with(errno.ENOENT, surface.mkdir, f"{top}/missing/new")
    fails_with(errno.ENOTDIR, surface.mkdir, f"{top}/file/new")


def test_makedirs_makes_all_and_accepts_what_exists(surface, top):
    surface.makedirs(f"{top}/a/b/c")
    surface.makedirs(f"{top}/a/b/c")
    surface.makedirs(f"{top}/a/x")
    assert surface.listdir(f"{top}/a") == ["b", "x"]


@needs(Feature.ERRORS)
def test_makedirs_through_a_file(surface, top):
    surface.write_bytes(f"{top}/file", b"")
    with pytest.raises((NotADirectoryError, FileExistsError)):
        surface.makedirs(f"{top}/file/a")


@needs(Feature.ERRORS)
def test_rmdir_only_of_what_is_an_empty_directory(surface, top):
    surface.makedirs(f"{top}/full/sub")
    surface.write_bytes(f"{top}/file", b"")
    fails_with(errno.ENOTEMPTY, surface.rmdir, f"{top}/full")
    fails_with(errno.ENOTDIR, surface.rmdir, f"{top}/file")
    fails_with(errno.ENOENT, surface.rmdir, f"{top}/missing")
    surface.rmdir(f"{top}/full/sub")
    surface.rmdir(f"{top}/full")
    assert surface.listdir(top) == ["file"]


@needs(Feature.ERRORS)
def test_remove_is_not_for_directories(surface, top):
    surface.mkdir(f"{top}/d")
    fails_with(errno.EISDIR, surface.remove, f"{top}/d")
    fails_with(errno.ENOENT, surface.remove, f"{top}/missing")


def test_rename_replaces_a_file(surface, top):
    surface.write_bytes(f"{top}/old", b"old")
    surface.write_bytes(f"{top}/new", b"new")
    surface.rename(f"{top}/new", f"{top}/old")
    assert surface.listdir(top) == ["old"]
    assert surface.read_bytes(f"{top}/old") == b"new"


def test_rename_moves_a_tree(surface, top):
    surface.makedirs(f"{top}/a/b")
    surface.write_bytes(f"{top}/a/b/file", b"inside")
    surface.mkdir(f"{top}/z")
    surface.rename(f"{top}/a", f"{top}/z/moved")
    assert surface.read_bytes(f"{top}/z/moved/b/file") == b"inside"
    assert surface.listdir(top) == ["z"]


def test_rename_to_itself_changes_nothing(surface, top):
    surface.write_bytes(f"{top}/file", b"same")
    surface.rename(f"{top}/file", f"{top}/file")
    assert surface.read_bytes(f"{top}/file") == b"same"


@needs(Feature.ERRORS)
def test_rename_replaces_only_an_empty_directory(surface, top):
    for name in ("empty", "full", "moved"):
        surface.mkdir(f"{top}/{name}")
    surface.write_bytes(f"{top}/full/file", b"")
    surface.write_bytes(f"{top}/moved/content", b"")
    fails_with(errno.ENOTEMPTY, surface.rename, f"{top}/moved", f"{top}/full")
    surface.rename(f"{top}/moved", f"{top}/empty")
    assert surface.listdir(f"{top}/empty") == ["content"]


@needs(Feature.ERRORS)
def test_rename_errors(surface, top):
    surface.makedirs(f"{top}/d/sub")
    surface.write_bytes(f"{top}/file", b"")
    fails_with(errno.ENOENT, surface.rename, f"{top}/missing", f"{top}/x")
    fails_with(errno.ENOENT, surface.rename, f"{top}/file", f"{top}/missing/x")
    fails_with(errno.EINVAL, surface.rename, f"{top}/d", f"{top}/d/sub/d")
    fails_with(errno.EISDIR, surface.rename, f"{top}/file", f"{top}/d")
    fails_with(errno.ENOTDIR, surface.rename, f"{top}/d", f"{top}/file")
    assert surface.listdir(top) == ["d", "file"]


@needs(Feature.RENAME_MODES, Feature.ERRORS)
def test_rename_without_overwriting(surface, top):
    surface.write_bytes(f"{top}/a", b"a")
    surface.write_bytes(f"{top}/b", b"b")
    fails_with(errno.EEXIST, surface.rename, f"{top}/a", f"{top}/b", overwrite=False)
    assert surface.read_bytes(f"{top}/b") == b"b"
    surface.rename(f"{top}/a", f"{top}/c", overwrite=False)
    assert surface.listdir(top) == ["b", "c"]


@needs(Feature.RENAME_MODES, Feature.ERRORS)
def test_exchange_swaps_anything(surface, top):
    surface.mkdir(f"{top}/d")
    surface.write_bytes(f"{top}/d/inside", b"i")
    surface.write_bytes(f"{top}/file", b"f")
    surface.exchange(f"{top}/d", f"{top}/file")
    assert surface.read_bytes(f"{top}/d") == b"f"
    assert surface.listdir(f"{top}/file") == ["inside"]
    fails_with(errno.ENOENT, surface.exchange, f"{top}/d", f"{top}/missing")
    fails_with(errno.EINVAL, surface.exchange, f"{top}/file", f"{top}/file/inside")


@needs(Feature.ERRORS)
def test_rmtree_errors(surface, top):
    surface.write_bytes(f"{top}/file", b"")
    fails_with(errno.ENOTDIR, surface.rmtree, f"{top}/file")
    fails_with(errno.ENOENT, surface.rmtree, f"{top}/missing")


OWNERS = ("ann", "bob", "cid")


@pytest.mark.parametrize("steps", [None, 60], ids=["one step", "part by part"])
@needs(Feature.USERS, Feature.CHMOD, Feature.CHOWN)
def test_a_tree_of_several_owners_goes_when_all_of_it_may(surface, top, steps, monkeypatch):
    """Below the bound of steps it is one command; above it the client takes parts."""
    if steps is not None:
        monkeypatch.setattr(limits, "SUBTREE_STEPS", steps)
    ann = surface.as_user("ann", ("ann",))
    tree = f"{top}/tree"
    surface.chmod(top, 0o777)
    surface.mkdir(tree)
    surface.chown(tree, "ann")
    for owner in OWNERS:
        for number in range(3):
            path = f"{tree}/{owner}-{number}"
            for below in (path, f"{path}/x", f"{path}/x/y"):
                surface.mkdir(below)
                surface.chown(below, owner)
                surface.chmod(below, 0o777)
            surface.write_bytes(f"{path}/x/y/file", b"content")
    refusing = f"{tree}/cid-2/x/y"
    surface.chmod(refusing, 0o755)
    denied(ann.rmtree, tree)
    assert surface.read_bytes(f"{refusing}/file") == b"content"
    surface.chmod(refusing, 0o777)
    ann.rmtree(tree)
    assert surface.listdir(top) == []
    denied(surface.stat, f"{top}/tree")


def denied(call, *arguments):
    with pytest.raises(OSError):
        call(*arguments)
