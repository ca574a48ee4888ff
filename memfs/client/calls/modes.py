"""Open modes, exactly as the builtin ``open`` reads them. Pure."""

from __future__ import annotations

import errno
import os
import warnings
from typing import NamedTuple

from memfs.client.calls import arguments
from memfs.errors import InvalidArgumentError


class Mode(NamedTuple):
    """A parsed open mode."""

    text: str
    """As it was given."""
    reading: bool
    writing: bool
    appending: bool
    creating: bool
    """``x``: the file must not exist."""
    truncating: bool
    """``w``: the file begins empty."""
    updating: bool
    """``+``: reading and writing."""
    binary: bool

    @property
    def raw(self) -> str:
        """The mode attribute of the raw file object, as ``io.FileIO`` shows it."""
        kind = "x" if self.creating else "a" if self.appending else "w" if self.truncating else "r"
        if kind == "w" and self.updating:
            kind = "r"  # FileIO shows "w+" as an update of the file that it has just emptied
        return f"{kind}b{'+' * self.updating}"


def parse(mode: str) -> Mode:
    """Parse ``mode``. Raises ValueError (and TypeError) with the texts of the builtin."""
    if not isinstance(mode, str):
        raise TypeError(f"open() argument 'mode' must be str, not {type(mode).__name__}")
    given = set(mode)
    if given - set("axrwb+t") or len(mode) > len(given):
        raise ValueError(f"invalid mode: {mode!r}")
    if "t" in given and "b" in given:
        raise ValueError("can't have text and binary mode at once")
    if len(given & set("axrw")) > 1:
        raise ValueError("must have exactly one of create/read/write/append mode")
    if not given & set("axrw"):
        raise ValueError(
            "Must have exactly one of create/read/write/append mode and at most one plus"
        )
    updating = "+" in given
    return Mode(
        text=mode,
        reading="r" in given or updating,
        writing="r" not in given or updating,
        appending="a" in given,
        creating="x" in given,
        truncating="w" in given,
        updating=updating,
        binary="b" in given,
    )


def check_text_arguments(
    mode: Mode, buffering: int, encoding: str | None, errors: str | None, newline: str | None
) -> None:
    """Refuse the combinations that the builtin refuses. Raises ValueError, TypeError."""
    buffering = arguments.whole("buffering", buffering)
    given = (("encoding", encoding), ("errors", errors), ("newline", newline))
    for name, value in given:
        if not isinstance(value, str | None):
            raise TypeError(f"{name} must be str or None, not {type(value).__name__}")
    if mode.binary:
        for name, value in given:
            if value is not None:
                raise ValueError(f"binary mode doesn't take {name!r} argument")
        if buffering == 1:
            text = (
                "line buffering (buffering=1) isn't supported in binary mode, "
                "the default buffer size will be used"
            )
            warnings.warn(text, RuntimeWarning, stacklevel=3)
    elif buffering == 0:
        raise ValueError("can't have unbuffered text I/O")
    if newline not in (None, "", "\n", "\r", "\r\n"):
        raise ValueError(f"illegal newline value: {newline!r}")


def sparse(whence: int) -> bool:
    """Does a seek look for data or a hole (SEEK_DATA, SEEK_HOLE)?"""
    return whence in (os.SEEK_DATA, os.SEEK_HOLE)


def found(target: int | None) -> int:
    """Where such a seek leads. Raises OSError (ENXIO) when there is nothing more."""
    if target is None:
        raise OSError(errno.ENXIO, "no data or hole from there on")
    return target


def absolute(position: int, offset: int, whence: int, size: int) -> int:
    """Target of a seek. Raises InvalidArgumentError for a bad ``whence`` or a negative result.

    Numbers of the wrong type or size are TypeError and OverflowError, as the builtin has them.
    """
    offset, whence = arguments.offset("offset", offset), arguments.whole("whence", whence)
    if whence == os.SEEK_SET:
        target = offset
    elif whence == os.SEEK_CUR:
        target = position + offset
    elif whence == os.SEEK_END:
        target = size + offset
    else:
        raise InvalidArgumentError(f"invalid whence ({whence}, should be 0, 1 or 2)")
    if target < 0:
        raise InvalidArgumentError(f"negative seek position {target}")
    if target > arguments.OFFSET_MAX:
        raise InvalidArgumentError(f"seek position {target} has more than 64 bits")
    return target
