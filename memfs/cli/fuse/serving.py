"""The processes behind a mount: who starts which, and how the caller learns the result.

``memfs fuse mount`` starts a keeper in the background, which starts a worker; the message that the
mount is ready, or the error, goes the other way.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import click

from memfs import config, logs
from memfs.cli.cluster_client import run_loop
from memfs.cli.serve.process import give_freed_memory_back, keep_freed_memory, stop_signals
from memfs.cli.serve.supervisor import Supervisor
from memfs.config import ClientConfig
from memfs.errors import MemfsError
from memfs.fuse import options as mount_options
from memfs.fuse.keeper import Keeper, stopped_by_signals
from memfs.fuse.kernel.mounting import MountError, check_directory
from memfs.machine import (
    make_private_directory,
    module_command,
    raise_descriptor_limit,
    state_directory,
)

_READY = "ready\n"


class Plan(NamedTuple):
    """What is to be mounted where; travels as JSON on command lines."""

    endpoints: str
    """``memfs://host:port,host:port``."""
    user: str
    """Empty: the user who mounts."""
    config: str
    """File of settings, empty: the usual ones."""
    path: str
    directory: str
    options: tuple[str, ...]
    monitoring_port: int = 0
    """Of ``/metrics``, 0: none."""

    @classmethod
    def of(
        cls,
        client: ClientConfig,
        file: str | None,
        path: str,
        directory: str,
        options: tuple[str, ...],
        monitoring_port: int = 0,
    ) -> Plan:
        """Check what was asked for. Raises ConfigError, MountError."""
        chosen = mount_options.parse(options)
        user = chosen.user or (client.user if client.groups == () else "")
        return cls(
            "memfs://" + ",".join(map(str, client.endpoints)),
            user,
            str(Path(file).absolute()) if file else "",
            path,
            check_directory(directory),
            options,
            monitoring_port,
        )

    @classmethod
    def of_text(cls, text: str) -> Plan:
        """From a command line."""
        *texts, options, port = json.loads(text)
        return cls._make([*texts, tuple(options), port])

    def text(self) -> str:
        """For a command line."""
        return json.dumps(self)

    @property
    def source(self) -> str:
        """As the table of mounts shows it."""
        return self.endpoints + self.path

    def client(self) -> ClientConfig:
        """Settings of the client."""
        flags: dict[str, object] = {"endpoints": self.endpoints, "user": self.user or None}
        if self.user:
            flags["groups"] = ()
        return config.load(ClientConfig, path=self.config or None, flags=flags)


def start(plan: Plan, log_level: str, log_file: str | None) -> int:
    """Start a keeper in the background; returns when the mount can be used.

    Raises MountError with what is wrong.
    """
    log = Path(log_file) if log_file else _log_file(plan.directory)
    reading, writing = os.pipe()
    command = [
        *module_command("memfs.cli.fuse.serving", "keep", plan.text(), log_level, str(writing)),
    ]
    with log.open("ab") as stderr:
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            cwd="/",
            pass_fds=[writing],
            start_new_session=True,
        )
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    if said != _READY:
        raise MountError(said.strip() or f"the mount ended without a word: see {log}")
    return 0


def _log_file(directory: str) -> Path:
    """Where a mount in the background logs; the name is that of the directory."""
    place = Path(state_directory()) / "fuse"
    try:
        make_private_directory(place)
    except OSError as error:
        text = f"cannot be made: {error.strerror}; say where to log: --log-file"
        raise MountError(text, path=str(place)) from None
    return place / (directory.strip("/").replace("/", "-") + ".log")


def keep(plan: Plan, log_level: str, ready: int = -1) -> int:
    """Keep a mount until it ends. ``ready``: descriptor on which the waiting caller is told."""
    logs.configure(log_level, "text")
    supervisor = Supervisor()
    command = module_command("memfs.cli.fuse.serving", "work", plan.text(), log_level)
    keeper = Keeper(plan.directory, plan.source, mount_options.parse(plan.options), command)
    with stopped_by_signals(keeper.stop):
        try:
            keeper.start()
        except (MemfsError, OSError) as error:
            if ready < 0:
                raise
            _tell(ready, f"{error}\n")
            return 1
        if ready >= 0:
            _tell(ready, _READY)
        else:
            click.echo(f"memfs: {plan.source} is mounted on {plan.directory}")
            sys.stdout.flush()
        supervisor.ready()
        status = keeper.run()
        supervisor.stopping()
        return status


def _tell(descriptor: int, text: str) -> None:
    with os.fdopen(descriptor, "w") as waiting:
        waiting.write(text)


def work(plan: Plan, channel: int, log_level: str) -> int:
    """Serve a mount that a keeper keeps."""
    logs.configure(log_level, "text")
    raise_descriptor_limit()
    keep_freed_memory()
    return run_loop(_work(plan, channel))


async def _work(plan: Plan, number: int) -> int:
    from memfs.fuse.channel import Channel
    from memfs.fuse.worker import serve

    stopping: asyncio.Event = stop_signals()
    options = mount_options.parse(plan.options)
    channel = Channel.of_descriptor(number)
    port = plan.monitoring_port
    async with give_freed_memory_back():
        return await serve(plan.client(), options, plan.path, channel, stopping, port)


def main(role: str, plan: str, log_level: str, descriptor: str) -> int:
    """The command line that :func:`start` and the keeper run."""
    acting = {
        "keep": lambda: keep(Plan.of_text(plan), log_level, int(descriptor)),
        "work": lambda: work(Plan.of_text(plan), int(descriptor), log_level),
    }
    return acting[role]()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
