"""universal_pathlib's own suite for its implementations, run from the top of its sources.

What the suite takes from its ``conftest.py``, which imports libraries of other file systems, is
here again: a local directory to compare with, and fsspec's file system in memory.
"""

from __future__ import annotations

import os
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from upath import UPath
from upath.tests.cases import BaseTests

from memfs.integrations.fsspec.upath import MemfsUPath


@pytest.fixture
def local_testdir(tmp_path: Path) -> str:
    """The tree that ``prepare_file_system`` makes."""
    (tmp_path / "folder1").mkdir()
    for name in ("file1.txt", "file2.txt"):
        (tmp_path / "folder1" / name).write_text(name)
        (tmp_path / name).write_text("hello world")
    return str(tmp_path)


@pytest.fixture
def pathlib_base(local_testdir: str) -> Path:
    return Path(local_testdir)


@pytest.fixture
def clear_fsspec_memory_cache() -> Iterator[None]:
    yield
    memory = fsspec.get_filesystem_class("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


class Common(BaseTests, ABC):
    __test__ = False

    def test_is_correct_class(self) -> None:
        assert isinstance(self.path, MemfsUPath)

    @abstractmethod
    def url(self, path: str) -> UPath:
        """Where a directory of the test's own is."""

    @pytest.fixture(autouse=True)
    def path(self, local_testdir: str) -> None:
        self.path = self.url(f"{local_testdir}/{uuid.uuid4().hex}")
        self.prepare_file_system()


class TestOfTheDefaultCluster(Common):
    __test__ = True

    def url(self, path: str) -> UPath:
        return UPath(f"memfs://{path}")


class TestOfANamedCluster(Common):
    __test__ = True

    def url(self, path: str) -> UPath:
        return UPath(f"{os.environ['MEMFS_URL']}{path}")


@pytest.mark.parametrize(
    ("url", "text", "parts", "path"),
    [
        ("memfs:///", "memfs:///", ("/",), "/"),
        ("memfs://", "memfs:///", ("/",), "/"),
        ("memfs:/a", "memfs:///a", ("/", "a"), "/a"),
        ("memfs://a/b/", "memfs:///a/b", ("/", "a", "b"), "/a/b"),
        ("memfs:///a//b", "memfs:///a/b", ("/", "a", "b"), "/a/b"),
        ("memfs://host:10500", "memfs:///", ("/",), "/"),
        ("memfs://host:10500/a", "memfs:///a", ("/", "a"), "/a"),
    ],
)
def test_what_urls_mean(url: str, text: str, parts: tuple[str, ...], path: str) -> None:
    found = UPath(url)
    assert (str(found), found.parts, found.path, found.anchor) == (text, parts, path, "/")
    named = {"url": "memfs://host:10500"} if "10500" in url else {}
    assert found.storage_options == named
