"""The reference pages say what the docstrings say."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "build_reference.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_reference", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGES = ("reference/errors.md", "reference/python.md", "decisions/README.md")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_up_to_date(page: str, script: ModuleType) -> None:
    assert set(script.PAGES) == set(PAGES)
    kept = (script.DOCS / page).read_text()
    assert kept == script.PAGES[page](), "behind the code: make reference"
