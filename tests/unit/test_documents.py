"""What the documents point to exists: links, headings, files, modules and names of the code."""

from __future__ import annotations

import ast
import builtins
import functools
import importlib
import itertools
import re
import shlex
import string
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import memfs as memfs_package
from memfs.cli.main import memfs

TOP = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [*TOP.glob("*.md"), *(TOP / "docs").rglob("*.md"), *(TOP / "deploy").rglob("*.md")]
)
EACH = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(TOP)))
FOLDERS = ("benchmarks", "deploy", "docs", "examples", "memfs", "tests")
PROGRAMS = ("memfs", "/opt/memfs/bin/memfs")
BEFORE = ("--", "$host", "-0")
"""What may stand before a program: the beginning of a command, another host, ``xargs -0``."""
OPERATORS = ("|", "||", "&", "&&", ";", "<", ">")
PACKAGES = ("memfs", "memfs.node")
ROOMY = ("cli", "client", "gateway", "node", "namespace")
"""Packages whose rooms the map names one by one."""
"""What the names in the text may leave out."""
DOTTED = re.compile(r"(?:``|:\w+:`~?)(memfs(?:\.\w+)+)(?:\(\))?`")
ERROR = re.compile(r"(?<![\w.])[A-Z]\w+Error\b")
OTHERS_ERRORS = {"CancelledError", "ClientError"}
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
ELSEWHERE = {"bulk", "control", "command", "peer", "memfs", "get", "cp"}
"""Words of messages' declarations, and commands."""


def prose(document: Path) -> str:
    """The text without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)


def quoted(text: str) -> Iterator[str]:
    """What stands between backticks."""
    yield from re.findall(r"`([^`\n]+)`", text)


def anchors(document: Path) -> set[str]:
    """The headings of a document, as links name them."""
    kept = string.ascii_lowercase + string.digits + " -_"
    return {
        "".join(letter for letter in heading.lower() if letter in kept).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    }


@EACH
def test_links_lead_somewhere(document: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (document.parent / name).resolve() if name else document
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert not broken


@EACH
def test_files_that_are_named_exist(document: Path) -> None:
    """Paths from the top of the project, with or without ``*``."""
    named = {
        name
        for name in quoted(prose(document))
        if re.fullmatch(r"[\w.*/-]+", name) and name.split("/")[0] in FOLDERS and "/" in name
    }
    assert {name for name in named if not list(TOP.glob(name.rstrip("/")))} == set()


def resolves(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    for package in PACKAGES:
        parts = name.removeprefix("memfs.").split(".")
        for count in range(len(parts), -1, -1):
            try:
                found = importlib.import_module(".".join([package, *parts[:count]]))
            except ModuleNotFoundError:
                continue
            if count and all(
                (found := getattr(found, part, None)) is not None for part in parts[count:]
            ):
                return True
            break
    return False


@EACH
def test_names_of_the_code_exist(document: Path) -> None:
    """``client.writing.writer.FileWriter``: dotted names that begin with a package of ``memfs``."""
    packages = {
        path.name
        for package in PACKAGES
        for path in TOP.joinpath(*package.split(".")).iterdir()
        if (path / "__init__.py").exists()
    }
    named = {
        name
        for name in quoted(prose(document))
        if re.fullmatch(r"[a-z]\w*(\.\w+)+", name)
        and name.removeprefix("memfs.").split(".")[0] in packages
        and not name.endswith((".py", ".md", ".crt", ".key"))
    }
    assert {name for name in named if not resolves(name)} == set()


def commands(document: Path) -> Iterator[list[str]]:
    """What ``memfs`` is told in a document's blocks of shell, word by word, without a ``...``."""
    for block in re.findall(r"```sh\n(.*?)```", document.read_text(), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            for operator, group in itertools.groupby(lexer, lambda word: word in OPERATORS):
                words = [word for word in group if word != "..."]
                starts = [
                    number + 1
                    for number, (before, word) in enumerate(itertools.pairwise(["--", *words]))
                    if (word in PROGRAMS and before in BEFORE) or word == "cli"
                ]
                if not operator and starts:
                    yield words[starts[0] :]


@EACH
def test_commands_are_those_of_memfs(document: Path) -> None:
    for words in commands(document):
        parse(words)


def test_commands_are_found() -> None:
    found = list(commands(TOP / "README.md")) + list(commands(TOP / "docs" / "deployment.md"))
    assert ["dev", "--nodes", "3"] in found
    assert ["put", "-", "/data/backup.tar"] in found
    assert found.count(["cluster", "wait", "--nodes", "3", "--no-moves"]) == 2
    with pytest.raises(click.UsageError):
        parse(["cluster", "wait", "--node", "3"])


def parse(words: list[str]) -> None:
    """Raises a usage error for what ``memfs`` would refuse before it does anything."""
    command: click.Command = memfs
    context = click.Context(memfs, info_name="memfs")
    while isinstance(command, click.Group):
        context = command.make_context(context.info_name, list(words), parent=context.parent)
        rest = [*context._protected_args, *context.args]
        name, found, words = command.resolve_command(context, rest)
        assert found is not None, name
        command = found
    command.make_context(command.name, list(words), parent=context)


def test_the_map_names_every_package_and_its_modules() -> None:
    rows = re.findall(
        r"^\| `(memfs[\w.]*)` \| (.+) \|$", (TOP / "ARCHITECTURE.md").read_text(), re.M
    )
    wrong = {
        f"{package}: {name}"
        for package, text in rows
        for name in quoted(text)
        if re.fullmatch(r"[a-z_]+", name) and not resolves(f"{package}.{name}")
    }
    assert wrong <= {"memfs.cli: memfs"}
    packages = {
        ".".join(each.parent.relative_to(TOP).parts)
        for pattern in ("*", "*/*", "node/namespace/*")
        for each in (TOP / "memfs").glob(f"{pattern}/__init__.py")
        if pattern == "*" or each.parents[1].name in ROOMY
    }
    text = (TOP / "ARCHITECTURE.md").read_text()
    assert {name for name in packages if f"`{name}`" not in text} == set()


@functools.cache
def definitions() -> list[tuple[Path, Documented]]:
    """Every module, class and function of the product."""
    return [
        (path.relative_to(TOP), node)
        for path in sorted((TOP / "memfs").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, Documented)
    ]


def docstrings() -> Iterator[tuple[Path, str]]:
    """Those of packages included."""
    for path, node in definitions():
        yield path, ast.get_docstring(node) or ""


def test_docstrings_name_modules_and_errors_that_exist() -> None:
    """``memfs.node.blocks``, ``NoSpaceError``: stale names lead a reader nowhere."""
    named = [(path, name) for path, text in docstrings() for name in re.findall(DOTTED, text)]
    errors = [(path, name) for path, text in docstrings() for name in re.findall(ERROR, text)]
    assert len(named) > 50 and len(errors) > 500
    known = {node.name for _, node in definitions() if isinstance(node, ast.ClassDef)}
    known |= {*dir(builtins), *OTHERS_ERRORS, *dir(memfs_package)}
    wrong = {(path, name) for path, name in errors if name not in known}
    wrong |= {
        (path, name)
        for path, name in named
        if not resolves(name) and name.split(".")[1] not in known
    }
    assert wrong == set()


def test_docstrings_of_packages_name_their_modules() -> None:
    """What such a docstring has between double backticks is there, or is one of ``ELSEWHERE``."""
    wrong = {
        f"{path.parent}: {name}"
        for path, text in docstrings()
        if path.name == "__init__.py"
        for name in re.findall(r"``([a-z_]+)``", text)
        if not resolves(".".join([*path.parent.parts, name])) and name not in ELSEWHERE
    }
    assert wrong == set()


def test_every_document_is_linked_from_the_first_one() -> None:
    """A reader who begins with the README finds them all."""
    found, new = set(), [TOP / "README.md"]
    while new:
        document = new.pop()
        if document in found or document.suffix != ".md":
            continue
        found.add(document)
        for target in re.findall(r"\]\(([^)#\s]+)", prose(document)):
            file = (document.parent / target).resolve()
            new += sorted(file.glob("*.md")) if file.is_dir() else [file] * file.exists()
    assert set(DOCUMENTS) - found <= {TOP / "CHANGELOG.md"}


def test_what_only_the_night_runs_is_listed() -> None:
    text = (TOP / "docs" / "testing.md").read_text()
    marked = {
        str(file.relative_to(TOP))
        for file in (TOP / "tests").rglob("test_*.py")
        if re.search(r"^(@| *|pytestmark = .*)pytest\.mark\.nightly\b", file.read_text(), re.M)
    }
    assert marked
    assert {name for name in marked if f"`{name}`" not in text} == set()


def test_the_levels_of_the_tests_are_listed() -> None:
    found = re.search(r"^LEVELS := (.+)$", (TOP / "Makefile").read_text(), re.M)
    assert found is not None
    text = (TOP / "docs" / "testing.md").read_text()
    assert [
        level for level in found[1].split() if f"| {level} | `tests/{level}` |" not in text
    ] == []


def test_the_site_has_every_document() -> None:
    """The decisions are put into its navigation by themselves."""
    listed = set(re.findall(r"^ +- ([\w/-]+\.md)$", (TOP / "mkdocs.yml").read_text(), re.M))
    pages = {str(page.relative_to(TOP / "docs")) for page in (TOP / "docs").rglob("*.md")}
    assert {page for page in pages if not page.startswith("decisions/")} <= listed
