"""``memfs config``: the settings in effect, and where each comes from."""

from __future__ import annotations

from typing import Any

import click

from memfs.cli.options import cluster_options, json_option, remember
from memfs.cli.shell import example_text, write_json
from memfs.config import ClientConfig, GatewayConfig, NodeConfig, resolve, shown


@click.command(
    "config", epilog=example_text("memfs config client", "memfs config --json | jq .node")
)
@click.argument("table", type=click.Choice(["node", "client", "gateway"]), required=False)
@json_option
@cluster_options
@click.pass_context
def config(ctx: click.Context, /, table: str | None, as_json: bool, **given: Any) -> None:
    """Show the settings in effect, as a file that memfs would read.

    Every line that is not a default ends with its origin. Secrets are hidden.
    """
    remember(ctx, given)
    path = ctx.obj.get("config")
    flags = {"endpoints": ctx.obj.get("url"), "user": ctx.obj.get("user")}
    tables: dict[str, tuple[dict[str, Any], dict[str, str]]] = {}
    if table in (None, "node"):
        node, origins = resolve(NodeConfig, path=path)
        tables["node"] = shown(node), origins
    if table in (None, "client"):
        client, origins = resolve(ClientConfig, path=path, flags=flags)
        tables["client"] = shown(client), origins
    if table in (None, "gateway"):
        gateway, origins = resolve(GatewayConfig, path=path)
        tables["gateway"] = shown(gateway), origins
    if as_json:
        write_json({name: values for name, (values, _) in tables.items()})
        return
    click.echo("\n\n".join(_toml(name, *content) for name, content in tables.items()))


def _toml(table: str, values: dict[str, Any], origins: dict[str, str]) -> str:
    lines = [f"[{table}]"]
    for name, value in values.items():
        origin = f"  # {origins[name]}" if name in origins else ""
        lines.append(f"{name} = {_value(value)}{origin}")
    return "\n".join(lines)


def _value(value: Any) -> str:
    """A TOML value: for these types JSON writes the same."""
    import json

    return json.dumps(value)
