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
_running: list[Server] = []
"""Those that were started and not stopped."""


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

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:  # the log goes with the test's directory
            print(f"{self._command[0]} said:\n{self.said()}")
        self.stop()

    def said(self) -> str:
        """The end of its log, from the last failure on that is told there, if there is one."""
        text = self._log.read_text(errors="replace")
        failure = text.rfind("Traceback (most recent call last)")
        shown = text[failure:] if failure >= 0 else ""
        return shown[:_LOG_TAIL] + "\n...\n" * bool(shown) + text[-_LOG_TAIL:]

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
        _running.append(self)
        deadline = time.monotonic() + READY_SECONDS
        while not self._ready():
            ended = self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                said = self.said()
                self.stop()
                raise RuntimeError(f"{self._command[0]} does not serve:\n{said}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it; what it kept in files stays."""
        process, self._process = self._process, None
        if process is None:
            return
        _running.remove(self)
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def what_they_said() -> list[tuple[str, str]]:
    """What the servers that run have logged last, by their programs."""
    return [(server._command[0], server.said()) for server in _running]


def listens(port: int) -> bool:
    """Does anybody accept connections at a port of loopback?"""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
        return True
    return False
