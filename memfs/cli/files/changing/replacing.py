"""Whether ``cp``, ``mv``, ``put`` and ``get`` replace what exists: ``-n``, ``-i``, ``-f``."""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable
from typing import TypeVar

import click

F = TypeVar("F", bound=Callable[..., object])


class Clobber(enum.Enum):
    """What is done with what exists; of several options the last one counts."""

    ALWAYS = "always"
    ASK = "ask"
    NEVER = "never"


def clobber_options(function: F) -> F:
    """Add ``-n`` and ``-i``, given to the body as one ``clobber``: None without them."""
    for decorate in (
        click.option(
            *("-i", "--interactive", "clobber"),
            flag_value=Clobber.ASK,
            type=Clobber,
            help="Ask before something is replaced.",
        ),
        click.option(
            *("-n", "--no-clobber", "clobber"),
            flag_value=Clobber.NEVER,
            type=Clobber,
            help="Do not replace what exists.",
        ),
    ):
        function = decorate(function)
    return function


def confirmed(question: str) -> bool:
    """Ask on stderr; only a line that begins with y means yes, and no input is no."""
    sys.stdout.flush()
    click.echo(f"memfs: {question} ", err=True, nl=False)
    try:
        answer = sys.stdin.readline()
    except (OSError, ValueError):  # it is closed, or no text
        return False
    return answer.strip().lower().startswith("y")
