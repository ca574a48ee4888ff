"""The cluster that a command works with, and the event loop that it works on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, TypeVar

import click

from memfs.concurrency import Coro

if TYPE_CHECKING:
    from memfs.client.filesystem import AsyncFileSystem
    from memfs.client.session.session import Session
    from memfs.config import ClientConfig

T = TypeVar("T")


@contextlib.asynccontextmanager
async def connected(config: ClientConfig) -> AsyncIterator[tuple[AsyncFileSystem, Session]]:
    """The file system of the cluster that ``config`` names. Raises UnavailableError."""
    from memfs.client.connect import encryption_keys, file_system, open_session

    keys = encryption_keys(config)
    session = await open_session(config)
    async with file_system(session, keys) as fs:
        yield fs, session


LOOP_DESCRIPTORS = 12
"""Descriptors for an event loop and the first connections: a loop that runs out of them half-way
cannot even be closed."""


def run_loop(main: Coro[T]) -> T:
    """Run ``main`` on a loop of its own; Ctrl-C cancels it and surfaces as KeyboardInterrupt."""
    with contextlib.closing(main):  # where it was never begun
        import uvloop

        from memfs import machine

        try:
            machine.check_descriptors(LOOP_DESCRIPTORS)
        except OSError as error:
            raise click.ClickException(str(error.strerror)) from None
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(main)
