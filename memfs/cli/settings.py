"""``memfs config``: the settings in effect, and where each comes from."""

from __future__ import annotations

import click

from memfs.cli.command import example_text
from memfs.cli.fields import Kind, annotated, toml_value
from memfs.cli.options import client_flags, cluster_options, json_option, options_of, remember
from memfs.cli.shell import write_json
from memfs.config import ClientConfig, GatewayConfig, NodeConfig, resolve, shown

KINDS: dict[str, Kind] = {"node": NodeConfig, "client": ClientConfig, "gateway": GatewayConfig}


@click.command(
    "config",
    epilog=example_text(
        "memfs config client",
        "memfs config --json | jq .node",
        "memfs config node --defaults > node.toml",
    ),
)
@click.argument("table", type=click.Choice(list(KINDS)), required=False)
@click.option("--defaults", is_flag=True, help="Every setting at its default, with what it means.")
@json_option
@cluster_options
@click.pass_context
def config(
    ctx: click.Context, /, table: str | None, defaults: bool, as_json: bool, **given: object
) -> None:
    """Show the settings in effect, as a file that memfs would read.

    Every line that is not a default ends with its origin. Secrets are hidden.
    """
    remember(ctx, given)
    chosen = [table] if table else list(KINDS)
    if defaults:
        if as_json:
            raise click.UsageError("--defaults prints a file, not JSON")
        click.echo("\n".join(annotated(KINDS[name], name) for name in chosen), nl=False)
        return
    tables = {name: _in_effect(ctx, KINDS[name]) for name in chosen}
    if as_json:
        write_json({name: values for name, (values, _) in tables.items()})
        return
    click.echo("\n\n".join(_toml(name, *content) for name, content in tables.items()))


def _in_effect(ctx: click.Context, kind: Kind) -> tuple[dict[str, object], dict[str, str]]:
    """Values and origins of one table."""
    flags = client_flags(ctx) if kind is ClientConfig else None
    found = resolve(kind, path=options_of(ctx).config, flags=flags)
    return shown(found.config), found.origins


def _toml(table: str, values: dict[str, object], origins: dict[str, str]) -> str:
    lines = [f"[{table}]"]
    for name, value in values.items():
        origin = f"  # {origins[name]}" if name in origins else ""
        lines.append(f"{name} = {toml_value(value)}{origin}")
    return "\n".join(lines)
