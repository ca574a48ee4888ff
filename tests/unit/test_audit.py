"""The audit log: which decisions are written, how, and how many."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from memfs import logs
from memfs.audit import Audit, Decision, verdict
from memfs.errors import AccessDeniedError, InvalidTokenError, PathNotFoundError


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What the process writes, set up for people and for little of it."""
    root, audit = logging.getLogger(), logging.getLogger(logs.AUDIT)
    memfs = logging.getLogger("memfs")
    former = root.handlers[:], root.level, memfs.level, audit.level, logging.raiseExceptions
    stream = io.StringIO()
    logs.configure("error", "text", stream=stream)
    yield stream
    root.handlers[:], level, memfs_level, audit_level, logging.raiseExceptions = former
    root.setLevel(level)
    memfs.setLevel(memfs_level)
    audit.setLevel(audit_level)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def decision(allowed: bool = True, user: str = "alice", path: str = "/a") -> Decision:
    return Decision(user, "10.0.0.1", "Lookup", allowed, "ok" if allowed else "No", path)


def test_a_line_is_json_whatever_the_log_is(stream: io.StringIO) -> None:
    Audit("on", Clock()).write(decision()._replace(real_user="gateway"))
    (line,) = lines(stream)
    assert line["logger"] == "memfs.audit" and line["user"] == "alice"
    assert line["real_user"] == "gateway" and line["address"] == "10.0.0.1"
    assert (line["operation"], line["allowed"], line["result"]) == ("Lookup", True, "ok")
    assert line["path"] == "/a"


def test_nothing_in_a_name_makes_a_line(stream: io.StringIO) -> None:
    evil = '/x\n{"logger": "memfs.audit"}\r\u2028\x1b[2J\udcff"}'
    Audit("on", Clock()).write(decision(path=evil, user="eve\nroot"))
    (line,) = lines(stream)
    assert line["path"] == evil and line["user"] == "eve\nroot"
    assert stream.getvalue().isascii() and stream.getvalue()[:-1].isprintable()


@pytest.mark.parametrize(
    ("level", "written"), [("off", []), ("deny", [False]), ("on", [True, False])]
)
def test_the_setting_says_what_is_written(
    stream: io.StringIO, level: str, written: list[bool]
) -> None:
    audit = Audit(level, Clock())
    for allowed in (True, False):
        audit.write(decision(allowed))
    assert [line["allowed"] for line in lines(stream)] == written


def test_a_flood_is_counted_and_hides_no_refusal(stream: io.StringIO) -> None:
    clock = Clock()
    audit = Audit("on", clock, rate=3)
    for _ in range(10):
        audit.write(decision())
    audit.write(decision(allowed=False))
    audit.write(decision(user="bob"))
    assert [(line["user"], line["allowed"]) for line in lines(stream)] == [
        *[("alice", True)] * 3,
        ("alice", False),
        ("bob", True),
    ]
    clock.now = 1.0
    audit.write(decision())
    told, fresh = lines(stream)[5:]
    assert (told["message"], told["user"], told["left_out"]) == ("left out", "alice", 7)
    assert fresh["message"] == "request"


def test_many_parties_together_are_bounded(stream: io.StringIO) -> None:
    audit = Audit("on", Clock(), rate=1)
    for number in range(50):
        audit.write(decision(user=f"u{number}"))
    assert len(lines(stream)) == 10
    audit.flush()
    told = lines(stream)[10:]
    assert len(told) == 11, "ten by name, and the others together"
    assert sum(int(str(line["left_out"])) for line in told) == 40


def test_what_says_may_not_is_no_other_failure() -> None:
    assert verdict(None) == (True, "ok")
    assert verdict(PathNotFoundError("")) == (True, "PathNotFoundError")
    assert verdict(AccessDeniedError("")) == (False, "AccessDeniedError")
    assert verdict(InvalidTokenError("")) == (False, "InvalidTokenError")
