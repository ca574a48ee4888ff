"""Runs the Python of documents and whole programs, one after the other: libraries start once."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path


def main(paths: list[str]) -> None:
    for path in map(Path, paths):
        if path.suffix == ".py":
            sys.argv = [str(path)]
            runpy.run_path(str(path), run_name="__main__")
            continue
        for block in re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL):
            exec(compile(block, str(path), "exec"), {"__name__": "__main__"})
    print("all ran")


if __name__ == "__main__":
    main(sys.argv[1:])
