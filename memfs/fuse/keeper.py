"""The process that keeps a mount: it holds the descriptor while workers come and go.

A worker that is killed is started again and given the same descriptor: the kernel sends it what was
not answered, so that programs see a pause and no error. Owns the mount point and the worker's life.
Must not know the protocol or the cluster. Invariant: the directory is never left as a mount without
anybody to serve it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from memfs.errors import MemfsError
from memfs.fuse import ledger
from memfs.fuse.channel import Channel
from memfs.fuse.kernel import mounting
from memfs.fuse.kernel.mounting import MountError
from memfs.fuse.kernel.negotiation import Agreement
from memfs.fuse.kernel.protocol import InitFlag
from memfs.fuse.options import MountOptions

log = logging.getLogger(__name__)

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 30.0
"""Time for a worker to publish its open files before it is killed."""
RESTART_SECONDS: Final = 0.5
RESTART_SECONDS_MAX: Final = 10.0
STABLE_SECONDS: Final = 60.0
"""A worker that lived at least this long is restarted at once."""
_POLL_SECONDS: Final = 1.0


class Keeper:
    """Keeps one mount."""

    def __init__(
        self, directory: str, source: str, options: MountOptions, command: Sequence[str]
    ) -> None:
        """``command``: what starts a worker; the number of its channel is added."""
        self.directory = directory
        self._source = source
        self._options = options
        self._command = command
        self._worker: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._fd = -1
        self._ledger = ledger.make()
        """What a worker leaves to the next one."""
        self._agreement = ""
        self._stopping = False
        self._started_at = 0.0

    def start(self) -> None:
        """Mount. Raises MountError, or the worker's error as MemfsError."""
        self._start_worker()
        try:
            self._expect("connected")
            self._mount()
            self._hand_over()
            self._expect("ready")
        except BaseException:
            self._end_worker()
            if self._fd >= 0:
                with contextlib.suppress(MountError):
                    mounting.unmount(self.directory, lazy=True)
            raise
        self._adjust()

    def run(self) -> int:
        """Keep it until it is unmounted or :meth:`stop` was called; the exit status."""
        pause = RESTART_SECONDS
        while True:
            status = self._wait()
            if self._stopping or not self._mounted():
                return 0
            if status == 0:
                self._unmount()
                return 0
            log.error("the worker of %s ended with status %d", self.directory, status)
            if time.monotonic() - self._started_at > STABLE_SECONDS:
                pause = RESTART_SECONDS
            self._sleep(pause)
            pause = min(2 * pause, RESTART_SECONDS_MAX)
            if self._stopping:
                self._unmount()
                return 0
            self._restart()

    def stop(self) -> None:
        """Unmount, from a signal handler: :meth:`run` returns when it is done."""
        if not self._stopping:
            self._stopping = True
            self._unmount()

    # --- the mount point --------------------------------------------------------------------

    def _mount(self) -> None:
        allowed = self._options.allow_other
        self._fd = mounting.mount(
            self.directory,
            self._source,
            list(self._options.words),
            allow_other=os.geteuid() == 0 if allowed is None else allowed,
        )

    def _mounted(self) -> bool:
        """Whether the kernel still has the mount: an ended one is readable as an error."""
        poller = select.poll()
        poller.register(self._fd, 0)
        return not any(event & select.POLLERR for _, event in poller.poll(0))

    def _adjust(self) -> None:
        """Settings that need an existing mount."""
        for each in mounting.mounts():
            if each.directory == self.directory:
                mounting.set_readahead(each.device, self._options.readahead)

    def _unmount(self) -> None:
        """Unmount; detached when it is in use, after all files were published."""
        try:
            mounting.unmount(self.directory)
        except MountError as error:
            log.info("%s; it is detached", error)
            with contextlib.suppress(MountError):
                mounting.unmount(self.directory, lazy=True)
            if self._worker is not None:
                self._worker.terminate()

    # --- the worker -------------------------------------------------------------------------

    def _start_worker(self) -> None:
        ours, theirs = Channel.pair()
        self._worker = subprocess.Popen(
            [*self._command, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        ours.send("begin", self._ledger)
        theirs.close()
        if self._channel is not None:
            self._channel.close()
        self._channel = ours
        self._started_at = time.monotonic()

    def _hand_over(self) -> None:
        assert self._channel is not None, "a worker is started with its channel"
        self._channel.send("serve", self._fd, agreement=self._agreement)

    def _expect(self, kind: str) -> None:
        """Wait for the worker's message. Raises MemfsError with its reason if it is another one."""
        assert self._channel is not None, "a worker is started with its channel"
        ready, _, _ = select.select([self._channel], [], [], START_SECONDS)
        if not ready:
            raise MountError(f"the worker does not say {kind!r} within {START_SECONDS:.0f} s")
        said, _ = self._channel.receive()
        if said.get("kind") != kind:
            raise MountError(said.get("text") or "the worker ended without a word: see its log")
        self._agreement = said.get("agreement") or self._agreement

    def _restart(self) -> None:
        """Another worker for the same mount."""
        if not self._agreement or not Agreement.of_text(self._agreement).has(InitFlag.HAS_RESEND):
            log.warning("this kernel does not repeat requests: what was under way is lost")
        self._start_worker()
        try:
            self._expect("connected")
            self._hand_over()
            self._expect("ready")
        except (MemfsError, OSError) as error:
            log.error("no new worker for %s: %s", self.directory, error)
            self._end_worker()

    def _wait(self) -> int:
        """Wait until the worker has ended; returns its exit status."""
        assert self._worker is not None, "there is a worker while a mount is kept"
        while True:
            try:
                return self._worker.wait(_POLL_SECONDS)
            except subprocess.TimeoutExpired:
                continue

    def _end_worker(self) -> None:
        if self._worker is None or self._worker.poll() is not None:
            return
        self._worker.terminate()
        try:
            self._worker.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._worker.kill()
            self._worker.wait()

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))


@contextlib.contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """SIGTERM and Ctrl-C call ``stop`` inside; the next one has its usual effect."""
    former = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}

    def handle(number: int, frame: object) -> None:
        restore()
        stop()

    def restore() -> None:
        for each, handler in former.items():
            signal.signal(each, handler)

    for number in former:
        signal.signal(number, handle)
    try:
        yield
    finally:
        restore()
