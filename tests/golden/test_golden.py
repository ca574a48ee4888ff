"""The bytes of every message are what they were, and docs/protocol.md says what the code says.

After adding a message: ``python -m tests.golden.record``.
"""

from __future__ import annotations

import pytest

from memfs.protocol import frames
from memfs.protocol.messages import BY_OPCODE, ErrorReply
from memfs.protocol.records import decode

from .record import FRAMES
from .samples import EPOCH, golden_texts, parse_frames, sample
from .tables import DOCUMENT, render

TEXTS = golden_texts()


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_bytes_are_unchanged(name):
    path = FRAMES / name
    assert path.exists(), "not recorded yet: python -m tests.golden.record"
    assert path.read_text(encoding="utf-8") == TEXTS[name]


def test_no_message_has_vanished():
    assert {path.name for path in FRAMES.iterdir()} == set(TEXTS)


@pytest.mark.parametrize("spec", BY_OPCODE.values(), ids=lambda spec: spec.request.__name__)
def test_recorded_frames_decode(spec):
    text = (FRAMES / f"{spec.request.__name__}.txt").read_text(encoding="utf-8")
    asked, answered = parse_frames(text)
    assert unpacked(asked, spec.request) == (frames.REQUEST, spec.opcode, sample(spec.request, ""))
    assert unpacked(answered, spec.reply) == (frames.REPLY, spec.opcode, sample(spec.reply, ""))


def test_recorded_error_decodes():
    (frame,) = parse_frames((FRAMES / "error.txt").read_text(encoding="utf-8"))
    assert unpacked(frame, ErrorReply) == (frames.ERROR, 64, sample(ErrorReply, ""))


def test_document_is_up_to_date():
    document = DOCUMENT.read_text(encoding="utf-8")
    assert render(document) == document, "run python -m tests.golden.record"


def unpacked(frame, cls):
    header = frames.unpack_header(frame)
    record = frame[frames.HEADER_BYTES :]
    frames.check_record(header, record)
    assert header.record_length == len(record)
    assert header.epoch == EPOCH
    return header.flags, header.opcode, decode(cls, record)
