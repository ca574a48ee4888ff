"""``memfs tensorflow-hook``: makes ``memfs://`` known in every program of this environment."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import click

from memfs.cli.command import example_text
from memfs.integrations.tensorflow import hook

NOT_INSTALLED = 1


@click.group(
    "tensorflow-hook",
    epilog=example_text("memfs tensorflow-hook install", "memfs tensorflow-hook status"),
)
def tensorflow_hook() -> None:
    """Make TensorFlow know memfs:// in every program of this Python environment.

    For Spark executors and programs that cannot be given an import of memfs.tensorflow.
    """


@tensorflow_hook.command("install", epilog=example_text("memfs tensorflow-hook install"))
def install() -> None:
    """Register memfs:// whenever a program imports tensorflow."""
    with _saying_who_may():
        hook.install(hook.directory())
    _tell()


@tensorflow_hook.command("remove", epilog=example_text("memfs tensorflow-hook remove"))
def remove() -> None:
    """Leave programs alone again."""
    with _saying_who_may():
        hook.remove(hook.directory())
    _tell()


@tensorflow_hook.command("status", epilog=example_text("memfs tensorflow-hook status"))
@click.pass_context
def status(ctx: click.Context) -> None:
    """Say whether it is installed, and where; exits with 1 when it is not."""
    _tell()
    ctx.exit(0 if hook.installed(hook.directory()) else NOT_INSTALLED)


@contextlib.contextmanager
def _saying_who_may() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise click.ClickException(
            f"cannot write in {hook.directory()}: {error.strerror}; "
            "run it as the owner of this Python, or in a virtual environment"
        ) from error


def _tell() -> None:
    where = hook.directory()
    click.echo(f"{'installed' if hook.installed(where) else 'not installed'} in {where}")
