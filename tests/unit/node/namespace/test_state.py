"""Around a command: deduplication, time, digest, what cannot be decoded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memfs import errors, limits
from memfs.node.log.entries import Entry
from memfs.node.namespace import Namespace
from memfs.protocol import messages as m
from memfs.types import Identity

from .machine import BLOCK, SETTINGS, USERS, Machine, blocks_of


def raw(namespace: Namespace, opcode: int, record: bytes, request_id: int = 0) -> Entry:
    return Entry(namespace.applied + 1, 1, 5, 1, request_id, USERS["root"], opcode, record)


# --- ExactlyOnce -------------------------------------------------------------------------------


def at(machine: Machine, request: Any, seconds: float, client: int, request_id: int) -> Any:
    """The outcome of a command at that time of the log."""
    entry = machine.entry(request, client=client, request_id=request_id)
    return machine.apply(entry._replace(now_ns=round(seconds * 1e9)), request)


def test_the_results_of_a_client_that_is_gone_are_forgotten() -> None:
    machine = Machine()
    at(machine, m.MakeDirectory(b"/old"), 0, 8, 900)
    for second in range(0, limits.RESULT_SECONDS + 60, 5):
        at(machine, m.Create(b"/f"), second, 9, 2 * second + 1)
        at(machine, m.Unlink(b"/f"), second, 9, 2 * second + 2)
        if second == limits.RETRY_SECONDS:
            repeated = at(machine, m.MakeDirectory(b"/old"), second, 8, 900)
            assert type(repeated.record) is m.MadeReply
    assert list(machine.namespace.results.by_client) == [9]
    copy = machine.copy().namespace
    assert copy.results.by_client.keys() == {9} and copy.results.bytes > 0


def test_a_clock_that_is_set_forward_forgets_nobody() -> None:
    machine = Machine()
    at(machine, m.MakeDirectory(b"/d"), 0, 8, 900)
    at(machine, m.MakeDirectory(b"/e"), 10 * limits.RESULT_SECONDS, 9, 900)
    assert {8, 9} <= set(machine.namespace.results.by_client)


def test_a_member_that_came_by_a_snapshot_forgets_at_the_same_entry() -> None:
    machine = Machine()
    at(machine, m.MakeDirectory(b"/d"), 0, 8, 900)
    at(machine, m.MakeDirectory(b"/e"), 7, 9, 900)
    copy, second = machine.copy().namespace, 7
    while machine.namespace.results.by_client:
        second += 5
        entry = machine.entry(m.Ping(), client=0, request_id=0)._replace(now_ns=second * 10**9)
        machine.namespace.apply(entry)
        copy.apply(entry)
        assert list(copy.results.by_client) == list(machine.namespace.results.by_client)


@pytest.mark.parametrize("decoded", [True, False])
def test_a_repeated_command_gets_the_recorded_result(decoded: bool) -> None:
    machine = Machine()
    machine.file("/f", BLOCK)
    request = m.Create(b"/f")
    first = machine.apply(machine.entry(request, request_id=900), request)
    assert len(first.discards) == 1 and isinstance(first.record, m.LeaseReply)
    before = machine.stat("/f")
    repeated = machine.apply(machine.entry(request, request_id=900), request if decoded else None)
    assert repeated[:2] == (first.record, ()) and type(repeated.record) is m.LeaseReply
    assert machine.stat("/f") == before


@pytest.mark.parametrize("restored", [True, False])
def test_an_id_that_was_another_requests_is_refused(restored: bool) -> None:
    """Another kind of command, another content, another user: none gets what is recorded."""
    machine = Machine()
    machine.run(m.AddTokenKey(bytes(32), 1 << 40, 1 << 41))
    token = m.IssueToken("yarn")
    first = machine.apply(machine.entry(token, "alice", request_id=900), token)
    machine = machine.copy() if restored else machine
    for request, user in (
        (token, "bob"),
        (m.IssueToken("bob"), "alice"),
        (m.MakeDirectory(b"/d"), "alice"),
    ):
        outcome = machine.apply(machine.entry(request, user, request_id=900), request)
        assert outcome.record.code == errors.InvalidArgumentError.code
        assert "request id 900" in outcome.record.message
    assert machine.names("/") == []
    assert machine.apply(machine.entry(token, "alice", request_id=900)) == first


def test_a_refusal_is_repeated_too() -> None:
    machine = Machine()
    request = m.Unlink(b"/f")
    first = machine.apply(machine.entry(request, request_id=900), request)
    machine.file("/f")
    assert machine.apply(machine.entry(request, request_id=900), request) == first
    assert first.record.code == errors.PathNotFoundError.code
    assert machine.names("/") == ["f"]


def test_a_retryable_refusal_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    request = m.Create(b"/f")
    with monkeypatch.context() as patch:
        patch.setattr(limits, "SESSIONS", 0)
        outcome = machine.apply(machine.entry(request, request_id=900), request)
        assert outcome.record.code == errors.BusyError.code
    outcome = machine.apply(machine.entry(request, request_id=900), request)
    assert isinstance(outcome.record, m.LeaseReply)


def test_other_clients_and_requests_are_others() -> None:
    machine = Machine()
    request = m.MakeDirectory(b"/d")
    codes = [
        getattr(machine.apply(machine.entry(request, client=c, request_id=r)).record, "code", 0)
        for c, r in ((1, 900), (1, 901), (2, 900), (0, 900), (0, 900), (1, 0), (1, 0))
    ]
    assert codes == [0] + [errors.PathExistsError.code] * 6
    machine.run(m.RemoveDirectory(b"/d"))
    for client, request_id in ((0, 900), (1, 0)):  # these are never recorded
        outcome = machine.apply(machine.entry(request, client=client, request_id=request_id))
        assert isinstance(outcome.record, m.MadeReply)
        machine.run(m.RemoveDirectory(b"/d"))


def test_what_was_pushed_out_is_unknown_not_done_again() -> None:
    """UnknownIsNotFailure."""
    machine = Machine()
    request = m.MakeDirectory(b"/d")
    machine.apply(machine.entry(request, client=7, request_id=1), request)
    machine.run(m.RemoveDirectory(b"/d"))
    for request_id in range(2, limits.RESULTS_PER_SESSION + 2):
        nothing = m.Unlink(b"/x")
        machine.namespace.apply(machine.entry(nothing, client=7, request_id=request_id), nothing)
    outcome = machine.apply(machine.entry(request, client=7, request_id=1), request)
    assert outcome.record.code == errors.OutcomeUnknownError.code
    assert machine.names("/") == []
    outcome = machine.apply(machine.entry(m.Unlink(b"/x"), client=7, request_id=2))
    assert outcome.record.code == errors.PathNotFoundError.code


def test_recorded_results_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RESULT_BYTES_TOTAL", 10_000)
    monkeypatch.setattr(limits, "SESSIONS", 20)
    machine = Machine()
    results = machine.namespace.results
    for number in range(500):
        request = m.SetAttributes(b"/", mode=0o777)
        machine.namespace.apply(
            machine.entry(request, client=1 + number % 37, request_id=number + 1), request
        )
        held = [r for c in results.by_client.values() for r in c.by_request.values()]
        assert results.bytes == sum(len(result) + 120 for result in held) <= 10_000
        assert results.bytes == sum(c.bytes for c in results.by_client.values())
        assert len(results.by_client) <= 20
    assert list(results.by_client)[-1] == 1 + 499 % 37


# --- time and digest ---------------------------------------------------------------------------


@pytest.mark.parametrize("restored", [True, False])
def test_times_follow_the_clock_of_the_primary(restored: bool) -> None:
    """A clock that was ahead once and came back leaves nothing behind but what it stamped."""
    machine = Machine()
    ahead = at(machine, m.MakeDirectory(b"/ahead"), 86_400, 1, 900).record.attributes
    machine = machine.copy() if restored else machine
    for seconds in (5, 6, 4):
        made = at(machine, m.MakeDirectory(b"/%d" % seconds), seconds, 1, 900 + seconds).record
        times = made.attributes.modified_ns, made.attributes.changed_ns, made.attributes.accessed_ns
        assert times == (seconds * 10**9,) * 3
    request = m.SetAttributes(b"/ahead", now=True)
    touched = at(machine, request, 7, 1, 990).record.attributes
    assert touched.modified_ns == 7 * 10**9 and touched.change > ahead.change


@pytest.mark.parametrize("restored", [True, False])
def test_results_age_while_a_clock_is_back_from_the_future(restored: bool) -> None:
    machine = Machine()
    at(machine, m.MakeDirectory(b"/d"), 86_400, 8, 900)
    machine = machine.copy() if restored else machine
    for second in range(0, limits.RESULT_SECONDS + 20, 5):
        at(machine, m.Unlink(b"/x"), second, 9, second + 1)
    assert list(machine.namespace.results.by_client) == [9]


def test_digests_tell_entries_and_outcomes_apart() -> None:
    request = m.MakeDirectory(b"/d")

    def digest(**changes: object) -> int:
        machine = Machine()
        machine.apply(machine.entry(request)._replace(**changes))  # type: ignore[arg-type]
        return machine.namespace.digest

    variants = [
        {},
        {"epoch": 2},
        {"now_ns": 3 * 10**9},
        {"client": 2},
        {"request_id": 99},
        {"identity": USERS["alice"]},
        {"record": b""},
        {"opcode": 140},
    ]
    assert len({digest(**each) for each in variants}) == len(variants)
    assert digest() == digest()


# --- what comes in -----------------------------------------------------------------------------


@pytest.mark.parametrize("opcode", [0, 1, 64, 73, 127, 151, 192, 65535])
def test_what_is_no_command_is_refused(opcode: int) -> None:
    machine = Machine()
    outcome = machine.apply(raw(machine.namespace, opcode, b"\x90"))
    assert outcome.record.code == errors.UnsupportedError.code


@given(st.sampled_from(range(128, 148)), st.binary(max_size=64))
def test_noise_is_an_outcome(opcode: int, record: bytes) -> None:
    namespace = Namespace(SETTINGS, 0)
    namespace.apply(raw(namespace, opcode, record))
    assert namespace.applied == 1
    namespace.check_invariants()


_NUMBERS = st.one_of(
    st.integers(-(1 << 63), (1 << 64) - 1), st.integers(-2, 10), st.sampled_from([BLOCK, 1 << 32])
)


def _record(cls: type, *fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(*fields).map(lambda values: cls(*values))


@given(st.data())
def test_any_numbers_are_an_outcome(data: st.DataObject) -> None:
    machine = Machine()
    machine.file("/a", BLOCK + 5)
    inode = machine.run(m.Create(b"/b")).attributes.inode
    inodes = st.one_of(_NUMBERS, st.sampled_from([inode, inode - 1]))
    (reserved,) = machine.run(m.ReserveInodes(1)).inodes
    blocks = st.lists(
        _record(m.BlockRef, inodes, *[_NUMBERS] * 5, st.lists(_NUMBERS, max_size=3).map(tuple)),
        max_size=3,
    ).map(tuple)
    optional = st.one_of(st.none(), _NUMBERS)
    paths = st.sampled_from([b"/a", b"/b", b"/", b"/x/y"])
    file = _record(
        m.NewFile,
        paths,
        st.one_of(_NUMBERS, st.just(reserved)),
        _NUMBERS,
        blocks,
        _NUMBERS,
        st.booleans(),
        st.booleans(),
        *[_NUMBERS] * 3,
    )
    request = data.draw(
        st.one_of(
            _record(m.Create, paths, _NUMBERS, st.booleans(), st.booleans(), *[_NUMBERS] * 4),
            _record(m.Commit, inodes, _NUMBERS, _NUMBERS, blocks, st.booleans(), optional),
            _record(m.ReleaseLease, inodes, _NUMBERS),
            _record(m.ReserveInodes, _NUMBERS),
            _record(m.PutFiles, st.tuples(file)),
            _record(m.MakeDirectory, paths, _NUMBERS, st.booleans(), _NUMBERS),
            _record(m.Rename, paths, paths, _NUMBERS, _NUMBERS, _NUMBERS),
            _record(m.SetAttributes, paths, optional, st.none(), st.none(), *[optional] * 3),
            _record(m.SetXattr, paths, st.text(max_size=9), st.binary(), _NUMBERS),
            _record(m.SetReplicas, inodes, *[_NUMBERS] * 3, st.just((1,))),
            _record(
                m.SetManyReplicas,
                st.just((m.BlockVersion(2, 0, 1, 0), m.BlockVersion(-1, 1 << 40, -1, 0))),
                st.tuples(st.just((1,)), st.sampled_from([(1, 2), (), (1, 1)])),
            ),
            _record(m.Reclaim, _NUMBERS),
            _record(m.ExpireSession, _NUMBERS),
        )
    )
    machine.apply(machine.entry(request))


def test_long_texts_in_a_refusal_are_cut() -> None:
    machine = Machine()
    machine.file("/f")
    name = "user." + "x" * 60_000
    for request in (m.RemoveXattr(b"/f", name), m.Unlink(b"/x" * 30_000)):
        outcome = machine.apply(machine.entry(request))
        assert isinstance(outcome.record, m.ErrorReply)


def test_users_with_impossible_names_are_refused() -> None:
    machine = Machine()
    request = m.MakeDirectory(b"/d")
    entry = machine.entry(request)._replace(identity=Identity("u", ("g" * 256,)))
    assert machine.apply(entry).record.code == errors.InvalidArgumentError.code


# --- DeterministicApply ------------------------------------------------------------------------

_PROGRAM = """
import sys
sys.path.insert(0, {path!r})
from node.namespace.workload import run
print(run({seed}).namespace.digest)
"""


def test_any_process_gets_the_same_digest() -> None:
    path = Path(__file__).parents[2]
    program = _PROGRAM.format(path=str(path), seed=7)
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "4711")
    }
    assert len(digests) == 1


def test_statistics() -> None:
    machine = Machine()
    machine.file("/d/f", BLOCK, parents=True)
    machine.run(m.Create(b"/g"))
    machine.run(m.ReserveInodes(3))
    counts = machine.namespace.statistics()
    assert counts[:8] == (2, 2, BLOCK, 1, 1, 3, 7, 0) and counts.results > 0
    assert blocks_of(1, 1, 0) == ()
