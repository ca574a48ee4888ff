"""The events that docs/operations.md explains are the ones that the code logs."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LEVELS = ("debug", "info", "warning", "error")


@functools.cache
def logged() -> list[tuple[str, str]]:
    return list(find_logged())


def find_logged() -> Iterator[tuple[str, str]]:
    """Level and a pattern of the message of every log call of the node."""
    rooms = (ROOT / "memfs" / "node", ROOT / "memfs" / "cli" / "serve")
    for path in (path for room in rooms for path in room.rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr in LEVELS
                and isinstance(call.func.value, ast.Name)
                and call.func.value.id == "log"
            ):
                texts = call.args[0]
                choices = [texts.body, texts.orelse] if isinstance(texts, ast.IfExp) else [texts]
                for text in choices:
                    yield call.func.attr, pattern(text)


def pattern(text: ast.expr) -> str:
    if isinstance(text, ast.Constant):
        return re.escape(str(text.value))
    if isinstance(text, ast.JoinedStr):
        return "".join(map(pattern, text.values))
    return ".*"


def documented() -> Iterator[tuple[str, str]]:
    """Event and level of every row, one each."""
    text = (ROOT / "docs" / "operations.md").read_text()
    table = text.partition("| event | level |")[2].partition("\n\n")[0]
    for row in table.splitlines()[2:]:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        events, levels = re.findall("`([^`]+)`", cells[0]), cells[1].split(", ")
        yield from zip(events, levels * (len(events) // len(levels)), strict=True)


@pytest.mark.parametrize(("event", "level"), list(documented()))
def test_an_event_of_the_document_is_logged(event: str, level: str) -> None:
    found = {each for each, text in logged() if re.match(f"{event}\\b", text.replace("\\", ""))}
    generated = {each for each, text in logged() if text != ".*" and re.fullmatch(text, event)}
    assert level in found | generated


def test_there_are_events() -> None:
    assert len(list(documented())) > 25
