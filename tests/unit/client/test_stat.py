"""What the file system says of a file, beside what ``os`` says of one on this host."""

from __future__ import annotations

import copy
import json
import os
import pickle
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memfs.client.stat import Stat
from memfs.types import Attributes, FileKind

TIMES = (1, 1_041_808_783_000_000_000, 1_700_000_000_250_000_000, 1_234_567_890_123_456_789)

QUESTIONS: dict[str, Callable[[Any], object]] = {
    "length": len,
    "type and mode": lambda found: found[stat.ST_MODE],
    "size": lambda found: found[stat.ST_SIZE],
    "links": lambda found: found[stat.ST_NLINK],
    "owner": lambda found: (found[stat.ST_UID], found[stat.ST_GID]),
    "owner's names": lambda found: (found.st_uid, found.st_gid),
    "times, whole seconds": lambda found: tuple(found[stat.ST_ATIME : stat.ST_MTIME + 1]),
    "from the end": lambda found: found[-2],
    "unpacked": lambda found: (lambda mode, _i, _d, links, *rest: (mode, links, *rest[:5]))(*found),
    "as a tuple": lambda found: tuple(found)[6:9],
    "backwards": lambda found: list(reversed(found))[1:4],
    "contains": lambda found: found.st_size in found,
    "where": lambda found: found.index(found.st_size),
    "exact": lambda found: (found.st_atime_ns, found.st_mtime_ns),
    "seconds": lambda found: (found.st_atime, found.st_mtime),
    "kind": lambda found: (stat.S_ISREG(found.st_mode), stat.filemode(found.st_mode)),
    "same file": lambda found: os.path.samestat(found, found),
    "equal": lambda found: found == found,
    "a tuple": lambda found: isinstance(found, tuple),
    "a plain tuple's equal": lambda found: (found == tuple(found), tuple(found) == found),
    "unequal": lambda found: (found != tuple(found), found == (), found != 1, found == "x"),
    "in order": lambda found: (found < (), found <= tuple(found), found > (1,), found <= ()),
    "hashed": lambda found: hash(found) == hash(tuple(found)),
    "in a set": lambda found: tuple(found) in {found},
    "joined": lambda found: (found + (1,) == (*found, 1), (1,) + found == (1, *found)),  # noqa: RUF005
    "repeated": lambda found: (found * 2 == tuple(found) * 2, len(2 * found)),
    "counted": lambda found: found.count(found.st_size) >= 1,
    "truth": bool,
    "copied": lambda found: copy.deepcopy(found) == found == copy.copy(found),
    "pickled": lambda found: pickle.loads(pickle.dumps(found)).st_mtime_ns,
    "as arguments": lambda found: (lambda *given: given[6])(*found),
    "from after": lambda found: found.index(found.st_size, 6),
    "as JSON": lambda found: json.loads(json.dumps(found))[6],
    "matched": lambda found: _matched(found),
    "printed numbers": lambda found: "{0[6]} {0.st_size}".format(found),  # noqa: UP032
    "largest": lambda found: max([found, (0,)]) is found,
    "packed": lambda found: struct.pack("10Q", *found)[48:56],
}


def _matched(found: Any) -> object:
    match found:
        case (mode, _, _, links, *_):
            return mode, links
    return None


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("when", TIMES)
def test_as_a_stat_result(tmp_path: Path, when: int, question: str) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"12345")
    path.chmod(0o640)
    os.utime(path, ns=(when, when))
    real = path.stat()
    ours = Stat(
        Attributes(
            *(real.st_ino, FileKind.FILE, 0o640, 1, path.owner(), path.group(), 5),
            *(when, real.st_ctime_ns, when, 4096, 4, 1, 1, 0),
        )
    )
    assert QUESTIONS[question](ours) == QUESTIONS[question](real)


def test_beyond_the_end() -> None:
    ours = Stat(Attributes(1, FileKind.FILE, 0o644, 1, "a", "a", 5, 1, 1, 1, 4096, 4, 1, 1, 0))
    with pytest.raises(IndexError):
        ours[10]
    assert pickle.loads(pickle.dumps(ours)) == ours
