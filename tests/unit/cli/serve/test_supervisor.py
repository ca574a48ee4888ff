"""What a supervisor is told, and that an absent one does no harm."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from memfs.cli.serve.supervisor import VARIABLE, Supervisor


@pytest.fixture(params=["path", "abstract"])
def listening(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[socket.socket, str]]:
    """A supervisor's socket, and its address as the environment says it."""
    path = str(tmp_path / "notify")
    abstract = request.param == "abstract"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.setblocking(False)
        heard.bind("\0" + path if abstract else path)
        yield heard, f"@{path}" if abstract else path


def test_it_is_told(listening: tuple[socket.socket, str]) -> None:
    heard, address = listening
    supervisor = Supervisor({VARIABLE: address})
    supervisor.ready()
    supervisor.stopping()
    assert [heard.recv(100), heard.recv(100)] == [b"READY=1", b"STOPPING=1"]


def test_children_do_not_find_it(listening: tuple[socket.socket, str]) -> None:
    environ = {VARIABLE: listening[1], "OTHER": "kept"}
    Supervisor(environ)
    assert environ == {"OTHER": "kept"}


def test_nobody_is_told_nothing(caplog: pytest.LogCaptureFixture) -> None:
    Supervisor({}).ready()
    assert not caplog.records


def test_one_that_is_gone_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Supervisor({VARIABLE: str(tmp_path / "gone")}).ready()
    assert [record.message for record in caplog.records] == ["the supervisor hears nothing"]


def test_one_that_does_not_listen_stops_nothing(
    listening: tuple[socket.socket, str], caplog: pytest.LogCaptureFixture
) -> None:
    supervisor = Supervisor({VARIABLE: listening[1]})
    for _ in range(10_000):  # more than any queue holds
        supervisor.ready()
        if caplog.records:
            break
    assert caplog.records
