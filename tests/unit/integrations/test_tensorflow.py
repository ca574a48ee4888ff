"""The parts of the file system for TensorFlow that need none: statuses, buffers, patterns."""

from __future__ import annotations

import ctypes
import signal
from typing import Any

import pytest

from memfs import errors
from memfs.integrations.tensorflow import files
from memfs.integrations.tensorflow.c_interface import Code
from memfs.integrations.tensorflow.callbacks import as_pathlib
from memfs.integrations.tensorflow.files import ReadHandle, ShortRead
from memfs.integrations.tensorflow.status_codes import StatusError, StatusWriter, code_of
from tests.support.patience import PATIENCE_SECONDS


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.PathNotFoundError("x"), Code.NOT_FOUND),
        (errors.PathExistsError("x"), Code.ALREADY_EXISTS),
        (errors.NotDirectoryError("x"), Code.FAILED_PRECONDITION),
        (errors.IsDirectoryError("x"), Code.FAILED_PRECONDITION),
        (errors.DirectoryNotEmptyError("x"), Code.FAILED_PRECONDITION),
        (errors.StaleHandleError("x"), Code.FAILED_PRECONDITION),
        (errors.NoSpaceError("x"), Code.RESOURCE_EXHAUSTED),
        (errors.OutcomeUnknownError("x"), Code.UNKNOWN),
        (errors.DataLossError("x"), Code.DATA_LOSS),
        (errors.InvalidPathError("x"), Code.INVALID_ARGUMENT),
        (KeyboardInterrupt(), Code.CANCELLED),
        (ShortRead(3), Code.OUT_OF_RANGE),
        (ZeroDivisionError(), Code.INTERNAL),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, BaseException) else each.name,
)
def test_statuses(error: BaseException, code: Code) -> None:
    assert code_of(error) is code


class Library:
    """TensorFlow's, as far as it is needed."""

    def __init__(self) -> None:
        self.set: list[tuple[Any, ...]] = []
        self.TF_SetStatus = lambda *given: self.set.append(given)


def test_no_exception_leaves_a_callback() -> None:
    library = Library()
    writer = StatusWriter(library)  # type: ignore[arg-type]

    def act(answer: Any) -> Any:
        if isinstance(answer, BaseException):
            raise answer
        return answer

    call = writer.guarded(act, -1)
    assert call(5, "status") == 5
    assert call(StatusError(Code.UNIMPLEMENTED, "no"), "status") == -1
    assert call(ShortRead(2), "status") == 2
    assert [each[:2] for each in library.set] == [
        ("status", Code.OK),
        ("status", Code.UNIMPLEMENTED),
        ("status", Code.OUT_OF_RANGE),
    ]


def test_an_interrupt_reaches_the_main_thread() -> None:
    """TensorFlow hears that the call was cancelled, and Python raises when it is back."""
    library = Library()

    def act() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        StatusWriter(library).guarded(act, None)("status")  # type: ignore[arg-type]
        signal.sigtimedwait([], PATIENCE_SECONDS)
    assert [each[:2] for each in library.set] == [("status", Code.CANCELLED)]


class File:
    """A file that counts what is asked of it, and gives pieces of at most ``piece`` bytes."""

    def __init__(self, content: bytes, piece: int = 1 << 30) -> None:
        self.content = content
        self.piece = piece
        self.asked: list[tuple[int, int]] = []

    def open(self, path: str, mode: str, buffering: int) -> File:
        return self

    def pread_into(self, target: memoryview, offset: int) -> int:
        self.asked.append((offset, len(target)))
        found = self.content[offset : offset + min(self.piece, len(target))]
        target[: len(found)] = found
        return len(found)


def read(handle: ReadHandle, offset: int, size: int) -> bytes:
    memory = ctypes.create_string_buffer(size)
    try:
        got = handle.read(offset, ctypes.addressof(memory), size)
    except ShortRead as short:
        got = short.result
    return memory.raw[:got]


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "AHEAD_BYTES", 16)


def opened(file: File) -> ReadHandle:
    return ReadHandle(file, "/f")  # type: ignore[arg-type]


CONTENT = bytes(range(100))


def test_what_is_read_in_order_is_fetched_in_large_pieces(ahead: None) -> None:
    file = File(CONTENT)
    handle = opened(file)
    pieces = [read(handle, offset, 3) for offset in range(0, 102, 3)]
    assert b"".join(pieces) == CONTENT
    assert [offset for offset, _ in file.asked] == [0, 16, 32, 48, 64, 80, 96, 100, 100]


def test_what_is_read_here_and_there_is_fetched_as_asked(ahead: None) -> None:
    file = File(CONTENT)
    handle = opened(file)
    assert read(handle, 50, 4) == CONTENT[50:54]
    assert read(handle, 20, 4) == CONTENT[20:24]
    assert file.asked == [(50, 4), (20, 4)]


def test_what_is_larger_than_the_buffer_passes_it_by(ahead: None) -> None:
    file = File(CONTENT)
    assert read(opened(file), 0, 40) == CONTENT[:40]
    assert file.asked == [(0, 40)]


def test_short_pieces_are_put_together(ahead: None) -> None:
    handle = opened(File(CONTENT, piece=5))
    assert read(handle, 0, 10) + read(handle, 10, 10) == CONTENT[:20]
    assert read(handle, 30, 50) == CONTENT[30:80]


def test_a_file_that_grows_is_read_on(ahead: None) -> None:
    file = File(CONTENT[:10])
    handle = opened(file)
    assert read(handle, 0, 12) == CONTENT[:10]
    file.content = CONTENT[:20]
    assert read(handle, 10, 12) == CONTENT[10:20]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("a/*.c", "a/*.c"), ("**/x", "*/x"), (r"\[a\]", "[[]a]"), (r"\a\*", "a[*]"), ("[^a]", "[!a]")],
)
def test_patterns(pattern: str, expected: str) -> None:
    assert as_pathlib(pattern) == expected
