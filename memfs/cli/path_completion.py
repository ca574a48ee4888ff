"""What a shell offers for a path that is being typed: names in the cluster."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from memfs.cli.cluster_client import connected, run_loop

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from memfs.config import ClientConfig

COMPLETION_SECONDS = 1.0
"""Longest wait for the cluster while somebody holds the Tab key."""
NAMES_MAX = 1000


def complete_path(config: Callable[[], ClientConfig], typed: str) -> list[CompletionItem[str]]:
    """Entries whose names begin with ``typed``; none when the cluster does not answer at once."""
    from click import shell_completion

    folder, slash, start = typed.rpartition("/")
    try:
        hasty = dataclasses.replace(config(), timeout_seconds=COMPLETION_SECONDS)
        names = run_loop(_names(hasty, folder or "/", start))
    except (OSError, click.ClickException):
        return []
    return [shell_completion.CompletionItem(folder + (slash or "/") + name) for name in names]


async def _names(config: ClientConfig, folder: str, start: str) -> list[str]:
    found: list[str] = []
    async with connected(config) as (fs, _):
        for entry in await fs.scandir(folder):
            if entry.name.startswith(start):
                found.append(entry.name + "/" * entry.is_dir())
            if len(found) >= NAMES_MAX:
                break
    return found
