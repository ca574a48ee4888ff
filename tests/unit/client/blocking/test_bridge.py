"""The way from blocking callers to the loop: results, errors, threads, interrupts, finalisers."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest

from memfs.client.blocking import bridge as bridges
from memfs.client.blocking.bridge import Bridge, bridge


@pytest.fixture
def running():
    fresh = Bridge()
    yield fresh
    fresh.stop()


@pytest.mark.parametrize("limit", range(7, 14))
def test_too_few_descriptors_are_said_and_nothing_else(limit: int) -> None:
    program = (
        "import resource; from memfs.client.blocking.bridge import Bridge\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))\n"
        "try: Bridge().stop()\n"
        "except OSError as error: print(error.strerror)\n"
        "else: print('made')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    refusal = "Too many open files: raise the limit on them (ulimit -n)\n"
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout in (refusal, "made\n") and (limit > 9 or done.stdout == refusal)


def test_results_and_errors_come_back(running):
    async def double(value: int) -> int:
        await asyncio.sleep(0)
        return 2 * value

    async def fails() -> None:
        raise KeyError("here")

    assert running.run(double, 4) == 8
    with pytest.raises(KeyError, match="here"):
        running.run(fails)


def test_an_error_leaves_no_cycle_behind(running):
    class Marked(Exception):
        pass

    async def fails() -> None:
        raise Marked

    gc.collect()
    gc.disable()
    try:
        with pytest.raises(Marked):
            running.run(fails)
        alive = [each for each in gc.get_objects() if isinstance(each, Marked)]
        assert len(alive) <= 1
    finally:
        gc.enable()


def test_many_threads_at_once(running):
    results: list[int] = []

    async def echo(value: int) -> int:
        await asyncio.sleep(0.001)
        return value

    def work(start: int) -> None:
        results.extend(running.run(echo, value) for value in range(start, start + 20))

    threads = [threading.Thread(target=work, args=(20 * number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(200))


def test_an_interrupt_cancels_the_work(running):
    cancelled = threading.Event()

    async def long() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    threading.Timer(
        0.1, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)
    ).start()
    with pytest.raises(KeyboardInterrupt):
        running.run(long)
    assert cancelled.is_set()


class Opened:
    """Something that holds something until it is closed."""

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Interrupting:
    """The lock that a caller waits with, interrupted before or after it was acquired."""

    def __init__(self, lock: Any, before: bool) -> None:
        self.lock = lock
        self.before = before
        self.interrupted = False

    def acquire(self, timeout: float = -1) -> bool:
        if self.interrupted:
            assert self.lock.acquire(timeout=timeout), "nobody releases it a second time"
            return True
        self.interrupted = True
        if not self.before:
            self.lock.acquire()
        raise KeyboardInterrupt

    def release(self) -> None:
        self.lock.release()


@pytest.mark.parametrize("before", [False, True], ids=["it had come", "it has yet to come"])
@pytest.mark.parametrize("stubborn", [False, True])
def test_the_result_of_an_interrupted_call_is_closed(running, monkeypatch, before, stubborn):
    opened = Opened()
    make = bridges._Call.__init__

    def interrupting(call: Any, *arguments: Any) -> None:
        make(call, *arguments)
        call.done = Interrupting(call.done, before)

    async def open_it() -> Opened:
        try:
            await asyncio.sleep(0.01 if stubborn else 0)
        except asyncio.CancelledError:
            assert before
        taken.append(opened)
        return opened

    taken: list[Opened] = []

    monkeypatch.setattr(bridges._Call, "__init__", interrupting)
    with pytest.raises(KeyboardInterrupt):
        running.run(open_it)
    assert not taken or opened.closed
    assert taken or before


def test_who_is_interrupted_before_the_hand_over_makes_no_coroutine(running, monkeypatch):
    made: list[bool] = []

    def work() -> Any:
        made.append(True)

    loop = running.loop

    class Interrupted:
        handed = False

        def call_soon_threadsafe(self, action: Any) -> None:
            if not self.handed:
                self.handed = True
                raise KeyboardInterrupt
            loop.call_soon_threadsafe(action)

        def is_closed(self) -> bool:
            return False

    monkeypatch.setattr(running, "loop", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        running.run(work)
    monkeypatch.undo()
    assert not made


def test_blocking_inside_the_loop_is_refused(running):
    async def nothing() -> None:
        pass

    async def inside() -> None:
        running.run(nothing)

    with pytest.raises(RuntimeError, match="loop itself"):
        running.run(inside)


def test_work_begun_without_waiting(running):
    done = threading.Event()

    async def work() -> None:
        done.set()

    running.begin(work)
    assert done.wait(5)


def test_after_the_end_nothing_hangs():
    ended = Bridge()
    ended.stop()

    async def nothing() -> None:
        pass

    with pytest.raises(RuntimeError, match="exiting"):
        ended.run(nothing)
    ended.begin(nothing)


def test_what_goes_on_at_the_end_is_cancelled_and_lets_go():
    """A task that is destroyed with its loop says so on stderr, as do its clean-ups that fail."""
    bridge = Bridge()
    let_go: list[str] = []

    async def goes_on() -> None:
        task = asyncio.create_task(asyncio.sleep(1000))
        try:
            await asyncio.sleep(1000)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            let_go.append("all")

    async def begin() -> None:
        bridge.begin(goes_on)
        await asyncio.sleep(0.01)

    bridge.run(begin)
    bridge.stop()
    assert let_go == ["all"]
    assert not bridge.running


def test_work_that_does_not_end_keeps_nobody(monkeypatch):
    monkeypatch.setattr(bridges, "EXIT_SECONDS", 0.1)
    bridge = Bridge()
    free = threading.Event()

    async def stubborn() -> None:
        while not free.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)

    async def begin() -> None:
        bridge.begin(stubborn)
        await asyncio.sleep(0.01)

    bridge.run(begin)
    bridge.stop()
    assert not free.is_set()
    free.set()
    bridge.loop.run_until_complete(asyncio.sleep(0.1))


def test_there_is_one_bridge():
    assert bridge() is bridge()


FORKED = """
import os, sys, time
from memfs.client.calls import modes
from memfs.client.blocking import bridge, files

class Handle:
    size, quiet, locking = 0, False, False
    closed = 0

    async def write(self, at, data, timeout=None):
        return len(data)

    async def close(self, timeout=None):
        Handle.closed += 1

async def open_it(mode):
    return files.RawFile(Handle(), "/f", modes.parse(mode), None)

opened = [
    files.compose(bridge.bridge().run(open_it, mode), modes.parse(mode), -1, None, None, None)
    for mode in ("rb", "wb", "w", "r+b")
]
opened[1].write(b"buffered")
opened[2].write("buffered text")
opened[3].write(b"buffered, too")
child = os.fork()
if not child:
    sys.exit(7)
while not (done := os.waitpid(child, os.WNOHANG))[0]:
    time.sleep(0.01)
print(os.waitstatus_to_exitcode(done[1]))
[file.close() for file in opened]
bridge.bridge().stop()
print(Handle.closed)
"""


def test_a_forked_child_ends_whatever_its_parent_has_open():
    quiet = "ignore:This process:DeprecationWarning"  # of os.fork, from CPython 3.12 on
    command = [sys.executable, "-W", quiet, "-c", FORKED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout.split(), done.stderr) == (["7", "4"], "")


@pytest.mark.parametrize("closed", [[0], [1], [2], [0, 1, 2]])
def test_the_loop_takes_no_descriptor_of_the_standard_streams(tmp_path, closed):
    program = f"""
import os
[os.close(number) for number in {closed}]
import asyncio, socket
from memfs.client.blocking.bridge import bridge

async def connect():
    listener = socket.create_server(("127.0.0.1", 0))
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    number = writer.get_extra_info("socket").fileno()
    writer.close()
    return number

number = bridge().run(connect)
open({str(tmp_path / "told")!r}, "w").write(str(number))
"""
    done = subprocess.run([sys.executable, "-c", program], timeout=60)
    assert done.returncode == 0
    assert int((tmp_path / "told").read_text()) > 2


def test_a_handler_that_raises_while_the_loop_is_looked_at_does_not_end_it(running):
    """CPython 3.11 takes a thread for ended when ``is_alive()`` is interrupted so."""

    class Late(Exception):
        pass

    def late(*_: object) -> None:
        raise Late

    def look() -> None:
        """A function of its own: in CPython 3.12 and 3.13 the jump back at the end of a ``while``
        is outside the ``try`` around it, and what a handler raises there would pass by."""
        while running.running:
            pass

    former = signal.signal(signal.SIGALRM, late)
    interrupted = 0
    try:
        while interrupted < 200:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0001)
                look()
                break
            except Late:
                interrupted += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
    assert running.running
    running.run(asyncio.sleep, 0)
