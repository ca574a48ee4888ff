"""One frame of every message, made of sample values that depend on nothing but the field names."""

from __future__ import annotations

import types
import typing
import zlib
from typing import Any

from memfs.protocol import frames
from memfs.protocol.messages import BY_OPCODE, ErrorReply, Spec
from memfs.protocol.records import encode

EPOCH = 7
TIMEOUT_MS = 30_000
REQUEST_ID_BASE = 1 << 40
LINE_BYTES = 32


def sample(hint: Any, name: str) -> Any:
    """A value of the type ``hint`` for a field called ``name``."""
    seed = zlib.crc32(name.encode())
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is int:
        return seed % 2 ** (8 * (1 + seed % 4))
    if hint is float:
        return seed / 64
    if hint is bool:
        return True
    if hint is str:
        return f"{name}-ü"
    if hint is bytes:
        return f"{name}-\N{SNOWMAN}".encode()
    if origin is tuple:
        return tuple(sample(arguments[0], f"{name}{index}") for index in range(2))
    if origin in (typing.Union, types.UnionType):
        (inner,) = (argument for argument in arguments if argument is not types.NoneType)
        return sample(inner, name)
    hints = typing.get_type_hints(hint)
    return hint(*(sample(hints[field], field) for field in hint._fields))


def golden_text(spec: Spec) -> str:
    """The golden file of a message."""
    request, reply = sample(spec.request, "request"), sample(spec.reply, "reply")
    request_id = REQUEST_ID_BASE + spec.opcode
    asked = frames.pack_frame(
        frames.REQUEST, spec.opcode, request_id, EPOCH, TIMEOUT_MS, encode(request)
    )
    answered = frames.pack_frame(frames.REPLY, spec.opcode, request_id, EPOCH, 0, encode(reply))
    return (
        f"message {spec.request.__name__}\nopcode {spec.opcode}\n"
        f"\nrequest {request!r}\n{_dump(asked)}\nreply {reply!r}\n{_dump(answered)}"
    )


def golden_error_text() -> str:
    """The golden file of an error, here the answer to opcode 64."""
    error = sample(ErrorReply, "error")
    frame = frames.pack_frame(frames.ERROR, 64, REQUEST_ID_BASE + 64, EPOCH, 0, encode(error))
    return f"an error\n\nreply {error!r}\n{_dump(frame)}"


def golden_texts() -> dict[str, str]:
    """File name to text, for every message and for the error."""
    texts = {f"{spec.request.__name__}.txt": golden_text(spec) for spec in BY_OPCODE.values()}
    return texts | {"error.txt": golden_error_text()}


def parse_frames(text: str) -> list[bytes]:
    """The frames in a golden file: runs of indented lines of hexadecimal digits."""
    found: list[bytes] = []
    inside = False
    for line in text.splitlines():
        if line.startswith("  "):
            if not inside:
                found.append(b"")
            found[-1] += bytes.fromhex(line)
        inside = line.startswith("  ")
    return found


def _dump(frame: bytes) -> str:
    lines = (frame[at : at + LINE_BYTES].hex(" ", 4) for at in range(0, len(frame), LINE_BYTES))
    return "".join(f"  {line}\n" for line in lines)
