"""What the commands say: a number beside a noun is made by one function, which knows of one."""

from __future__ import annotations

import ast
import re
from itertools import pairwise
from pathlib import Path

import memfs.cli

NOUNS = re.compile(
    r" (blocks|bytes|changes|copies|directories|entries|files|inodes|lines|nodes|orphans"
    r"|readers|sessions|workers)\b"
)


def test_one_of_something_is_no_plural() -> None:
    wrong = []
    for source in Path(memfs.cli.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            if not isinstance(node, ast.JoinedStr):
                continue
            for value, text in pairwise(node.values):
                counts = isinstance(value, ast.FormattedValue) and not _is_size(value.value)
                if counts and isinstance(text, ast.Constant) and NOUNS.match(str(text.value)):
                    wrong.append(f"{source.name}:{node.lineno}: {ast.unparse(node)}")
    assert not wrong, "say it with memfs.quantities.counted:\n" + "\n".join(wrong)


def _is_size(value: ast.expr) -> bool:
    """Whether it says how large the things are, not how many."""
    return isinstance(value, ast.Call) and ast.unparse(value.func) == "show_size"
