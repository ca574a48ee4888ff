"""Logs: one record a line, whatever it holds."""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memfs import logs
from memfs.errors import UnavailableError
from memfs.logs import JsonFormatter, RateLimit, Seldom, TextFormatter, fields

LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (\w+) ([\w.]+): (.*)", re.DOTALL)


@pytest.fixture
def restored() -> Iterator[None]:
    """The logging of the test run, put back afterwards."""
    root, ours = logging.getLogger(), logging.getLogger("memfs")
    before = root.handlers[:], root.level, ours.level, logging.raiseExceptions
    yield
    root.handlers[:], level, our_level, logging.raiseExceptions = before
    root.setLevel(level)
    ours.setLevel(our_level)


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("memfs.node", logging.INFO, "x.py", 1, message, arguments, None)
    vars(made).update(fields(**extra))
    return made


def test_a_program_that_sets_up_no_logging_hears_nothing() -> None:
    program = "import logging, memfs; logging.getLogger('memfs.client').error('loud')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout + done.stderr == b""


def test_what_strangers_cause_is_limited() -> None:
    limit = RateLimit(count=2, seconds=10)

    def passes(at: float, message: str, *arguments: object) -> str:
        made = record(message, *arguments)
        made.created, made.name = at, "memfs.transport.framing"
        return made.getMessage() if limit.filter(made) else ""

    assert [passes(0, "bad %d", n) for n in range(5)] == ["bad 0", "bad 1", "", "", ""]
    assert passes(5, "worse") == "worse"
    assert passes(11, "bad %d", 9) == "bad 9 (and 3 like it that were not logged)"
    assert [passes(12, "bad %d", n) for n in range(2)] == ["bad 0", ""]
    after_the_clock_was_set_back = passes(1, "bad %d", 7)
    assert after_the_clock_was_set_back == "bad 7 (and 1 like it that were not logged)"
    assert all(limit.filter(record("of our own")) for _ in range(9))


def test_text() -> None:
    line = TextFormatter({}).format(record("member %s", "joined", member=3, node="a b", up=True))
    found = LINE.fullmatch(line)
    assert found is not None
    assert found.groups()[1:] == ("info", "memfs.node", 'member joined member=3 node="a b" up=true')


def test_json() -> None:
    line = JsonFormatter({"node": "n1"}).format(record("joined", member=3, ok=None, at=[1, 2]))
    content = json.loads(line)
    assert content.pop("time").endswith("Z")
    assert content == {
        "level": "info",
        "logger": "memfs.node",
        "message": "joined",
        "node": "n1",
        "member": 3,
        "ok": None,
        "at": [1, 2],
    }


def test_errors_as_fields_name_their_class() -> None:
    error = UnavailableError("nobody")
    assert 'reason="UnavailableError: nobody"' in TextFormatter({}).format(
        record("failed", reason=error)
    )


def test_a_field_wins_over_a_constant() -> None:
    line = TextFormatter({"node": "a"}).format(record("x", node="b"))
    assert line.endswith("x node=b")


def test_reserved_fields_are_bugs() -> None:
    with pytest.raises(AssertionError):
        fields(message="x")


@pytest.mark.parametrize("form", [TextFormatter, JsonFormatter])
@given(message=st.text(), value=st.one_of(st.text(), st.lists(st.text(max_size=5), max_size=3)))
def test_nothing_ends_the_line(form: type, message: str, value: object) -> None:
    line = form({}).format(record(message.replace("%", "%%"), value=value))
    assert line.splitlines() == [line]
    assert line.isprintable()


def test_a_field_cannot_pass_for_another() -> None:
    line = TextFormatter({}).format(record("x", user='eve" admin=true', empty=""))
    assert line.endswith(r'user="eve\" admin=true" empty=""')


def test_traceback_lines_are_indented() -> None:
    made = record("failed")
    try:
        raise ValueError("a\n2026-01-01T00:00:00.000Z info memfs: forged")
    except ValueError as error:
        made.exc_info = (type(error), error, error.__traceback__)
    first, *others = TextFormatter({}).format(made).splitlines()
    assert LINE.fullmatch(first)
    assert others and all(line.startswith("    ") for line in others)
    assert "forged" in json.loads(JsonFormatter({}).format(made))["exception"]


@pytest.mark.usefixtures("restored")
def test_configure() -> None:
    stream = io.StringIO()
    logs.configure("info", "json", stream=stream, constant={"node": "n1"})
    log = logging.getLogger("memfs.node.test")
    log.debug("hidden")
    log.info("shown", extra=fields(member=1))
    logging.getLogger("aiohttp").info("hidden")
    logging.getLogger("aiohttp").warning("shown too")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["message"], line["node"]) for line in lines] == [
        ("shown", "n1"),
        ("shown too", "n1"),
    ]


@pytest.mark.usefixtures("restored")
def test_configure_twice_does_not_double() -> None:
    stream = io.StringIO()
    logs.configure(stream=io.StringIO())
    logs.configure("debug", stream=stream)
    logging.getLogger("memfs").debug("once")
    assert stream.getvalue().count("once") == 1


def test_the_same_news_is_told_seldom() -> None:
    now = [0.0]
    news = Seldom(lambda: now[0], 10.0)
    assert [news.is_news("a"), news.is_news("b")] == [True, True]
    now[0] = 9.9
    assert not news.is_news("a")
    now[0] = 10.0
    assert news.is_news("a")
    now[0] = 15.0
    assert not news.is_news("a")
    news.forget()
    assert news.is_news("a")
