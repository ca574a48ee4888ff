"""Standard input, output and error of a command: always open, and failed writes are noticed. A
descriptor that is closed at the start would be given to the next socket. Invariant: 0, 1 and 2 are
open from here on; one that was closed fails when it is used, as in coreutils. A failed write to the
standard output is an :class:`OutputError`, which is not attributed to an operand of the command.
"""

from __future__ import annotations

import codecs
import fcntl
import io
import os
import sys

INPUT, OUTPUT, ERROR = 0, 1, 2
OCTETS = "memfs.octets"
"""How text that holds what ``os.fsdecode`` made of odd bytes is written: as those bytes."""


class OutputError(Exception):
    """The standard output takes no more. Not an OSError: those belong to operands."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"write error: {error.strerror}")


class _Output(io.FileIO):
    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(error) from None


def prepare() -> None:
    """Make the three descriptors and ``sys``'s three files."""
    for descriptor, mode in ((INPUT, os.O_WRONLY), (OUTPUT, os.O_RDONLY), (ERROR, os.O_RDWR)):
        try:
            fcntl.fcntl(descriptor, fcntl.F_GETFD)
        except OSError:
            opened = os.open(os.devnull, mode)  # the lowest that is free: this one
            assert opened == descriptor, "those below are open"
    if sys.stdin is None:
        sys.stdin = open(INPUT, closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(ERROR, "w", closefd=False, errors="backslashreplace")  # noqa: SIM115
    elif isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Output(OUTPUT, "w", closefd=False)),
        encoding=getattr(sys.stdout, "encoding", None) or "utf-8",
        errors=OCTETS,
        line_buffering=os.isatty(OUTPUT),
    )


def _octets(error: UnicodeError) -> tuple[str | bytes, int]:
    """The bytes, or escapes of what an encoding other than UTF-8 does not have."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeEncodeError:
        return codecs.lookup_error("backslashreplace")(error)


codecs.register_error(OCTETS, _octets)


def serve() -> None:
    """Let a serving command go on when its output is closed."""
    if fcntl.fcntl(OUTPUT, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        discard()


def discard() -> None:
    """Discard what is still buffered and everything that follows."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, OUTPUT)
    os.close(nowhere)
