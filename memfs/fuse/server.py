"""Serves one mount: passes requests to their handlers and sends the replies.

Owns the tasks of requests that wait, interruption, and the end of the mount. Must not know what a
request does. Invariants: every request but those without a reply is answered once; the memory of a
write goes back when its handler is through.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from collections.abc import Awaitable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Final

from memfs.client.session.request_ids import ERRAND
from memfs.errors import MemfsError, StaleHandleError
from memfs.fuse.errors import errno_of
from memfs.fuse.kept import Payload
from memfs.fuse.kernel.device import Device
from memfs.fuse.kernel.negotiation import Agreement, agree
from memfs.fuse.kernel.protocol import (
    INIT_IN,
    INIT_OUT,
    INTERRUPT_IN,
    NOTIFY_INVAL_INODE_OUT,
    UNIQUE_RESEND,
    InHeader,
    InitFlag,
    Notify,
    Opcode,
)
from memfs.fuse.mount import MountSession
from memfs.fuse.operations import attributes, content, directories, ioctls, locks, names, xattrs
from memfs.fuse.operations.handler import Handler, Parts, Reply
from memfs.monitoring.metrics import Metrics, OperationMetrics

log = logging.getLogger(__name__)

HANDLERS: Final[dict[int, Handler]] = {
    **names.HANDLERS,
    **attributes.HANDLERS,
    **xattrs.HANDLERS,
    **directories.HANDLERS,
    **content.HANDLERS,
    **locks.HANDLERS,
    **ioctls.HANDLERS,
}
_BY_NAME: Final = frozenset((*names.HANDLERS, Opcode.CREATE))
_DONE_ONCE: Final = frozenset(
    {
        Opcode.CREATE,
        Opcode.MKNOD,
        Opcode.MKDIR,
        Opcode.SYMLINK,
        Opcode.LINK,
        Opcode.UNLINK,
        Opcode.RMDIR,
        Opcode.RENAME,
        Opcode.RENAME2,
        Opcode.SETXATTR,
        Opcode.REMOVEXATTR,
    }
)
"""What fails when it is done twice, or undoes what others did between."""
_IN_FRONT: Final = frozenset({Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.INTERRUPT})
"""What the kernel sends in front of all it repeats; anything else it sends behind that."""
PATIENCE_SECONDS: Final = 1.0
"""How long a request goes on after a signal that does not end its process: no program expects that
a signal interrupts ``stat``, but one that hangs should be interruptible."""
_SIGKILL: Final = 1 << 8
"""Pending signals that end a process: any fatal signal becomes one of these for its threads."""


class FuseServer:
    """Serves one descriptor until the mount ends."""

    def __init__(self, fd: int, mount: MountSession, metrics: Metrics | None = None) -> None:
        """``metrics``: where requests are counted, None: nowhere."""
        self.mount = mount
        self.ended = asyncio.Event()
        """The kernel has ended the mount."""
        self.ready = asyncio.Event()
        """The kernel has sent INIT."""
        self.agreement: Agreement | None = None
        self.trouble = ""
        """Why the mount cannot be served any further."""
        self.device = Device(fd, self._serve, self.ended.set, mount.kept)
        mount.invalidate = self._invalidate
        self._tasks: dict[int, tuple[asyncio.Task[None], InHeader]] = {}
        self._counts: dict[int, OperationMetrics] | None = None
        if metrics is not None:
            self._counts = {each: metrics.operation(each.name.lower()) for each in Opcode}

    @property
    def waiting(self) -> int:
        """Requests that wait for the cluster."""
        return len(self._tasks)

    def start(self) -> None:
        """Serve from now on; in the event loop."""
        self.device.start()

    def take_over(self, agreement: Agreement) -> None:
        """Serve a mount that somebody else has served: have the kernel repeat its requests."""
        self._agreed(agreement)
        self.ready.set()
        self.device.start()
        if agreement.has(InitFlag.HAS_RESEND):
            self.device.notify(Notify.RESEND)

    async def close(self) -> None:
        """Finish the requests under way, publish everything, and close the descriptor."""
        self.device.stop()
        while self._tasks:
            tasks = [task for task, _ in self._tasks.values()]
            await asyncio.wait(tasks, timeout=PATIENCE_SECONDS)
            for task in tasks:
                task.cancel()
        try:
            await self.mount.close()
        finally:
            self.device.close()

    # --- requests ---------------------------------------------------------------------------

    def _serve(self, header: InHeader, body: bytes, payload: Payload | None) -> None:
        opcode = header.opcode
        began = perf_counter()
        reply: Reply
        if header.unique & UNIQUE_RESEND:
            self.mount.not_opened(header.unique & ~UNIQUE_RESEND)
        elif opcode not in _IN_FRONT:
            self.mount.kept.all_repeated()
        try:
            if opcode == Opcode.WRITE:
                reply = content.write(self.mount, header, body, payload)
            else:
                handler = HANDLERS.get(opcode)
                if handler is None:
                    self._serve_rest(header, body)
                    return
                reply = handler(self.mount, header, body)
        except Exception as error:
            self._fail(header, error, began)
            return
        if isinstance(reply, tuple):
            self.device.reply(header.unique, reply)
            if payload is not None and not payload.lent:
                payload.give_back()
            self._succeeded(opcode, began)
        elif reply is not None:
            if opcode in _DONE_ONCE:
                reply = self._done_once(header, reply)
            work = self._finish(header, reply, payload, began)
            self._tasks[header.unique] = asyncio.get_running_loop().create_task(work), header

    async def _done_once(self, header: InHeader, work: Awaitable[Parts]) -> Parts:
        """Work whose first command must not be carried out again when this process ends before the
        kernel has the answer."""
        request = header.unique & ~UNIQUE_RESEND
        errand = self.mount.errand(request, again=request != header.unique)
        ERRAND.set(errand)
        try:
            return await work
        finally:
            errand.end()
            if self.mount.in_doubt:
                await self.mount.forget_doubtful()

    async def _finish(
        self, header: InHeader, work: Awaitable[Parts], payload: Payload | None, began: float
    ) -> None:
        """Run the handler of a request that has to wait, and reply."""
        try:
            self.device.reply(header.unique, await work)
            self._succeeded(header.opcode, began)
        except asyncio.CancelledError:
            self.device.fail(header.unique, errno.EINTR)
            self._failed(header.opcode, errno.EINTR, began)
        except Exception as error:
            self._fail(header, error, began)
        finally:
            if header.opcode in _DONE_ONCE:
                self.mount.ledger.answered(header.unique & ~UNIQUE_RESEND)
            del self._tasks[header.unique]
            if payload is not None:
                payload.give_back()

    def _succeeded(self, opcode: int, began: float) -> None:
        if self._counts is not None:
            self._counts[opcode].succeeded(perf_counter() - began)

    def _failed(self, opcode: int, number: int, began: float) -> None:
        if self._counts is not None and opcode in self._counts:
            seconds = perf_counter() - began
            self._counts[opcode].failed(seconds, errno.errorcode.get(number, str(number)))

    def _fail(self, header: InHeader, error: BaseException, began: float) -> None:
        number = errno_of(error)
        if isinstance(error, StaleHandleError) and header.opcode in _BY_NAME:
            number = errno.ENOENT  # the directory was removed
        if not isinstance(error, OSError):
            log.error("request %d failed", header.opcode, exc_info=error)
        elif number == errno.EIO and isinstance(error, MemfsError):
            log.warning("request %d of process %d failed: %s", header.opcode, header.pid, error)
        self.device.fail(header.unique, number)
        self._failed(header.opcode, number, began)

    def _serve_rest(self, header: InHeader, body: bytes) -> None:
        """Requests about the connection itself, and those that are not supported."""
        if header.opcode == Opcode.INIT:
            self._begin(header, body)
        elif header.opcode == Opcode.INTERRUPT:
            self._interrupt(INTERRUPT_IN.unpack(body).unique)
        elif header.opcode == Opcode.DESTROY:
            self.device.reply(header.unique)
        else:
            self.device.fail(header.unique, errno.ENOSYS)

    def _begin(self, header: InHeader, body: bytes) -> None:
        said = INIT_IN.unpack(body.ljust(INIT_IN.size, b"\0"))
        options = self.mount.options
        agreement = agree(said, writeback=options.writeback, acls=True, locks=True)
        if agreement is None:
            self.trouble = (
                f"FUSE {said.major}.{said.minor} is too old: Linux 5.4 or later is needed"
            )
            self.device.fail(header.unique, errno.EPROTO)
            self.ended.set()
            return
        self._agreed(agreement)
        readahead = max(said.max_readahead, options.readahead)
        self.device.reply(header.unique, (INIT_OUT.pack(*agreement.reply(readahead)),))
        self.ready.set()

    def _agreed(self, agreement: Agreement) -> None:
        self.agreement = agreement
        self.mount.names.offered = agreement.keeps_order

    async def _invalidate(self, nodes: Sequence[int]) -> None:
        """Have the kernel drop cached attributes of nodes; it drops cached bytes when it sees the
        new attributes."""
        if nodes:
            await asyncio.get_running_loop().run_in_executor(None, self._notify, nodes)

    def _notify(self, nodes: Sequence[int]) -> None:
        for node in nodes:
            with contextlib.suppress(OSError):  # it does not know the node, or the mount has ended
                parts = (NOTIFY_INVAL_INODE_OUT.pack(node, -1, 0),)
                self.device.notify(Notify.INVAL_INODE, parts)

    # --- interruption -----------------------------------------------------------------------

    def _interrupt(self, unique: int) -> None:
        """A process that waits for a request has a signal pending. INTERRUPT has no reply."""
        waiting = self._tasks.get(unique)
        if waiting is None:
            return
        task, header = waiting
        event = self.mount.interruptible.get(unique)
        if event is not None:
            event.set()
            return
        loop = asyncio.get_running_loop()
        if is_dying(header.pid):  # not at once: a task that has not begun would end without a reply
            loop.call_soon(self._cancel, unique, task)
        else:
            loop.call_later(PATIENCE_SECONDS, self._cancel, unique, task)

    def _cancel(self, unique: int, task: asyncio.Task[None]) -> None:
        waiting = self._tasks.get(unique)
        if waiting is not None and waiting[0] is task:
            task.cancel()


def is_dying(thread: int, proc: Path = Path("/proc")) -> bool:
    """Whether a signal that ends the process is pending for one of its threads."""
    try:
        text = (proc / str(thread) / "status").read_text()
    except OSError:
        return True
    return any(
        int(line.partition(":")[2], 16) & _SIGKILL
        for line in text.splitlines()
        if line.startswith(("SigPnd:", "ShdPnd:"))
    )
