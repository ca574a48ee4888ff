"""Names: whatever UTF-8 allows comes back as it was given; what POSIX refuses is refused."""

from __future__ import annotations

import errno

import pytest

from .surface import Feature, needs

NAMES = [
    "plain",
    "with space",
    " leading",
    "trailing ",
    "two  spaces",
    "a+b",
    "100%",
    "%2F%41",
    "hash#mark",
    "question?mark",
    "amp&er=sand",
    "quote'single",
    'quote"double',
    "back\\slash",
    "new\nline",
    "tab\t",
    "star*[x]{y}",
    "~home",
    "-dash",
    "--help",
    ".hidden",
    "...",
    "semi;colon,comma",
    "@at$dollar`back",
    "grüße",
    "gru\u0308ße",  # the same to the eye, other bytes
    "世界",
    "emoji 🦀🎉",
    "rtl العربية",
    "x" * 255,
    "ä" * 127,
    "🦀" * 63,
]
WITH_COLONS = ["colon:port:1", "memfs:", ":first"]


@needs(Feature.BINARY_NAMES)
@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_name_survives(surface, top, name):
    check_survival(surface, top, name)


@needs(Feature.COLONS)
@pytest.mark.parametrize("name", WITH_COLONS, ids=range(len(WITH_COLONS)))
def test_a_name_with_a_colon_survives(surface, top, name):
    check_survival(surface, top, name)


def check_survival(surface, top, name):
    surface.write_bytes(f"{top}/{name}", name.encode())
    assert surface.listdir(top) == [name]
    assert surface.read_bytes(f"{top}/{name}") == name.encode()
    assert surface.stat(f"{top}/{name}").size == len(name.encode())
    surface.mkdir(f"{top}/d")
    surface.rename(f"{top}/{name}", f"{top}/d/{name}")
    assert surface.listdir(f"{top}/d") == [name]
    surface.remove(f"{top}/d/{name}")
    surface.mkdir(f"{top}/{name}")
    surface.write_bytes(f"{top}/{name}/{name}", b"deep")
    assert surface.listdir(f"{top}/{name}") == [name]
    surface.rmtree(f"{top}/{name}")
    assert surface.listdir(top) == ["d"]


@needs(Feature.BINARY_NAMES)
def test_all_of_them_together_in_order(surface, top):
    for name in NAMES:
        surface.write_bytes(f"{top}/{name}", b"")
    assert surface.listdir(top) == sorted(NAMES, key=str.encode)


def test_case_counts(surface, top):
    surface.write_bytes(f"{top}/Name", b"upper")
    surface.write_bytes(f"{top}/name", b"lower")
    assert surface.read_bytes(f"{top}/Name") == b"upper"
    assert surface.listdir(top) == ["Name", "name"]


@needs(Feature.ERRORS)
@pytest.mark.parametrize("name", ["x" * 256, "ä" * 128, "🦀" * 64])
def test_a_name_of_more_than_255_bytes(surface, top, name):
    for make in (surface.mkdir, lambda path: surface.write_bytes(path, b"")):
        with pytest.raises(OSError) as caught:
            make(f"{top}/{name}")
        assert caught.value.errno == errno.ENAMETOOLONG


@needs(Feature.ERRORS)
def test_a_path_of_more_than_4096_bytes(surface, top):
    path = top + ("/" + "y" * 200) * 21
    with pytest.raises(OSError) as caught:
        surface.read_bytes(path)
    assert caught.value.errno == errno.ENAMETOOLONG


@needs(Feature.ERRORS)
@pytest.mark.parametrize("name", ["nul\0byte", "\ud800"])
def test_what_is_no_name(surface, top, name):
    if surface.name == "posix" and "\0" not in name:
        name = "\0"
    with pytest.raises((OSError, ValueError)):
        surface.write_bytes(f"{top}/{name}", b"")
    assert surface.listdir(top) == []


def test_slashes_and_dots(surface, top):
    surface.makedirs(f"{top}/a/b")
    surface.write_bytes(f"{top}/a/b/file", b"here")
    dots = ("/./a/./b/file", "/a/b/../b/file") if Feature.DOTS in surface.features else ()
    for path in ("//a/b/file", "/a//b///file", *dots):
        assert surface.read_bytes(top + path) == b"here", path
    assert surface.listdir(f"{top}/a/") == ["b"]


def test_deep_trees(surface, top):
    path = top + "/d" * 40
    surface.makedirs(path)
    surface.write_bytes(f"{path}/file", b"deep")
    assert surface.read_bytes(f"{path}/file") == b"deep"
    surface.rmtree(f"{top}/d")
    assert surface.listdir(top) == []
