"""``memfs completion``: the script that makes a shell complete commands, options and paths."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from memfs.cli.shell import example_text

COMPLETION_SECONDS = 1.0
"""Longest wait for the cluster while somebody holds the Tab key."""
NAMES_MAX = 1000


@click.command(
    "completion",
    epilog=example_text(
        'eval "$(memfs completion bash)"',
        "memfs completion fish > ~/.config/fish/completions/memfs.fish",
    ),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, /, shell: str) -> None:
    """Print the completion script for a shell; paths are completed from the cluster."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    root = ctx.find_root()
    click.echo(found(root.command, {}, "memfs", "_MEMFS_COMPLETE").source())


def complete_path(ctx: click.Context, typed: str) -> list[Any]:
    """Entries whose names begin as ``typed``; none when the cluster does not answer at once."""
    from click.shell_completion import CompletionItem

    from memfs.cli.options import client_config
    from memfs.cli.shell import run_loop

    folder, slash, start = typed.rpartition("/")
    try:
        config = dataclasses.replace(client_config(ctx), timeout_seconds=COMPLETION_SECONDS)
        names = run_loop(_names(config, folder or "/", start))
    except (OSError, click.ClickException):
        return []
    return [CompletionItem(folder + (slash or "/") + name) for name in names]


async def _names(config: Any, folder: str, start: str) -> list[str]:
    from memfs.cli.shell import connected

    found: list[str] = []
    async with connected(config) as (fs, _):
        for entry in await fs.scandir(folder):
            if entry.name.startswith(start):
                found.append(entry.name + "/" * entry.is_dir())
            if len(found) >= NAMES_MAX:
                break
    return found
