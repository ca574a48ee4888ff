"""Questions that blocking callers ask in their own threads: the same answers as by the loop."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import memfs
from memfs.client.session import direct
from memfs.errors import InvalidArgumentError, MemfsError, UnavailableError
from memfs.machine import module_command
from memfs.testing.processes import Processes
from tests.support.patience import PATIENCE_SECONDS

SMALL = {f"/d/{number:02}": bytes([number]) * number * 100 for number in range(40)}


@pytest.fixture(autouse=True)
def at_once() -> Iterator[None]:
    """The first question is asked directly already."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(direct, "WORTH", 0)
        yield


@pytest.fixture(scope="module")
def cluster() -> Iterator[Processes]:
    with Processes(nodes=3, replication=2, memory="512MiB") as cluster:
        with memfs.connect(cluster.url) as fs:
            fs.mkdir("/d")
            fs.write_many(SMALL)
            fs.write_bytes("/large", os.urandom(5_000_000))
            fs.write_bytes("/secret", b"?", permissions=0o600)
            fs.symlink("/d/01", "/link")
            fs.symlink("/nowhere", "/broken")
        yield cluster


def connection_of(fs: memfs.FileSystem) -> Any:
    asking = fs.asynchronous._session.primary.direct
    assert asking is not None
    return asking._connection


def outcome(call: Callable[[], object]) -> object:
    try:
        return call()
    except MemfsError as error:
        return type(error), error.message, error.filename


@pytest.mark.parametrize("local", [True, False])
def test_the_answers_are_those_of_the_loop(cluster: Processes, local: bool) -> None:
    paths = [*SMALL, "/d", "/large", "/secret", "/nowhere", "/link", "/broken", "/d/00/x"]
    with memfs.connect(cluster.url, local_descriptors=local, user="carol") as fs:
        for _ in range(3):  # the second time segments are mapped
            for path in paths:
                for call in (fs.stat, fs.lstat, fs.exists, fs.isfile, fs.isdir, fs.read_bytes):
                    found = outcome(lambda call=call, path=path: call(path))
                    looped = outcome(lambda call=call, path=path: call(path, timeout=0.1 + 60))
                    assert found == looped, (call, path)
            assert fs.read_many(list(SMALL)) == list(SMALL.values())
            assert fs.read_many(["/large", "/d/03"])[1] == SMALL["/d/03"]
            assert fs.read_many(iter(SMALL)) == fs.read_many(SMALL.keys()) == list(SMALL.values())
            mixed = fs.read_many(paths, return_errors=True)
            assert mixed[: len(SMALL)] == list(SMALL.values())
            assert sum(isinstance(each, MemfsError) for each in mixed) == 5
        assert connection_of(fs) is not None and not connection_of(fs).closed


def test_many_threads_ask_at_once(cluster: Processes) -> None:
    wrong: list[object] = []

    def ask(fs: memfs.FileSystem, first: int) -> None:
        for number in range(first, first + 300):
            path = f"/d/{number % 40:02}"
            if fs.read_bytes(path) != SMALL[path] or fs.stat(path).st_size != len(SMALL[path]):
                wrong.append(path)

    with memfs.connect(cluster.url) as fs:
        threads = [threading.Thread(target=ask, args=(fs, first)) for first in range(6)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert not wrong


def test_a_forked_child_asks_by_itself(cluster: Processes) -> None:
    with memfs.connect(cluster.url) as fs:
        fs.stat("/d")
        before = connection_of(fs)
        child = os.fork()
        if not child:
            os._exit(0 if fs.read_bytes("/d/07") == SMALL["/d/07"] else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert fs.read_bytes("/d/08") == SMALL["/d/08"]
        assert connection_of(fs) is before and not before.closed


def test_an_interrupt_ends_a_question_and_no_later_one_gets_its_answer(cluster: Processes) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    with memfs.connect(cluster.url) as fs:
        fs.stat("/d")
        primary = cluster.nodes[0]
        former = signal.signal(signal.SIGALRM, interrupt)
        try:
            os.kill(primary.pid, signal.SIGSTOP)
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(Interrupted):
                fs.stat("/large")
        finally:
            os.kill(primary.pid, signal.SIGCONT)
            signal.signal(signal.SIGALRM, former)
        for path, content in SMALL.items():
            assert fs.stat(path).st_size == len(content)


def test_closing_ends_the_questions_of_other_threads(cluster: Processes) -> None:
    fs = memfs.connect(cluster.url)
    ended: list[MemfsError] = []

    def ask() -> None:
        try:
            while True:
                fs.stat("/d")
        except MemfsError as error:
            ended.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for each in threads:
        each.start()
    while connection_of(fs) is None:
        time.sleep(0.01)
    fs.close()
    for each in threads:
        each.join(PATIENCE_SECONDS)
    assert len(ended) == 3
    assert {type(error) for error in ended} <= {InvalidArgumentError, UnavailableError}


def test_another_primary_is_asked_once_there_is_one(cluster: Processes) -> None:
    with memfs.connect(cluster.url) as fs:
        fs.stat("/d")
        before, first = connection_of(fs), fs.view.primary
        words = module_command("memfs.cli", "cluster", "hand-over", f"--url={cluster.url}")
        subprocess.run(words, check=True, timeout=PATIENCE_SECONDS)
        assert [fs.read_bytes(path) for path in SMALL] == list(SMALL.values())
        end = time.monotonic() + PATIENCE_SECONDS
        while connection_of(fs) in (None, before):
            assert time.monotonic() < end
            assert fs.stat("/large").st_size == 5_000_000
        assert before.closed and fs.view.primary != first
