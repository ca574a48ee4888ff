"""The blocking API is the asynchronous one: same names, same parameters, same defaults."""

from __future__ import annotations

import inspect

import memfs
from memfs import aio
from memfs.client.blocking.filesystem import FileSystem
from memfs.client.blocking.path import MemfsPath

PRIVATE_TO_ASYNC = {
    *("check_access", "first_holders", "list_page", "open_handle", "open_map", "copy_into"),
    *("remove_copied", "remove_unchanged", "open_draft", "reopen_handle", "set_times", "summarise"),
}


def public(cls: type) -> dict[str, inspect.Signature]:
    return {
        name: inspect.signature(member)
        for name, member in inspect.getmembers(cls, inspect.isfunction)
        if not name.startswith("_")
    }


def test_every_operation_exists_in_both():
    blocking, asynchronous = public(FileSystem), public(aio.AsyncFileSystem)
    assert set(asynchronous) - set(blocking) == PRIVATE_TO_ASYNC
    assert set(blocking) - set(asynchronous) == {"path"}
    for name, signature in asynchronous.items():
        if name not in PRIVATE_TO_ASYNC:
            assert signature.parameters == blocking[name].parameters, name


def test_every_operation_is_described():
    for cls in (FileSystem, aio.AsyncFileSystem, aio.AsyncFile, aio.AsyncTextFile, MemfsPath):
        for name, member in inspect.getmembers(cls):
            if not name.startswith("_") and (callable(member) or isinstance(member, property)):
                assert inspect.getdoc(member), f"{cls.__name__}.{name}"


def test_the_package_offers_its_entry_points():
    assert set(memfs.__all__) <= set(dir(memfs))
    for name in memfs.__all__:
        assert getattr(memfs, name) is not None
    assert memfs.open.__module__ == "memfs.client.blocking.entry"
