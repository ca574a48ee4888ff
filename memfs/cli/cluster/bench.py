"""``memfs bench``: a few figures of the connected cluster, taken from here in seconds.

For comparisons with other systems there is ``make bench`` in the source tree.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import click

from memfs.cli.files.looking import columns as layout
from memfs.cli.options import PATH, Operand, Quantity, WholeNumber, json_option
from memfs.cli.shell import Shell, file_command, write_json
from memfs.paths import join
from memfs.quantities import parse_size, show_size

_PIECE_BYTES = 16 * 1024 * 1024
_SMALL_BYTES = 4096
_CALLS = 500
_CONCURRENT = 64


class Figure(NamedTuple):
    """One measured rate."""

    name: str
    rate: float
    unit: str
    """B/s or /s."""


@file_command("bench", example="memfs bench --size 1GiB --replication 1")
@click.option("--size", type=Quantity("size", parse_size), default="256MiB", show_default=True)
@click.option("--files", type=WholeNumber(1), default=1000, show_default=True)
@click.option("--replication", type=WholeNumber(1, 8), help="Copies [default: the cluster's].")
@click.option("--directory", type=PATH, default="/", show_default=True, help="Where to write.")
@json_option
async def bench(
    shell: Shell,
    size: int,
    files: int,
    replication: int | None,
    directory: Operand,
    as_json: bool,
) -> None:
    """Measure reads, writes and stats of the connected cluster; leaves nothing behind."""
    async with _scratch(shell, directory) as place:
        figures = [
            await _write_large(shell, place, size, replication),
            await _read_large(shell, place, size),
            await _write_small(shell, place, files, replication),
            await _read_small(shell, place, files),
            await _calls("create a file, one at a time", _creating(shell, place, replication)),
            await _calls("stat, one at a time", lambda at: shell.fs.stat(join(place, "large"))),
            await _stat_concurrent(shell, place),
        ]
    if as_json:
        for figure in figures:
            write_json(figure._asdict())
        return
    rows = [(figure.name, _shown(figure)) for figure in figures]
    print("\n".join(layout.table(("operation", "rate"), rows, {1})))


@asynccontextmanager
async def _scratch(shell: Shell, directory: str) -> AsyncIterator[str]:
    """A new directory, which is removed at the end."""
    place = join(directory, f".memfs-bench-{os.getpid()}-{time.time_ns():x}")
    await shell.fs.mkdir(place)
    try:
        yield place
    finally:
        await shell.fs.rmtree(place, ignore_errors=True)


async def _write_large(shell: Shell, place: str, size: int, replication: int | None) -> Figure:
    piece = memoryview(bytearray(os.urandom(_PIECE_BYTES)))
    started = time.perf_counter()
    async with shell.fs.open(join(place, "large"), "wb", replication=replication) as file:
        for at in range(0, size, _PIECE_BYTES):
            await file.write(piece[: min(_PIECE_BYTES, size - at)])
    return _throughput(f"write a file of {show_size(size)}", size, started)


async def _read_large(shell: Shell, place: str, size: int) -> Figure:
    buffer = memoryview(bytearray(_PIECE_BYTES))
    started = time.perf_counter()
    async with shell.fs.open(join(place, "large"), "rb", buffering=0) as file:
        while await file.readinto(buffer):
            pass
    return _throughput(f"read a file of {show_size(size)}", size, started)


async def _write_small(shell: Shell, place: str, files: int, replication: int | None) -> Figure:
    content = os.urandom(_SMALL_BYTES)
    work = {join(place, f"small-{at}"): content for at in range(files)}
    started = time.perf_counter()
    await shell.fs.write_many(work, replication=replication)
    return _rate(f"write_many of {show_size(_SMALL_BYTES)} files", files, started)


async def _read_small(shell: Shell, place: str, files: int) -> Figure:
    started = time.perf_counter()
    await shell.fs.read_many([join(place, f"small-{at}") for at in range(files)])
    return _rate(f"read_many of {show_size(_SMALL_BYTES)} files", files, started)


def _creating(
    shell: Shell, place: str, replication: int | None
) -> Callable[[int], Awaitable[object]]:
    content = os.urandom(_SMALL_BYTES)

    async def create(at: int) -> None:
        name = join(place, f"single-{at}")
        await shell.fs.write_bytes(name, content, replication=replication)

    return create


async def _calls(name: str, call: Callable[[int], Awaitable[object]]) -> Figure:
    started = time.perf_counter()
    for at in range(_CALLS):
        await call(at)
    return _rate(name, _CALLS, started)


async def _stat_concurrent(shell: Shell, place: str) -> Figure:
    async def repeat() -> None:
        for _ in range(_CALLS // 10):
            await shell.fs.stat(join(place, "large"))

    started = time.perf_counter()
    await asyncio.gather(*(repeat() for _ in range(_CONCURRENT)))
    return _rate(f"stat, {_CONCURRENT} at once", _CONCURRENT * (_CALLS // 10), started)


def _throughput(name: str, size: int, started: float) -> Figure:
    return Figure(name, size / (time.perf_counter() - started), "B/s")


def _rate(name: str, count: int, started: float) -> Figure:
    return Figure(name, count / (time.perf_counter() - started), "/s")


def _shown(figure: Figure) -> str:
    if figure.unit == "B/s":
        return f"{show_size(figure.rate)}/s"
    return f"{figure.rate:,.0f} /s"
