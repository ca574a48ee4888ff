"""Hooks of the site (``mkdocs.yml``): pages and files from beside ``docs/``, and the decisions.

The documents are written to be read in the repository, where links lead out of ``docs/``. What they
lead to becomes part of the site: a document a page, any other file a copy of itself, a folder a
list of its files. Links are rewritten accordingly, and MkDocs then checks them all.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

TOP = Path(__file__).parents[1]
DOCS = "docs"
FILES = "files"
"""Where the site keeps what is no document."""
PAGES = {
    "README.md": "tour.md",
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changes.md",
    "SECURITY.md": "reporting.md",
}
LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#])")
DECISIONS = "Decisions"


def on_config(config: Any) -> Any:
    """Put every decision into the navigation."""
    for entry in config.nav:
        if DECISIONS in entry:
            pages = sorted((TOP / DOCS / "decisions").glob("*.md"))
            entry[DECISIONS] = [f"decisions/{page.name}" for page in reversed(pages)]
            entry[DECISIONS].sort(key=lambda name: "README" not in name)
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add what the documents link to."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(TOP / source).read_text()))
    sources = [*PAGES, *(f"{DOCS}/{each.src_uri}" for each in files.documentation_pages())]
    for source in sources:
        if (TOP / source).is_file():
            for found in LINK.findall((TOP / source).read_text()):
                _add(files, config, _resolved(source, found))
    return files


def on_page_markdown(markdown: str, page: Page, **_given: Any) -> str:
    """Let links lead to where the site has it."""
    here = page.file.src_uri
    source = next((each for each, name in PAGES.items() if name == here), f"{DOCS}/{here}")

    def rewritten(found: re.Match[str]) -> str:
        target = _resolved(source, found[0])
        if not (TOP / target).exists():
            return found[0]  # made by this module, or broken: MkDocs will say so
        return posixpath.relpath(_place(target), posixpath.dirname(here) or ".")

    return LINK.sub(rewritten, markdown)


def _resolved(source: str, link: str) -> str:
    """What a link means, from the top of the project."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), link))


def _place(target: str) -> str:
    """Where the site has a file or a folder of the project."""
    if target in PAGES:
        return PAGES[target]
    path = target.removeprefix(f"{DOCS}/")
    if (TOP / target).is_dir():
        return f"{path}/README.md" if path != target else f"{FILES}/{target}/index.md"
    return path if path != target else f"{FILES}/{target}"


def _add(files: Files, config: Any, target: str) -> None:
    """Copy a file or a folder from beside the documents into the site."""
    place, origin = _place(target), TOP / target
    if not place.startswith(f"{FILES}/") or files.get_file_from_path(place) or not origin.exists():
        return
    if origin.is_file():
        files.append(File.generated(config, place, abs_src_path=str(origin)))
        return
    inside = sorted(each.name for each in origin.iterdir() if each.is_file())
    for name in inside:
        _add(files, config, f"{target}/{name}")
    listed = "\n".join(f"- [`{name}`]({name})" for name in inside)
    page = File.generated(config, place, content=f"# `{target}`\n\n{listed}\n")
    page.inclusion = InclusionLevel.NOT_IN_NAV
    files.append(page)
