"""One server process: started, waited for, stopped by its own pid."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

READY_SECONDS = 60.0
_STOP_SECONDS = 3.0
_LOG_TAIL = 3_000


class Server:
    """``with Server(command, log) as server``; ``ready`` says whether it serves."""

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        ready: Callable[[], bool],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = [str(word) for word in command]
        self._log = log
        self._ready = ready
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, again after :meth:`stop`, and wait until it serves."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd=self._log.parent,
            )
        deadline = time.monotonic() + READY_SECONDS
        while not self._ready():
            ended = self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                said = self._log.read_text(errors="replace")[-_LOG_TAIL:]
                self.stop()
                raise RuntimeError(f"{self._command[0]} does not serve:\n{said}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it; what it kept in files stays."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def listens(port: int) -> bool:
    """Does anybody accept connections at a port of loopback?"""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
        return True
    return False
