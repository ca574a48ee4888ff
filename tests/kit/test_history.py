"""Records of calls: stamps, outcomes, and which errors leave the outcome open."""

from __future__ import annotations

import asyncio

import pytest

from memfs import errors
from memfs.testing.history import NEVER, History, Outcome, classify, story
from memfs.testing.workloads.marked_contents import content, token_of


async def answer(result):
    return result


async def fail(error):
    raise error


def test_stamps_grow_although_the_clock_stands():
    history = History(lambda: 5.0)
    stamps = [history.now() for _ in range(3)]
    assert stamps[0] == 5.0
    assert stamps[0] < stamps[1] < stamps[2] < 5.0001


async def test_a_call_is_recorded_with_its_outcome():
    history = History(lambda: 1.0)
    good = await history.record("p", "k", "read", None, answer("token"))
    assert good.ok and good.result == "token" and good.invoked < good.returned
    bad = await history.record("p", "k", "write", "t", fail(errors.UnavailableError("gone")))
    assert bad.outcome is Outcome.FAIL and bad.returned < NEVER and "gone" in bad.error
    open_ = await history.record("p", "k", "write", "t", fail(errors.OutcomeUnknownError("late")))
    assert open_.pending and open_.returned == NEVER
    assert history.acknowledged == 1
    assert history.counts() == {"ok": 1, "fail": 1, "unknown": 1}
    assert "p write(t) k -> unknown" in history.story("k")
    assert story(history.calls, last=1).startswith("... 2 earlier calls\n")


async def test_a_cancelled_call_is_open_for_ever():
    history = History(lambda: 1.0)
    work = history.record("p", "k", "write", "t", asyncio.sleep(3600))
    task = asyncio.ensure_future(work)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert history.calls[0].pending


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (errors.UnavailableError(), Outcome.FAIL),
        (errors.DeadlineError(), Outcome.FAIL),
        (errors.NoSpaceError(), Outcome.FAIL),
        (errors.LeaseLostError(), Outcome.FAIL),
        (errors.OutcomeUnknownError(), Outcome.UNKNOWN),
        (errors.ProtocolError(), Outcome.UNKNOWN),
        (asyncio.CancelledError(), Outcome.UNKNOWN),
        (ConnectionResetError(), Outcome.UNKNOWN),
    ],
)
def test_which_errors_leave_the_outcome_open(error, outcome):
    assert classify(error) is outcome


def test_contents_name_their_author():
    data = content("w0:12", 5000)
    assert len(data) == 5000
    assert token_of(data) == "w0:12"
    assert token_of(content("w0:12", 3)) == "w0:12"  # a header at least
    damaged = data[:4000] + bytes([data[4000] ^ 1]) + data[4001:]
    assert "from byte 4000" in token_of(damaged).text
    assert "were written" in token_of(data[:4096]).text
    assert "bytes beginning with" in token_of(b"").text
    mixed = data[:4096] + content("w1:9", 5000)[4096:]
    assert "from byte 4096" in token_of(mixed).text
