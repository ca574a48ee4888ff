"""What a reader of a scenario sees: the logs of the nodes, the view record, messages on the wire.

Owns the lines and their form. Changes nothing of what runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

from memfs.errors import MemfsError, from_wire
from memfs.protocol import frames
from memfs.protocol import messages as m
from memfs.protocol.records import decode
from memfs.testing.patches import followed
from memfs.testing.simulation.network_stream import StreamPipe
from memfs.testing.simulation.virtual import current_process
from memfs.types import Attributes, Member, View

HIDDEN = {"view", "serving"}
"""Log messages that say what other lines say too."""
UNTOLD = {"digest", "crc", "block_size", "group_blocks"}
"""Fields of messages that say nothing to a reader."""


class Events:
    """The lines since they were last taken."""

    def __init__(self) -> None:
        """``watched``: names of messages whose frames are shown."""
        self.watched: set[str] = set()
        self.began = 0.0
        self._lines: list[str] = []

    def tell(self, who: str, text: str) -> None:
        """One line: when, who, what."""
        now = asyncio.get_running_loop().time() - self.began
        self._lines.append(f"{now:6.1f} {who:<3} {text}")

    def take(self) -> list[str]:
        """All lines so far, each once."""
        lines, self._lines = self._lines, []
        return lines

    @contextlib.contextmanager
    def recorded(self) -> Iterator[None]:
        """Logs and frames become lines meanwhile."""
        logger, handler = logging.getLogger("memfs"), _Handler(self.tell)
        level, propagate = logger.level, logger.propagate
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        wire = _Wire(self)
        try:
            with followed(StreamPipe, "send", lambda _result, pipe, data: wire.sent(pipe, data)):
                yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate


class _Handler(logging.Handler):
    """The nodes' own log, with the name of the host."""

    def __init__(self, tell: Callable[[str, str], None]) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        """One line."""
        message, process = record.getMessage(), current_process()
        if message not in HIDDEN:
            values = getattr(record, "memfs_fields", {})
            text = " ".join([message, *(f"{name}={_field(v)}" for name, v in values.items())])
            self._tell(process.name if process else "", text)


class _Wire:
    """Reads along what hosts send one another."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._rest: dict[StreamPipe, bytes] = {}

    def sent(self, pipe: StreamPipe, data: bytes | None) -> None:
        """Bytes leave a host."""
        if not self._events.watched:
            return
        rest = self._rest.get(pipe, b"") + (data or b"")
        while len(rest) >= frames.HEADER_BYTES:
            header = frames.unpack_header(rest)
            end = frames.HEADER_BYTES + header.record_length
            whole = end + header.payload_length
            if len(rest) < whole:
                break
            self._frame(pipe, header, rest[frames.HEADER_BYTES : end])
            rest = rest[whole:]
        self._rest[pipe] = rest

    def _frame(self, pipe: StreamPipe, header: frames.FrameHeader, record: bytes) -> None:
        spec = m.BY_OPCODE[header.opcode]
        name = spec.request.__name__
        if name not in self._events.watched:
            return
        if header.flags == frames.REQUEST:
            text = shown(decode(spec.request, record))
        elif header.flags == frames.REPLY:
            text = f"{name}: {answer_line(decode(spec.reply, record))}"
        else:
            refused = decode(m.ErrorReply, record)
            text = f"{name}: {error_line(from_wire(refused.code, refused.message))}"
        source, target = (name.removeprefix("host-") for name in pipe.names)
        self._events.tell("", f"{source} > {target}  {text}")


def error_line(error: BaseException) -> str:
    """An error as a user sees it, without the path that he gave."""
    text = error.message if isinstance(error, MemfsError) else str(error)
    return f"{type(error).__name__}: {text}"


def view_line(view: View | None) -> str:
    """A view in words."""
    if view is None:
        return "no view"
    names = {member.number: _name(member.name, member.number) for member in view.members}
    in_sync = " ".join(names[number] for number in view.in_sync)
    text = f"epoch {view.epoch}: primary {names[view.primary]}; in sync {in_sync}"
    leaving = [names[member.number] for member in view.members if member.leaving]
    text += f", at least {view.min_in_sync}; members {' '.join(names.values())}"
    return text + (f"; leaving {' '.join(leaving)}" if leaving else "")


def _name(name: str, number: int) -> str:
    """``n2`` of the member with number 2 on the host of that name; another number is told."""
    return name if name == f"n{number}" else f"{name}(member {number})"


def shown(record: Any) -> str:
    """A request with the fields that were given."""
    return f"{type(record).__name__}({', '.join(_told(record))})".removesuffix("()")


def answer_line(record: Any) -> str:
    """A reply: its only field, or the fields that say something."""
    told = _told(record)
    lone = len(record) - len(record._field_defaults) == 1 or len(record) == 1
    return told[0].split("=", 1)[1] if lone and len(told) == 1 else ", ".join(told) or "done"


def _told(record: Any) -> list[str]:
    defaults = record._field_defaults
    values = zip(record._fields, record, strict=True)
    return [f"{n}={_value(v)}" for n, v in values if v != defaults.get(n) and n not in UNTOLD]


def _value(value: Any) -> str:
    if isinstance(value, View):
        return f"view of epoch {value.epoch}"
    if isinstance(value, Member):
        return value.name
    if isinstance(value, Attributes):
        kind = ("file", "directory", "symlink")[value.kind]
        size = "" if value.kind else f", {value.size} bytes, generation {value.generation}"
        return f"{kind} {value.inode}{size}"
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return "[" + " ".join(map(_value, value)) + "]"
    return shown(value) if isinstance(value, tuple) else str(value)


def _field(value: object) -> str:
    if isinstance(value, BaseException):
        reason = value.message if isinstance(value, MemfsError) else str(value)
        return f'"{reason or type(value).__name__}"'
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return "[" + " ".join(map(str, value)) + "]"
    text = str(value)
    return f'"{text}"' if " " in text else text
