"""FIFOs and sockets: names with attributes, which listings and renames know what to do with."""

from __future__ import annotations

import stat

import pytest

from memfs.types import FileKind

from .surface import Feature, needs


@needs(Feature.SPECIAL)
@pytest.mark.parametrize("kind", [FileKind.FIFO, FileKind.SOCKET])
def test_a_special_file_is_a_name(surface, top, kind):
    surface.mknod(f"{top}/n", kind.type_bits | 0o640)
    found = surface.stat(f"{top}/n")
    assert (found.kind, found.mode, found.size, found.links) == (kind, 0o640, 0, 1)
    assert surface.listdir(top) == ["n"]
    with pytest.raises(FileExistsError):
        surface.mknod(f"{top}/n", kind.type_bits | 0o640)


@needs(Feature.SPECIAL, Feature.LINK)
def test_it_is_linked_renamed_and_removed(surface, top):
    surface.mknod(f"{top}/n", stat.S_IFIFO | 0o600)
    surface.link(f"{top}/n", f"{top}/m")
    assert surface.stat(f"{top}/m").links == 2
    surface.write_bytes(f"{top}/f", b"content")
    surface.rename(f"{top}/n", f"{top}/f")
    assert surface.stat(f"{top}/f").kind == FileKind.FIFO
    surface.write_bytes(f"{top}/g", b"content")
    surface.rename(f"{top}/g", f"{top}/m")
    assert surface.read_bytes(f"{top}/m") == b"content"
    surface.remove(f"{top}/f")
    assert surface.listdir(top) == ["m"]
    surface.makedirs(f"{top}/d")
    surface.mknod(f"{top}/d/n", stat.S_IFSOCK | 0o600)
    surface.rmtree(f"{top}/d")
    assert surface.listdir(top) == ["m"]


@needs(Feature.SPECIAL, Feature.CHMOD)
def test_its_mode_can_be_changed(surface, top):
    surface.mknod(f"{top}/n", stat.S_IFIFO | 0o600)
    surface.chmod(f"{top}/n", 0o622)
    assert surface.stat(f"{top}/n").mode == 0o622


@needs(Feature.SPECIAL)
def test_it_stands_in_nobodys_way(surface, top):
    surface.mknod(f"{top}/n", stat.S_IFIFO | 0o600)
    with pytest.raises(NotADirectoryError):
        surface.listdir(f"{top}/n")
    with pytest.raises(NotADirectoryError):
        surface.stat(f"{top}/n/below")
    with pytest.raises(FileExistsError):
        surface.mkdir(f"{top}/n")
