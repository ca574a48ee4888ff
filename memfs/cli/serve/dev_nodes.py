"""The node processes of one command: started, restarted when they die, stopped together. Owns the
processes; knows no cluster. Invariant: no process outlives the command, even if that is killed: the
kernel then sends each of them a signal, on which it stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Mapping, Sequence

import click

from memfs.cli.command import Failed
from memfs.quantities import counted

RESTART_SECONDS = 0.5
RESTARTS = 5
"""Restarts of one node within a minute; after that a restart is not expected to help."""
STOP_SECONDS = 20.0
_HOPELESS = 2
"""The exit status of a node with wrong settings: a restart would fail again."""


class Nodes:
    """Processes by the names of their nodes."""

    def __init__(self, commands: Mapping[str, Sequence[str]]) -> None:
        """Nothing runs before :meth:`start`."""
        self._commands = commands
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._restarts: dict[str, list[float]] = {name: [] for name in commands}

    async def start(self) -> None:
        """Start them all."""
        for name in self._commands:
            await self._spawn(name)

    async def _spawn(self, name: str) -> None:
        """In a session of its own: Ctrl-C reaches it through this process only."""
        self._processes[name] = await asyncio.create_subprocess_exec(
            *self._commands[name],
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )

    async def keep(self) -> None:
        """Start again each node that dies; returns when all have ended in good order.

        Raises Failed, after saying why, when one cannot be kept running.
        """
        keeping = [asyncio.create_task(self._keep(name), name=name) for name in self._commands]
        try:
            done, _ = await asyncio.wait(keeping, return_when=asyncio.FIRST_EXCEPTION)
            for each in done:
                each.result()
        finally:
            for each in keeping:
                each.cancel()

    async def _keep(self, name: str) -> None:
        while True:
            process = self._processes[name]
            status = await process.wait()
            who = f"{name} (process {process.pid})"
            if status == 0:  # decommissioned, or stopped by hand
                _say(
                    f"{who} has left; {self._left()} of {counted(len(self._commands), 'node')} left"
                )
                return
            how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
            if status == _HOPELESS or self._is_hopeless(name):
                _say(f"{who} {how}: it cannot be kept running")
                raise Failed
            _say(f"{who} {how}: it is started again")
            await asyncio.sleep(RESTART_SECONDS)
            await self._spawn(name)

    def _left(self) -> int:
        return sum(process.returncode is None for process in self._processes.values())

    def _is_hopeless(self, name: str) -> bool:
        now = time.monotonic()
        recent = [at for at in self._restarts[name] if now - at < 60]
        self._restarts[name] = [*recent, now]
        return len(recent) >= RESTARTS

    async def stop(self) -> None:
        """Stop all at once, so that no node treats the others as lost; kill what does not stop."""
        running = [each for each in self._processes.values() if each.returncode is None]
        for process in running:
            process.send_signal(signal.SIGINT)
        ends = asyncio.gather(*(process.wait() for process in running))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(ends), STOP_SECONDS)
        for process in running:
            if process.returncode is None:
                process.kill()
        await ends


def _say(text: str) -> None:
    click.echo(f"memfs: {text}", err=True)
