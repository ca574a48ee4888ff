"""The parent's end of the workers: starts them, listens to them, ends them.

Owns the worker processes, each ended by its own pid, and one thread each that reads what it says.
Must not know faults.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from memfs.machine import module_command
from tests.support.nemesis.worker import Order

READY_SECONDS = 60.0
JUDGE_SECONDS = 240.0


class Gap(NamedTuple):
    """A time in which a worker got nothing acknowledged, CLOCK_MONOTONIC."""

    begin: float
    end: float

    @property
    def seconds(self) -> float:
        """How long."""
        return self.end - self.begin


class Judgement(NamedTuple):
    """What a worker found at the end of its round."""

    counts: dict[str, int]
    """Calls by outcome."""
    violations: list[tuple[str, str, str]]
    """Kind, key, story."""
    undecided: int


class Worker:
    """One process of clients."""

    def __init__(self, order: Order, log: Path) -> None:
        """Start it; ``log`` gets its stderr."""
        self.gaps: list[Gap] = []
        self.acknowledged = 0
        self.changes = 0
        """Acknowledged calls that change something."""
        self.log = log
        self._ready = threading.Event()
        self._done = threading.Event()
        self._judgement: Judgement | None = None
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(
                module_command("tests.support.nemesis.worker"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,
            )
        self._listener = threading.Thread(target=self._listen, name="worker", daemon=True)
        self._listener.start()
        self._say(json.dumps(order._asdict()))

    def wait_ready(self) -> None:
        """Until its clients are at work. Raises RuntimeError with its log."""
        if not self._ready.wait(READY_SECONDS):
            raise RuntimeError(f"a worker is not ready; its log:\n{self.story()}")
        if self._done.is_set() and self._judgement is None:
            raise RuntimeError(f"a worker ended early; its log:\n{self.story()}")

    def stop(self) -> None:
        """Tell it to finish and judge."""
        self._say("stop")

    def judgement(self) -> Judgement:
        """What it found. Raises RuntimeError with its log when it ends without a word."""
        self._done.wait(JUDGE_SECONDS)
        if self._judgement is None:
            status = self._process.poll()
            raise RuntimeError(
                f"a worker gave no judgement (exit status {status}); its log:\n{self.story()}"
            )
        return self._judgement

    def story(self) -> str:
        """The end of its log."""
        with contextlib.suppress(FileNotFoundError):
            return self.log.read_text(errors="replace")[-4000:]
        return ""

    def close(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        self._listener.join(5)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended: its silence will be noticed
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._heard(json.loads(line))
        self._done.set()
        self._ready.set()

    def _heard(self, facts: dict[str, Any]) -> None:
        event = facts.pop("event")
        if event == "ready":
            self._ready.set()
        elif event == "gap":
            self.gaps.append(Gap(**facts))
        elif event == "acknowledged":
            self.acknowledged = facts["count"]
            self.changes = facts["changes"]
        else:
            assert event == "done", f"no such event: {event}"
            facts["violations"] = [tuple(each) for each in facts["violations"]]
            self._judgement = Judgement(**facts)
            self._done.set()


def longest(workers: list[Worker], begin: float, end: float) -> float:
    """Seconds of the longest gap that overlaps a stretch of time."""
    found = [gap for worker in workers for gap in worker.gaps]
    return max((gap.seconds for gap in found if begin <= gap.end and gap.begin < end), default=0.0)


def wait_served(workers: list[Worker], seconds: float) -> bool:
    """Until every worker has had a change acknowledged from now on; False: it had not in time."""
    deadline = now() + seconds
    before = [worker.changes for worker in workers]
    while any(w.changes == count for w, count in zip(workers, before, strict=True)):
        if now() > deadline:
            return False
        time.sleep(0.1)
    return True


def now() -> float:
    """The clock that gaps are measured with."""
    return time.monotonic()
