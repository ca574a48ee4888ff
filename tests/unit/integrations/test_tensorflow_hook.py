"""The hook that runs when tensorflow is imported, with a tensorflow that does nothing."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from memfs.integrations.tensorflow import hook, import_hook


@pytest.fixture
def watching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for a module ``tensorflow``, which is not imported yet."""
    (tmp_path / "tensorflow.py").write_text("loaded = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    names = ("tensorflow", import_hook.PLUGIN)
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    import_hook.watch()
    yield tmp_path
    for name in names:
        sys.modules.pop(name, None)


def test_the_file_system_is_registered_after_the_import(
    watching: Path,
) -> None:
    seen = []

    class Finder:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> None:
            if name == import_hook.PLUGIN:
                seen.append(sys.modules["tensorflow"].loaded)

    sys.meta_path.insert(0, Finder)  # type: ignore[arg-type]
    assert importlib.import_module("tensorflow").loaded
    assert seen == [True]


def test_what_fails_leaves_tensorflow_alone(
    watching: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is none of which anything could be registered with."""
    assert importlib.import_module("tensorflow").loaded
    said = capsys.readouterr().err
    assert said.startswith("memfs: TensorFlow does not know memfs://") and said.count("\n") == 1


def test_memfs_itself_is_importing(
    watching: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, import_hook.PLUGIN, types.ModuleType("half"))
    assert importlib.import_module("tensorflow").loaded
    assert not capsys.readouterr().err


def test_files(tmp_path: Path) -> None:
    assert not hook.installed(tmp_path)
    for _ in range(2):
        hook.install(tmp_path)
        assert hook.installed(tmp_path)
    assert {each.suffix for each in tmp_path.iterdir()} == {".py", ".pth"}
    for _ in range(2):
        hook.remove(tmp_path)
        assert not hook.installed(tmp_path) and not list(tmp_path.iterdir())
