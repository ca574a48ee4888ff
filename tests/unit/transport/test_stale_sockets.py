"""Names of sockets that a killed node left behind."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from memfs.transport.descriptors import remove_stale_sockets


@pytest.fixture
def directory() -> Iterator[Path]:
    """A short name, as sockets need it."""
    with TemporaryDirectory(dir="/tmp") as name:
        yield Path(name)


def named(path: Path, kind: int = socket.SOCK_STREAM) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, kind)
    made.bind(str(path))
    os.utime(path, (1, 1))
    return made


def test_what_nobody_listens_at_goes(directory: Path) -> None:
    stale, living, young = (directory / f"{number:016x}" for number in range(3))
    named(stale).close()
    named(directory / f"{stale.name}.fd", socket.SOCK_SEQPACKET).close()
    named(directory / "another.socket").close()
    (directory / f"{9:016x}").write_text("no socket")
    with named(living) as first, named(young) as second:
        first.listen()
        second.close()
        os.utime(young)  # about to listen
        with named(directory / f"{living.name}.fd", socket.SOCK_SEQPACKET) as third:
            third.listen()
            remove_stale_sockets(directory)
    left = {path.name for path in directory.iterdir()}
    assert left == {
        living.name,
        f"{living.name}.fd",
        young.name,
        "another.socket",
        f"{9:016x}",
    }
