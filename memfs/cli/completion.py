"""``memfs completion``: the script that makes a shell complete commands, options and paths."""

from __future__ import annotations

import click

from memfs.cli.command import example_text


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
