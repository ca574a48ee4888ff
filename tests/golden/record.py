"""Record what the protocol says today: ``python -m tests.golden.record``.

Writes the golden file of every message that has none, and the tables of docs/protocol.md. A golden
file that exists is never overwritten: bytes that once went over the wire are a promise. To break
it on purpose, remove the file first, and say so in the change log.
"""

from __future__ import annotations

from pathlib import Path

from .samples import golden_texts
from .tables import DOCUMENT, render

FRAMES = Path(__file__).parent / "frames"


def main() -> None:
    """Write what is missing, and name it."""
    for name, text in golden_texts().items():
        path = FRAMES / name
        if not path.exists():
            path.write_text(text, encoding="utf-8")
            print(f"recorded {path.name}")
    document = DOCUMENT.read_text(encoding="utf-8")
    if render(document) != document:
        DOCUMENT.write_text(render(document), encoding="utf-8")
        print(f"rendered the tables of {DOCUMENT.name}")


if __name__ == "__main__":
    main()
