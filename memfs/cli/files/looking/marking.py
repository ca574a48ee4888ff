"""What ``cat`` does to lines: numbers, ends, tabs and bytes that show nothing. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

_HIDDEN = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f-\xff]")


class Marks(NamedTuple):
    """The options of ``cat``."""

    number: bool
    nonblank: bool
    squeeze: bool
    ends: bool
    tabs: bool
    hidden: bool


class Marking:
    """Marks what it is given piece by piece; the numbering continues from one file to the next."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self.idle = not any(marks)
        self._numbers = marks.number or marks.nonblank
        self._count = 0
        self._blanks = 0
        self._inside = False
        """The last line is not complete yet."""
        self._return = b""
        """The end of the last piece, which is shown only if no line ends behind it."""

    def marked(self, data: bytes) -> bytes:
        """The lines of ``data``; the last one may continue in the next call."""
        data, self._return = self._return + data, b""
        if self._marks.ends and not self._marks.hidden and data.endswith(b"\r"):
            data, self._return = data[:-1], b"\r"
        *whole, rest = data.split(b"\n")
        lines = [self._line(each + b"\n") for each in whole]
        return b"".join([*lines, self._line(rest)] if rest else lines)

    def rest(self) -> bytes:
        """What was held back, at the end of all."""
        return self._return

    def _line(self, line: bytes) -> bytes:
        begins, self._inside = not self._inside, not line.endswith(b"\n")
        blank = begins and line == b"\n"
        self._blanks = self._blanks + 1 if blank else 0
        if self._marks.squeeze and self._blanks > 1:
            return b""
        before = b""
        if self._numbers and begins and not (self._marks.nonblank and blank):
            self._count += 1
            before = b"%6d\t" % self._count
        return before + self._shown(line)

    def _shown(self, line: bytes) -> bytes:
        content, end = (line, b"") if self._inside else (line[:-1], b"\n")
        if self._marks.hidden:
            content = _HIDDEN.sub(lambda found: _caret(found[0][0]), content)
        elif self._marks.ends and end and content.endswith(b"\r"):
            content = content[:-1] + b"^M"
        if self._marks.tabs:
            content = content.replace(b"\t", b"^I")
        return content + b"$" * (self._marks.ends and bool(end)) + end


def _caret(byte: int) -> bytes:
    meta, low = byte >= 0x80, byte & 0x7F
    shown = b"^%c" % (low ^ 0x40) if low < 0x20 or low == 0x7F else b"%c" % low
    return b"M-" + shown if meta else shown
