"""What released versions say on the wire is understood by today's code, for good.

``frozen/VERSION`` holds the golden frames of a release as they were; nothing there is ever changed.
"""

from __future__ import annotations

from pathlib import Path

import msgpack
import pytest

from memfs import errors
from memfs.protocol import frames
from memfs.protocol.messages import BY_OPCODE, ErrorReply
from memfs.protocol.records import decode
from memfs.testing.simulation.virtual import run
from tests.unit.transport.loopback import connected

from .samples import parse_frames

FROZEN = Path(__file__).parent / "frozen"
FILES = sorted(FROZEN.glob("*/*.txt"))


def check_same(plain, record, where):
    """``record`` holds what was sent, and the default of every field that was appended since."""
    if not hasattr(record, "_fields"):
        if isinstance(record, tuple):
            assert len(plain) == len(record), where
            for index, pair in enumerate(zip(plain, record, strict=True)):
                check_same(*pair, f"{where}[{index}]")
        else:
            assert plain == record, where
        return
    assert len(plain) <= len(record._fields), f"{where}: a field has vanished"
    for index, name in enumerate(record._fields):
        if index < len(plain):
            check_same(plain[index], record[index], f"{where}.{name}")
        else:
            assert record[index] == record._field_defaults[name], f"{where}.{name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_frames_of_a_release_are_understood(path):
    for frame in parse_frames(path.read_text(encoding="utf-8")):
        header = frames.unpack_header(frame)
        raw = frame[frames.HEADER_BYTES :]
        frames.check_record(header, raw)
        spec = BY_OPCODE[header.opcode]
        kind = {frames.REQUEST: spec.request, frames.REPLY: spec.reply}.get(
            header.flags, ErrorReply
        )
        assert path.stem in ("error", spec.request.__name__), "the message has another name now"
        check_same(msgpack.unpackb(raw, use_list=False), decode(kind, raw), kind.__name__)


def test_every_message_of_a_release_has_frames():
    assert len(FILES) == 56 and len(parse_frames(FILES[0].read_text(encoding="utf-8"))) == 2


@pytest.mark.parametrize("code", sorted(errors.BY_CODE))
def test_an_error_of_a_newer_peer_keeps_its_sense(code):
    known = errors.from_wire(code, "said", None)
    assert type(known) is errors.BY_CODE[code] and known.message == "said"


# --- versions are negotiated ---------------------------------------------------------------------


@pytest.mark.parametrize("offered", [(1, 1), (1, 2), (0, 1), (0, 9)])
def test_ranges_that_overlap_meet_at_the_newest_common_version(offered):
    async def main():
        async with connected() as (world, _):
            lowest, highest = offered
            connection = await world.dial(version_min=lowest, version_max=highest)
            assert connection.welcome.version == min(highest, frames.VERSION_MAX)
            connection.close()

    run(main())


@pytest.mark.parametrize("offered", [(2, 3), (0, 0), (7, 7)])
def test_ranges_without_a_common_version_are_refused(offered):
    async def main():
        async with connected() as (world, _):
            lowest, highest = offered
            with pytest.raises(errors.UnsupportedError) as refused:
                await world.dial(version_min=lowest, version_max=highest)
            assert refused.value.message == (
                f"protocol versions {lowest} to {highest} are not spoken here, only "
                f"{frames.VERSION_MIN} to {frames.VERSION_MAX}: use the same release of memfs"
            )
            assert not refused.value.retryable

    run(main())
