"""Writes the blocking API's delegations from the asynchronous API, whose methods they call.

``unasync.py`` writes them (``make blocking``), ``unasync.py --check`` says whether they are up to
date (``make lint``). Each public coroutine becomes a method of the same name, arguments and
docstring that waits on the background loop, and each asynchronous iterator one that steps it; what
is another thing when it blocks (opening a file, a lock, ``scandir``) is written by hand in
``memfs/client/blocking/filesystem.py``.
"""

from __future__ import annotations

import ast
import builtins
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TOP = Path(__file__).parents[1]
TARGET = TOP / "memfs" / "client" / "blocking" / "generated"
BY_HAND = frozenset({"close", "map", "open", "lock", "replacing", "scandir"})
"""Other things in the blocking API."""
INTERNAL = frozenset(
    {
        *("check_access", "first_holders", "list_page", "open_handle", "open_map", "copy_into"),
        *("remove_copied", "remove_unchanged", "open_draft", "reopen_handle", "set_times"),
        "summarise",
    }
)
"""For who builds upon the asynchronous API."""


class Layer(NamedTuple):
    """A class of the asynchronous API, and what becomes of it."""

    source: str
    cls: str
    module: str
    blocking: str


LAYERS = (
    Layer("access", "AccessOperations", "access", "BlockingAccess"),
    Layer("attributes", "AttributeOperations", "attributes", "BlockingAttributes"),
    Layer("mounts", "MountOperations", "mounts", "BlockingMounts"),
    Layer("namespace", "NamespaceOperations", "namespace", "BlockingNamespace"),
    Layer("contents", "ContentOperations", "contents", "BlockingContents"),
    Layer("signing", "SignatureOperations", "signatures", "BlockingSignatures"),
    Layer("filesystem", "AsyncFileSystem", "transfers", "BlockingTransfers"),
)
BASE = ("memfs.client.blocking.hand_over", "BlockingCalls")


def methods(cls: ast.ClassDef) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The public ones that have a blocking form."""
    for node in cls.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        iterator = "AsyncIterator" in ast.unparse(node.returns or ast.Constant(""))
        if (
            not node.name.startswith("_")
            and node.name not in BY_HAND | INTERNAL
            and (isinstance(node, ast.AsyncFunctionDef) or iterator)
        ):
            yield node


def arguments(given: ast.arguments) -> str:
    """How a method's own arguments are passed on."""
    passed = [each.arg for each in [*given.posonlyargs, *given.args] if each.arg != "self"]
    if given.vararg:
        passed.append(f"*{given.vararg.arg}")
    passed += [f"{each.arg}={each.arg}" for each in given.kwonlyargs]
    if given.kwarg:
        passed.append(f"**{given.kwarg.arg}")
    return ", ".join(passed)


def method(node: ast.FunctionDef | ast.AsyncFunctionDef, source: str) -> str:
    """The blocking form of a method."""
    assert node.returns is not None and isinstance(node.body[0], ast.Expr), node.name
    returned = ast.unparse(node.returns)
    passed = arguments(node.args)
    if "AsyncIterator" in returned:
        call = f"return self._iterate(self._core.{node.name}({passed}))"
        returned = returned.replace("AsyncIterator", "Iterator")
    else:
        call = f"self._run(self._core.{node.name}{passed and ', '}{passed})"
        call = call if returned == "None" else f"return {call}"
    said = ast.get_source_segment(source, node.body[0])
    head = f"    def {node.name}({ast.unparse(node.args)}) -> {returned}:"
    return f"{head}\n        {said}\n        {call}\n"


def names(node: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """What a method's signature refers to."""
    assert node.returns is not None
    every = [*ast.walk(node.args), *ast.walk(node.returns)]
    return {each.id for each in every if isinstance(each, ast.Name)} - set(dir(builtins))


def imports(tree: ast.Module, layer: Layer, wanted: set[str]) -> Iterator[str]:
    """Where the names come from: as the source imports them, or from the source itself."""
    if "AsyncIterator" in wanted:
        wanted = wanted - {"AsyncIterator"}
        yield "from collections.abc import Iterator"
    for node in tree.body:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        for each in node.names:
            if (each.asname or each.name) in wanted:
                wanted = wanted - {each.asname or each.name}
                alias = f" as {each.asname}" if each.asname else ""
                start = f"from {node.module} " if isinstance(node, ast.ImportFrom) else ""
                yield f"{start}import {each.name}{alias}"
    for name in sorted(wanted):
        yield f"from memfs.client.{layer.source} import {name}"


def generated(layer: Layer, base: tuple[str, str]) -> str:
    """The module of one layer, formatted."""
    source = (TOP / "memfs" / "client" / f"{layer.source}.py").read_text()
    tree = ast.parse(source)
    (cls,) = (n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == layer.cls)
    found = list(methods(cls))
    needed = sorted({*imports(tree, layer, set().union(*map(names, found)))})
    lines = [
        f'"""The blocking form of :class:`memfs.client.{layer.source}.{layer.cls}`.\n\n'
        'Made from it by `make blocking`: not to be edited.\n"""\n',
        "from __future__ import annotations\n",
        *needed,
        f"from {base[0]} import {base[1]}\n\n",
        f"class {layer.blocking}({base[1]}):",
        f'    """As :class:`memfs.client.{layer.source}.{layer.cls}`; each call waits."""\n',
        *(method(each, source) for each in found),
    ]
    return formatted("\n".join(lines), TARGET / f"{layer.module}.py")


def formatted(text: str, path: Path) -> str:
    """As the project's linter wants it."""
    ruff = [str(Path(sys.executable).with_name("ruff"))]
    name = ["--stdin-filename", str(path), "-"]
    for command in (["check", "--quiet", "--select=I", "--fix"], ["format", "--quiet"]):
        done = subprocess.run(
            ruff + command + name, input=text, capture_output=True, text=True, check=True, cwd=TOP
        )
        text = done.stdout
    return text


def main() -> int:
    """Write the modules, or compare them; how many are behind."""
    check, behind, base = "--check" in sys.argv[1:], 0, BASE
    for layer in LAYERS:
        path = TARGET / f"{layer.module}.py"
        text = generated(layer, base)
        base = (f"memfs.client.blocking.generated.{layer.module}", layer.blocking)
        if not check:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            behind += 1
            where = path.relative_to(TOP)
            print(f"{where} is behind memfs/client/{layer.source}.py: make blocking")
    return behind


if __name__ == "__main__":
    sys.exit(main())
