"""docs/mount.md names the options as they are."""

from pathlib import Path

from memfs.fuse.options import markdown

DOCUMENT = Path(__file__).parents[3] / "docs" / "mount.md"


def test_the_table_of_options_is_up_to_date() -> None:
    begin, end = "<!-- options: begin -->\n", "<!-- options: end -->"
    text = DOCUMENT.read_text()
    assert text[text.index(begin) + len(begin) : text.index(end)] == markdown()
