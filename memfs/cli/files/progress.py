"""What the user sees of a copy: a bar and a summary, on a terminal only."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

import click

from memfs.client.transfer.copying import Progress, ProgressEvent
from memfs.quantities import counted, show_size

_REFRESH_SECONDS = 0.1


class Report:
    """The display of a copy: nothing, or on a terminal a bar and a summary."""

    progress: Progress | None = None

    def finish(self) -> None:
        """Everything is copied."""


class _Bar(Report):
    """A bar on stderr."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
        from rich.progress import Progress as Bars

        self.progress = self._show
        self._started = time.monotonic()
        self._shown = 0.0
        self._before = self._last = ProgressEvent("", 0, 0, 0, 0)
        self.bars = Bars(
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[files]} {task.description}", markup=False),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self.bars.add_task("", total=None, files=counted(0, "file"))

    def _show(self, event: ProgressEvent) -> None:
        if event.total_files < self._last.total_files:  # the next operand began
            self._before = self._sum()
        self._last = event
        now = time.monotonic()
        if now - self._shown < _REFRESH_SECONDS:
            return
        self._shown = now
        done = self._sum()
        self.bars.update(
            self._task,
            completed=done.bytes,
            total=done.total_bytes,
            files=counted(done.files, "file"),
            description=_safe_name(event.path),
        )

    def _sum(self) -> ProgressEvent:
        """The counts of this operand and of those before it."""
        old, new = self._before, self._last
        return ProgressEvent(
            new.path,
            old.bytes + new.bytes,
            old.files + new.files,
            old.total_bytes + new.total_bytes,
            old.total_files + new.total_files,
        )

    def finish(self) -> None:
        done = self._sum()
        seconds = max(time.monotonic() - self._started, 1e-6)
        rate = f"{show_size(done.bytes / seconds)}/s"
        text = f"{counted(done.files, 'file')}, {show_size(done.bytes)} in {seconds:.1f} s, {rate}"
        click.echo(text, err=True)


def _safe_name(path: str) -> str:
    """The last component, short and printable."""
    name = path.rstrip("/").rpartition("/")[2]
    shown = "".join(each if each.isprintable() else "?" for each in name)
    return shown if len(shown) <= 40 else shown[:37] + "..."


@contextlib.contextmanager
def shown_progress(quiet: bool) -> Iterator[Report]:
    """A bar if stderr is a terminal and ``quiet`` was not asked for."""
    if quiet or not sys.stderr.isatty():
        yield Report()
        return
    bar = _Bar()
    with bar.bars:
        yield bar
    bar.finish()
