"""Symbolic and hard links."""

from __future__ import annotations

import errno

import pytest

from .surface import Feature, needs


@needs(Feature.SYMLINK)
def test_a_symlink_leads_to_its_target(surface, top):
    surface.mkdir(f"{top}/d")
    surface.write_bytes(f"{top}/d/file", b"content")
    surface.symlink(f"{top}/d/file", f"{top}/absolute")
    surface.symlink("d/file", f"{top}/relative")
    surface.symlink("../d/file", f"{top}/d/up")
    surface.symlink("d", f"{top}/directory")
    for path in ("absolute", "relative", "d/up", "directory/file"):
        assert surface.read_bytes(f"{top}/{path}") == b"content", path
    assert surface.readlink(f"{top}/relative") == "d/file"
    assert surface.stat(f"{top}/relative").kind == 0
    link = surface.lstat(f"{top}/relative")
    assert (link.kind, link.size) == (2, len("d/file"))
    assert surface.listdir(f"{top}/directory") == ["file", "up"]


@needs(Feature.SYMLINK)
def test_removing_a_symlink_keeps_its_target(surface, top):
    surface.write_bytes(f"{top}/file", b"content")
    surface.symlink("file", f"{top}/link")
    surface.remove(f"{top}/link")
    assert surface.read_bytes(f"{top}/file") == b"content"
    surface.mkdir(f"{top}/d")
    surface.write_bytes(f"{top}/d/kept", b"")
    surface.mkdir(f"{top}/tree")
    surface.symlink("../d", f"{top}/tree/link")
    surface.rmtree(f"{top}/tree")
    assert surface.listdir(f"{top}/d") == ["kept"]


@needs(Feature.SYMLINK, Feature.ERRORS)
def test_what_a_symlink_says_is_as_long_as_on_linux(surface, top):
    for length in (1, 600, 4095):
        surface.symlink("x" * length, f"{top}/{length}")
        assert surface.readlink(f"{top}/{length}") == "x" * length
    for text, number in (("x" * 4096, errno.ENAMETOOLONG), ("", errno.ENOENT)):
        with pytest.raises(OSError) as caught:
            surface.symlink(text, f"{top}/refused")
        assert caught.value.errno == number
    assert surface.listdir(top) == ["1", "4095", "600"]


@needs(Feature.SYMLINK, Feature.ERRORS)
def test_broken_and_circular_symlinks(surface, top):
    surface.symlink("nowhere", f"{top}/broken")
    assert not surface.exists(f"{top}/broken")
    with pytest.raises(FileNotFoundError):
        surface.read_bytes(f"{top}/broken")
    surface.symlink("b", f"{top}/a")
    surface.symlink("a", f"{top}/b")
    with pytest.raises(OSError) as caught:
        surface.stat(f"{top}/a")
    assert caught.value.errno == errno.ELOOP
    with pytest.raises(OSError) as caught:
        surface.readlink(top)
    assert caught.value.errno == errno.EINVAL


@needs(Feature.SYMLINK)
def test_writing_through_a_symlink(surface, top):
    surface.mkdir(f"{top}/d")
    texts = {
        "link": "target",
        "absolute": f"{top}/d/other",
        "d/up": "../third",
        "chain": f"{top}/d/next",
        "d/next": "../d/last",
    }
    for link, text in texts.items():
        surface.symlink(text, f"{top}/{link}")
    for link, target in {
        "link": "target",
        "absolute": "d/other",
        "d/up": "third",
        "chain": "d/last",
    }.items():
        surface.write_bytes(f"{top}/{link}", b"made through the link")
        assert surface.read_bytes(f"{top}/{target}") == b"made through the link"
        surface.write_bytes(f"{top}/{link}", b"again")
        assert surface.read_bytes(f"{top}/{target}") == b"again"
    assert {link: surface.readlink(f"{top}/{link}") for link in texts} == texts


@needs(Feature.SYMLINK)
def test_no_directory_is_made_through_a_symlink_that_leads_nowhere(surface, top):
    surface.symlink("nowhere", f"{top}/link")
    for path in (f"{top}/link", f"{top}/link/below"):
        with pytest.raises(OSError):
            surface.makedirs(path)
    assert surface.listdir(top) == ["link"]


@needs(Feature.SYMLINK)
def test_renaming_a_symlink_moves_the_link(surface, top):
    surface.write_bytes(f"{top}/file", b"content")
    surface.symlink("file", f"{top}/link")
    surface.rename(f"{top}/link", f"{top}/moved")
    assert surface.readlink(f"{top}/moved") == "file"
    assert surface.listdir(top) == ["file", "moved"]


@needs(Feature.LINK)
def test_two_names_are_one_file(surface, top):
    surface.write_bytes(f"{top}/a", b"content")
    surface.mkdir(f"{top}/d")
    surface.link(f"{top}/a", f"{top}/d/b")
    assert surface.stat(f"{top}/a").links == surface.stat(f"{top}/d/b").links == 2
    surface.remove(f"{top}/a")
    assert surface.read_bytes(f"{top}/d/b") == b"content"
    assert surface.stat(f"{top}/d/b").links == 1


@needs(Feature.LINK, Feature.APPEND, Feature.TRUNCATE)
def test_a_change_shows_under_both_names(surface, top):
    surface.write_bytes(f"{top}/a", b"content")
    surface.link(f"{top}/a", f"{top}/b")
    surface.append(f"{top}/a", b" more")
    assert surface.read_bytes(f"{top}/b") == b"content more"
    surface.truncate(f"{top}/b", 3)
    assert surface.read_bytes(f"{top}/a") == b"con"


@needs(Feature.LINK)
def test_rewriting_shows_under_both_names(surface, top):
    surface.write_bytes(f"{top}/a", b"first")
    surface.link(f"{top}/a", f"{top}/b")
    surface.write_bytes(f"{top}/a", b"second")
    assert surface.read_bytes(f"{top}/b") == b"second"


@needs(Feature.LINK, Feature.DU)
def test_du_counts_a_file_once(surface, top):
    surface.write_bytes(f"{top}/a", b"x" * 1000)
    surface.link(f"{top}/a", f"{top}/b")
    assert surface.du(top).length == 1000
    surface.remove(f"{top}/a")
    assert surface.du(top).length == 1000
    surface.remove(f"{top}/b")
    assert surface.du(top).length == 0


@needs(Feature.LINK, Feature.ERRORS)
def test_link_errors(surface, top):
    surface.write_bytes(f"{top}/a", b"")
    for source, target, number in (
        ("missing", "x", errno.ENOENT),
        ("a", "a", errno.EEXIST),
        ("a", "missing/x", errno.ENOENT),
        ("", "x", errno.EPERM),
    ):
        with pytest.raises(OSError) as caught:
            surface.link(f"{top}/{source}", f"{top}/{target}")
        assert caught.value.errno == number, (source, target)


@needs(Feature.LINK)
def test_renaming_one_name_onto_the_other_changes_nothing(surface, top):
    surface.write_bytes(f"{top}/a", b"content")
    surface.link(f"{top}/a", f"{top}/b")
    surface.rename(f"{top}/a", f"{top}/b")
    assert surface.listdir(top) == ["a", "b"]


@needs(Feature.LINK_OVER)
def test_a_link_takes_the_place_of_what_has_its_name(surface, top):
    surface.write_bytes(f"{top}/file", b"content")
    surface.write_bytes(f"{top}/a", b"old")
    surface.write_bytes(f"{top}/b", b"old")
    surface.symlink("file", f"{top}/a", replace=True)
    assert (surface.readlink(f"{top}/a"), surface.lstat(f"{top}/a").kind) == ("file", 2)
    surface.symlink("elsewhere", f"{top}/a", replace=True)
    assert surface.readlink(f"{top}/a") == "elsewhere"
    surface.link(f"{top}/file", f"{top}/b", replace=True)
    surface.link(f"{top}/file", f"{top}/a", replace=True)
    assert surface.read_bytes(f"{top}/a") == surface.read_bytes(f"{top}/b") == b"content"
    assert surface.stat(f"{top}/file").links == 3
    surface.symlink("file", f"{top}/new", replace=True)
    assert surface.listdir(top) == ["a", "b", "file", "new"]


@needs(Feature.LINK_OVER, Feature.ERRORS)
def test_a_link_takes_no_directory_s_place(surface, top):
    surface.write_bytes(f"{top}/file", b"content")
    surface.mkdir(f"{top}/d")
    for attempt in (
        lambda: surface.symlink("file", f"{top}/d", replace=True),
        lambda: surface.link(f"{top}/file", f"{top}/d", replace=True),
    ):
        with pytest.raises(OSError) as caught:
            attempt()
        assert caught.value.errno == errno.EISDIR
    assert surface.listdir(top) == ["d", "file"]


@needs(Feature.LINK_OVER, Feature.USERS, Feature.CHMOD, Feature.ERRORS)
def test_under_a_sticky_bit_links_replace_what_is_one_s_own(surface, top):
    ann = surface.as_user("ann", ("ann",))
    bob = surface.as_user("bob", ("bob",))
    surface.mkdir(f"{top}/shared")
    surface.chmod(f"{top}/shared", 0o1777)
    ann.write_bytes(f"{top}/shared/hers", b"ann's")
    bob.write_bytes(f"{top}/shared/his", b"bob's")
    for attempt in (
        lambda: bob.symlink("x", f"{top}/shared/hers", replace=True),
        lambda: bob.link(f"{top}/shared/his", f"{top}/shared/hers", replace=True),
    ):
        with pytest.raises(PermissionError) as caught:
            attempt()
        assert caught.value.errno == errno.EPERM
    assert ann.read_bytes(f"{top}/shared/hers") == b"ann's"
    bob.symlink("x", f"{top}/shared/his", replace=True)
    assert bob.readlink(f"{top}/shared/his") == "x"
    assert surface.listdir(f"{top}/shared") == ["hers", "his"]
