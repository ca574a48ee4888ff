"""How commands that work with a cluster are made, and what each of them has.

Owns the exit status, messages on stderr, and the way from click's parameters to an ``async def``
on a loop of its own. What a command works with is its context: a connected file system
(:mod:`~memfs.cli.shell`), or a cluster that may be unreachable (:mod:`~memfs.cli.cluster.look`).
"""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from memfs.cli.cluster_client import run_loop
from memfs.cli.options import client_config, cluster_options, remember

if TYPE_CHECKING:
    from memfs.config import ClientConfig

C = TypeVar("C", bound="CommandContext")


class Failed(Exception):
    """Ends a command that has already printed what is wrong."""


class CommandContext:
    """One run of a command."""

    def __init__(self) -> None:
        self.status = 0
        """The exit status."""

    def complain(self, text: str) -> None:
        """Say one line on stderr; the command will exit with 1."""
        self.warn(text)
        self.status = 1

    def warn(self, text: str) -> None:
        """Print a warning on stderr; the exit status stays as it is."""
        sys.stdout.flush()
        click.echo(f"memfs: {text}", err=True)


def cluster_command(
    opened: Callable[[ClientConfig], AbstractAsyncContextManager[C]],
    name: str,
    *,
    example: str,
    **settings: Any,
) -> Callable[[Callable[..., Awaitable[None]]], click.Command]:
    """Make a click command of ``async def body(context, **parameters)``. ``opened`` opens the
    context of one run and closes it afterwards; ``example`` is appended to the help text.
    """

    def wrap(body: Callable[..., Awaitable[None]]) -> click.Command:
        async def run(config: ClientConfig, parameters: dict[str, object]) -> int:
            logging.basicConfig(format="memfs: %(message)s")  # warnings of the client
            async with opened(config) as context:
                with contextlib.suppress(Failed):
                    await body(context, **parameters)
                return context.status

        @functools.wraps(body)
        def invoke(**parameters: object) -> int:
            ctx = click.get_current_context()
            remember(ctx, parameters)
            return run_loop(run(client_config(ctx), parameters))

        settings["epilog"] = example_text(example)
        kind: type[click.Command] = settings.pop("cls", click.Command)
        return click.command(name, cls=kind, **settings)(cluster_options(invoke))

    return wrap


def example_text(*lines: str) -> str:
    """The end of a help text."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for text in lines for line in text.split("\n"))
