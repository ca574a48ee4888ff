"""The demo runs from start to end, with a small tree and a small large file."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo", DEMO)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "LARGE_BLOCKS", 20)
    monkeypatch.setattr(module, "standard_library", lambda: Path(json.__file__).parent)
    return module


def test_stores_reads_back_and_shows(demo: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    demo.main()
    shown, said = capfd.readouterr()
    assert said == "", "it stops in silence"
    assert "read /large back, the same hash" in shown
    assert "3 of 3 alive" in shown
    assert "Every file came back as it went in." in shown


def test_generated_content_is_the_same_every_time_and_never_repeats(demo: ModuleType) -> None:
    first = [bytes(block) for block in demo.generated()]
    assert first == [bytes(block) for block in demo.generated()]
    assert len(set(first)) == 20
