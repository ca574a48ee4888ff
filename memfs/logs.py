"""Structured logs: one record a line, as text for people or JSON for machines.

Owns the formatting, set up once by the command line; the other modules only say
``log.info("member joined", extra=fields(member=3))`` to a standard logger. Invariant: whatever a
message or a field holds, it cannot end the line or pass for another record.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TextIO

NEWS_SECONDS = 10.0
"""What fails again and again for the same reason is logged again after this."""
BURST = 10
"""Lines of one kind in that time that others may make a process write."""
STRANGERS = ("memfs.transport.", "memfs.gateway.")
"""Loggers of what speaks with whoever connects."""
AUDIT = "memfs.audit"
"""The logger of ``memfs.audit``: always JSON, whatever the level of the others."""
_KEY = "memfs_fields"
_BARE = re.compile(r"[\w.:/@+,%\[\]-]{1,200}", re.ASCII)
_FIXED = frozenset({"time", "level", "logger", "message", "exception"})


def fields(**values: object) -> dict[str, object]:
    """Values of one record, for ``extra=``: ``log.info("joined", extra=fields(member=3))``."""
    assert not _FIXED & values.keys(), "a field would hide a part of the record"
    return {_KEY: values}


class Seldom:
    """Lets the same news through once, then seldom: for what is tried again and again."""

    def __init__(self, now: Callable[[], float], seconds: float = NEWS_SECONDS) -> None:
        """``now``: monotonic seconds; ``seconds`` between repetitions."""
        self._now = now
        self._seconds = seconds
        self._told: dict[str, float] = {}

    def is_news(self, text: str) -> bool:
        """Was ``text`` not let through lately?"""
        now = self._now()
        self._told = {each: at for each, at in self._told.items() if now - at < self._seconds}
        if text in self._told:
            return False
        self._told[text] = now
        return True

    def forget(self) -> None:
        """Whatever is said next is news."""
        self._told.clear()


class RateLimit(logging.Filter):
    """Lets each message of what strangers cause through a few times, then counts.

    Messages are told apart by their text before the arguments.
    """

    def __init__(self, count: int = BURST, seconds: float = NEWS_SECONDS) -> None:
        """``count`` in every ``seconds``; the first one after that says how many were left out."""
        super().__init__()
        self._count = count
        self._seconds = seconds
        self._windows: dict[str, _Window] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged."""
        if not record.name.startswith(STRANGERS):
            return True
        window = self._windows.get(record.msg)
        if window is None or not 0 <= record.created - window.began < self._seconds:
            left_out = window.left_out if window is not None else 0
            window = self._windows[record.msg] = _Window(record.created)
            if left_out:
                text = f"{record.getMessage()} (and {left_out} like it that were not logged)"
                record.msg, record.args = text, None
        window.seen += 1
        window.left_out = max(0, window.seen - self._count)
        return window.seen <= self._count


class _Window:
    """What a logger said of one kind since ``began``."""

    __slots__ = ("began", "left_out", "seen")

    def __init__(self, began: float) -> None:
        self.began = began
        self.seen = self.left_out = 0


def configure(
    level: str = "info",
    form: str = "text",
    *,
    stream: TextIO | None = None,
    constant: Mapping[str, object] | None = None,
) -> None:
    """Send the process's logs to ``stream`` (stderr), replacing what was set up before.

    Args: ``level``, debug to error; ``form``, text or json; ``constant``, fields of every record.
    """
    formatter = {"text": TextFormatter, "json": JsonFormatter}[form](constant or {})
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter)
    handler.addFilter(RateLimit())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)  # other libraries
    logging.getLogger("memfs").setLevel(level.upper())
    logging.getLogger(AUDIT).setLevel(logging.INFO)
    logging.raiseExceptions = False  # a closed stderr must not become a second error


def hush() -> None:
    """Say nothing more: what still goes wrong is the end that was ordered."""
    logging.getLogger("memfs").setLevel(logging.CRITICAL)


class _Formatter(logging.Formatter):
    """What both forms share: time, fields, exception."""

    def __init__(self, constant: Mapping[str, object]) -> None:
        super().__init__()
        self._constant = dict(constant)

    def _fields(self, record: logging.LogRecord) -> dict[str, object]:
        return self._constant | getattr(record, _KEY, {})

    def _exception(self, record: logging.LogRecord) -> str:
        return self.formatException(record.exc_info) if record.exc_info else ""


class TextFormatter(_Formatter):
    """``2026-01-31T12:00:00.123Z info memfs.node: member joined member=3``."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and an indented one per line of a traceback."""
        if record.name == AUDIT:
            return JsonFormatter(self._constant).format(record)
        line = (
            f"{_timestamp(record.created)} {record.levelname.lower()} "
            f"{record.name}: {_printable(record.getMessage())}"
        )
        for name, value in self._fields(record).items():
            line += f" {name}={_shown(value)}"
        traceback = self._exception(record)
        return "\n    ".join([line, *map(_printable, traceback.splitlines())])


class JsonFormatter(_Formatter):
    """One JSON object a line: time, level, logger, message, the fields, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """ASCII, so that no separator of any encoding ends the line."""
        content: dict[str, object] = {
            "time": _timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        content |= {name: _plain(value) for name, value in self._fields(record).items()}
        if traceback := self._exception(record):
            content["exception"] = traceback
        return json.dumps(content)


def _timestamp(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return moment.removesuffix("+00:00") + "Z"


def _printable(text: str) -> str:
    """Control and separator characters become escapes."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def _plain(value: object) -> object:
    """What JSON can hold: exceptions and others become text."""
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return [_plain(item) for item in value]
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    return str(value)


def _shown(value: object) -> str:
    """A value bare where that is unambiguous, else quoted."""
    plain = _plain(value)
    text = plain if isinstance(plain, str) else json.dumps(plain, separators=(",", ":"))
    return text if _BARE.fullmatch(text) else json.dumps(text)
