"""Settings as flags and as documentation, from the records of ``memfs.config``.

The text under a field is its documentation everywhere: in the source, in ``--help`` (the first
sentence), in ``docs/configuration.md`` and in the files of ``deploy/config``.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import textwrap
from collections.abc import Callable
from typing import Any

import click

from memfs.config import ClientConfig, GatewayConfig, NodeConfig, shown
from memfs.limits import MIB

Kind = type[NodeConfig] | type[ClientConfig] | type[GatewayConfig]

_MACHINE_DEFAULTS = {
    "name": "HOST-PORT",
    "socket_directory": "/run/memfs for root, else $XDG_RUNTIME_DIR/memfs or /tmp/memfs-UID",
    "memory": "half of what other nodes of this host leave",
    "data_directory": "under /var/lib/memfs for root, else ~/.local/state/memfs",
    "superuser": "the user of the process",
    "user": "the login name",
    "groups": "those of the process, of another user the groups of that account",
}


def descriptions(kind: Kind) -> dict[str, str]:
    """The text under each field by the field's name, on one line."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    texts: dict[str, str] = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            texts[field.target.id] = " ".join(str(text.value.value).split())
    return texts


def settings_options(kind: Kind) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """Add one option for each field but secrets, since every user of the machine can see flags.
    Values stay text: the configuration reports all mistakes at once.
    """

    def decorate(function: Callable[..., object]) -> Callable[..., object]:
        texts = descriptions(kind)
        for field in reversed(dataclasses.fields(kind)):
            if field.metadata["secret"]:
                continue
            flag = "--" + field.name.replace("_", "-")
            text = texts[field.name].replace("``", "").partition(". ")[0].rstrip(".") + "."
            extra: dict[str, Any] = {"metavar": "VALUE"}
            if field.type == "bool":
                flag, extra = f"{flag}/--no-{flag[2:]}", {"default": None}
            function = click.option(flag, field.name, help=text, **extra)(function)
        return function

    return decorate


def markdown(kind: Kind, table: str) -> str:
    """The section of ``docs/configuration.md`` on one table of the file."""
    lines = [f"## `[{table}]`", ""]
    texts, defaults = descriptions(kind), shown(kind())
    for field in dataclasses.fields(kind):
        default = _MACHINE_DEFAULTS.get(field.name) or _plain(defaults[field.name])
        lines += [
            f"### `{field.name}`",
            "",
            f"Default: {default} · `MEMFS_{table.upper()}_{field.name.upper()}`",
            "",
            texts[field.name].replace("``", "`"),
            "",
        ]
    return "\n".join(lines)


def _plain(value: object) -> str:
    if isinstance(value, list):
        value = ", ".join(value)
    return f"`{toml_value(value).strip(chr(34))}`" if value != "" else "none"


def annotated(kind: Kind, table: str) -> str:
    """A file with every setting of one table at its default, each under its description.

    A setting whose default depends on the machine is a comment.
    """
    lines = [
        f"# Every setting of [{table}] at its default, as `memfs config {table} --defaults` prints",
        "# it. What is not changed may be left out. It belongs into /etc/memfs/memfs.toml, beside",
        "# the other tables, or into a file that --config or MEMFS_CONFIG names.",
        "",
        f"[{table}]",
    ]
    texts = descriptions(kind)
    for field in dataclasses.fields(kind):
        text = texts[field.name].replace("``", "`")
        if field.name in _MACHINE_DEFAULTS:
            text += f" Default: {_MACHINE_DEFAULTS[field.name]}."
        comment = [f"# {line}" for line in textwrap.wrap(text, 94, break_on_hyphens=False)]
        if field.default is dataclasses.MISSING:
            setting = f"# {field.name} ="
        else:
            setting = f"{field.name} = {toml_value(field.default)}"
        lines += ["", *comment, setting]
    return "\n".join(lines) + "\n"


def toml_value(value: object) -> str:
    """A default as TOML, sizes and long times with their units."""
    if isinstance(value, tuple):
        value = [str(item) for item in value]
    elif isinstance(value, int) and value and value % MIB == 0:
        value = f"{value // MIB}MiB"
    elif isinstance(value, float) and value >= 3600 and value % 3600 == 0:
        value = f"{value / 3600:g}h"
    return json.dumps(value)  # of these types it writes what TOML does
