"""Every checker passes good histories and fails bad ones; where it can be, it is compared with
the general search, which is slow and plainly right."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memfs.testing.checkers.append_log import check_log, log_read
from memfs.testing.checkers.conserved_sums import check_totals
from memfs.testing.checkers.locks import Wanted, check_locks
from memfs.testing.checkers.names import ABSENT, EXISTS, check_names
from memfs.testing.checkers.registers import check_register
from memfs.testing.checkers.search import IMPOSSIBLE, Verdict, file_step, search
from memfs.testing.checkers.single_writer import check_sessions
from memfs.testing.checkers.trees import TreeEntry, check_tree
from memfs.testing.checkers.violation import Torn
from memfs.testing.history import FINAL, Outcome
from tests.kit.histories import call, kinds, read, write
from tests.support.examples import examples

# --- registers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "calls",
    [
        [],
        [read(0, 1, None)],
        [write(0, 1, "a"), read(2, 3, "a")],
        [write(0, 3, "a"), read(1, 2, None), read(1, 2, "a")],  # concurrent: either
        [write(0, 3, "a"), write(1, 2, "b"), read(4, 5, "a")],
        [write(0, None, "a"), read(5, 6, None), read(7, 8, "a")],  # took effect late
        [write(0, None, "a"), write(1, 2, "b"), read(3, 4, "b"), read(5, 6, "a")],
        [write(0, 1, "a", outcome=Outcome.FAIL), read(2, 3, None)],
    ],
)
def test_good_registers(calls):
    assert check_register("k", calls) == []


@pytest.mark.parametrize(
    ("kind", "calls"),
    [
        ("stale", [write(0, 1, "a"), write(2, 3, "b"), read(4, 5, "a")]),
        ("stale", [write(0, 1, "a"), read(2, 3, None)]),
        ("lost", [write(0, 1, "a"), write(2, 3, "b"), read(9, 10, "a", process=FINAL)]),
        ("lost", [write(0, 1, "a"), read(9, 10, None, process=FINAL)]),
        ("stale", [write(0, 9, "a"), read(1, 2, "a"), read(3, 4, None)]),  # back to before
        ("stale", [write(0, None, "a"), read(1, 2, "a"), read(3, 4, None)]),
        (
            "stale",
            [
                *(write(0, 9, "a"), write(0, 9, "b")),
                *(read(1, 2, "a"), read(3, 4, "b"), read(5, 6, "a")),
            ],
        ),
        ("phantom", [read(0, 1, "x")]),
        ("phantom", [read(0, 1, "a"), write(2, 3, "a")]),
        ("phantom", [write(0, 1, "a", outcome=Outcome.FAIL), read(2, 3, "a")]),
        ("torn", [write(0, 1, "a"), read(2, 3, Torn("half"))]),
    ],
)
def test_bad_registers(kind, calls):
    assert kinds(check_register("k", calls)) == [kind]


def test_a_violation_tells_its_story():
    (violation,) = check_register("k", [write(0, 1, "a"), write(2, 3, "b"), read(4, 5, "a")])
    assert "p write(b) k" in str(violation)
    assert "had replaced it" in str(violation)


@st.composite
def register_histories(draw):
    """Short histories with plausible answers, of which a good part is wrong."""
    calls = []
    for number in range(draw(st.integers(1, 8))):
        begin = draw(st.integers(0, 12)) + number / 100
        end = begin + draw(st.integers(0, 6)) + 0.001
        fate = draw(st.sampled_from(("ok", "ok", "ok", "unknown", "fail")))
        if draw(st.booleans()):
            value = draw(st.sampled_from((None, 0, 1, 2, 3)))
            calls.append(read(begin, end, value))
        else:
            outcome = {"fail": Outcome.FAIL}.get(fate)
            calls.append(write(begin, None if fate == "unknown" else end, number, outcome=outcome))
    return calls


@settings(max_examples=examples(300))
@given(register_histories())
def test_registers_agree_with_the_search(calls):
    expected = search(calls, None, file_step)
    found = check_register("k", calls)
    assert (expected is Verdict.LINEARIZABLE) == (not found)


# --- logs ----------------------------------------------------------------------------------------


def append(begin, end, record, **options):
    return call("append", begin, end, record, **options)


def seen(begin, end, *records, **options):
    return read(begin, end, log_read(records), **options)


@pytest.mark.parametrize(
    ("calls", "final"),
    [
        ([], []),
        ([append(0, 1, "a"), append(2, 3, "b"), seen(4, 5, "a", "b")], ["a", "b"]),
        ([append(0, 5, "a"), append(1, 4, "b"), seen(2, 3, "b")], ["b", "a"]),
        ([append(0, None, "a"), append(1, 2, "b"), seen(8, 9, "b")], ["b"]),
        (
            [append(0, None, "a"), append(1, 2, "b"), seen(3, 4, "b"), seen(5, 6, "b", "a")],
            ["b", "a"],
        ),
        ([append(0, 1, "a", outcome=Outcome.FAIL)], []),
    ],
)
def test_good_logs(calls, final):
    assert check_log("k", calls, final) == []


@pytest.mark.parametrize(
    ("kind", "calls", "final"),
    [
        ("lost", [append(0, 1, "a")], []),
        ("lost", [append(0, None, "a"), seen(1, 2, "a")], []),  # a dirty read
        ("duplicate", [append(0, 1, "a")], ["a", "a"]),
        ("duplicate", [append(0, None, "a")], ["a", "a"]),
        ("phantom", [], ["x"]),
        ("phantom", [append(0, 1, "a", outcome=Outcome.FAIL)], ["a"]),
        ("phantom", [seen(0, 1, "a"), append(2, 3, "a")], ["a"]),
        ("order", [append(0, 1, "a"), append(2, 3, "b")], ["b", "a"]),
        ("order", [append(0, 9, "a"), append(0, 9, "b"), seen(1, 2, "a")], ["b", "a"]),
        ("stale", [append(0, 1, "a"), seen(2, 3)], ["a"]),
        ("stale", [append(0, 9, "a"), seen(1, 2, "a"), seen(3, 4)], ["a"]),
        ("torn", [read(0, 1, Torn("half"))], []),
    ],
)
def test_bad_logs(kind, calls, final):
    assert kinds(check_log("k", calls, final)) == [kind]


def log_step(state, made):
    if made.name == "append":
        return (*state, made.argument)
    return state if made.pending or made.result == log_read(state) else IMPOSSIBLE


@st.composite
def log_histories(draw):
    calls = []
    order = draw(st.permutations(("a", "b", "c")))[: draw(st.integers(0, 3))]
    for number in range(draw(st.integers(1, 7))):
        begin = draw(st.integers(0, 12)) + number / 100
        end = begin + draw(st.integers(0, 6)) + 0.001
        if number < 3 and draw(st.booleans()):
            calls.append(append(begin, draw(st.sampled_from((None, end))), "abc"[number]))
        else:
            calls.append(seen(begin, end, *order[: draw(st.integers(0, len(order)))]))
    return calls, list(order)


@settings(max_examples=examples(300))
@given(log_histories())
def test_logs_agree_with_the_search(drawn):
    calls, final = drawn
    last = seen(1000, 1001, *final, process=FINAL)
    expected = search([*calls, last], (), log_step)
    found = check_log("k", calls, final)
    assert (expected is Verdict.LINEARIZABLE) == (not found)


# --- names ---------------------------------------------------------------------------------------


def create(begin, end, name, result=None, **options):
    return call("create", begin, end, name, result, **options)


def remove(begin, end, name, result=None, **options):
    return call("remove", begin, end, name, result, **options)


def listing(begin, end, *names, **options):
    return call("list", begin, end, None, frozenset(names), **options)


@pytest.mark.parametrize(
    "calls",
    [
        [listing(0, 1)],
        [create(0, 1, "a"), listing(2, 3, "a"), remove(4, 5, "a"), listing(6, 7)],
        [create(0, 3, "a"), listing(1, 2), listing(1, 2, "a")],
        [create(0, None, "a"), listing(5, 6)],
        [create(0, None, "a"), listing(5, 6), listing(7, 8, "a")],
        [create(0, 1, "a"), remove(2, None, "a"), listing(3, 4, "a"), listing(5, 6)],
        [create(0, 1, "a", outcome=Outcome.FAIL), remove(2, 3, "a", ABSENT)],
        [create(0, 1, "a"), remove(2, None, "a"), remove(3, 4, "a", ABSENT)],
    ],
)
def test_good_directories(calls):
    assert check_names("k", calls) == []


@pytest.mark.parametrize(
    ("kind", "calls"),
    [
        ("stale", [create(0, 1, "a"), remove(4, 5, "a"), listing(2, 3)]),
        ("stale", [create(0, 1, "a"), remove(2, 3, "a"), listing(4, 5, "a")]),
        ("lost", [create(0, 1, "a"), listing(2, 3)]),
        ("lost", [create(0, 1, "a"), listing(2, 3, process=FINAL)]),
        ("lost", [create(0, 1, "a"), remove(2, 3, "a"), listing(4, 5, "a", process=FINAL)]),
        ("lost", [create(0, 1, "a"), remove(2, 3, "a", ABSENT)]),
        (
            "stale",
            [create(0, None, "a"), listing(1, 2, "a"), listing(3, 4), remove(5, 6, "a")],
        ),
        ("phantom", [listing(0, 1, "x")]),
        ("phantom", [listing(0, 1, "a"), create(2, 3, "a")]),
        ("phantom", [create(0, 1, "a", outcome=Outcome.FAIL), listing(2, 3, "a")]),
        ("duplicate", [create(0, 1, "a", EXISTS)]),
        ("duplicate", [create(0, 1, "a"), remove(2, 3, "a"), remove(4, 5, "a")]),
    ],
)
def test_bad_directories(kind, calls):
    assert kinds(check_names("k", calls)) == [kind]


def names_step(state, made):
    """One name: "never", True while it is there, then False."""
    if made.name == "create":
        return True if state == "never" else IMPOSSIBLE
    if made.name == "remove":
        if made.ok and made.result == ABSENT:
            return IMPOSSIBLE if state is True else state
        return False if state is True else IMPOSSIBLE
    return state if ("a" in made.result) == (state is True) else IMPOSSIBLE


@st.composite
def name_histories(draw):
    begin = draw(st.integers(0, 4))
    calls = [create(begin, draw(st.sampled_from((None, begin + 1.5, begin + 6.5))), "a")]
    if draw(st.booleans()):
        begin = draw(st.integers(2, 9)) + 0.1
        calls.append(remove(begin, draw(st.sampled_from((None, begin + 2, begin + 5))), "a"))
    for number in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, 12)) + 0.2 + number / 100
        end = begin + draw(st.integers(0, 5)) + 0.001
        calls.append(listing(begin, end, *draw(st.sampled_from(((), ("a",))))))
    return calls


@settings(max_examples=examples(300))
@given(name_histories())
def test_directories_agree_with_the_search(calls):
    expected = search(calls, "never", names_step)
    assert (expected is Verdict.LINEARIZABLE) == (not check_names("k", calls))


# --- sessions, totals, trees ---------------------------------------------------------------------


def test_sessions():
    assert check_sessions("k", [], ["a:0", "a:1", "b:0", "c:3"]) == []
    assert kinds(check_sessions("k", [], ["a:0", "b:0", "a:1"])) == ["order"]
    assert kinds(check_sessions("k", [], ["a:1", "a:0"])) == ["order"]


def test_totals():
    good = call("total", 0, 1, None, (3, 30))
    assert check_totals("k", [good], (3, 30)) == []
    assert kinds(check_totals("k", [good], (3, 31))) == ["broken"]
    last = call("total", 0, 1, None, (2, 30), process=FINAL)
    assert kinds(check_totals("k", [good, last], (3, 30))) == ["lost"]


TREE = [
    TreeEntry("/t/a", 2, True, 3),
    TreeEntry("/t/a/b", 3, True, 2),
    TreeEntry("/t/a/b/f", 4, False, 2),
    TreeEntry("/t/a/g", 4, False, 2),
]


def test_trees():
    assert check_tree("k", TREE, ["a", "b", "f", "g"]) == []
    assert kinds(check_tree("k", TREE, ["a", "b", "f", "g", "h"])) == ["lost"]
    assert kinds(check_tree("k", TREE, ["a", "b", "f"])) == ["phantom"]
    moved = [*TREE, TreeEntry("/t/c", 5, True, 3), TreeEntry("/t/c/b", 3, True, 2)]
    assert set(kinds(check_tree("k", moved, ["a", "b", "c", "f", "g"]))) == {"duplicate", "broken"}
    wrong = [entry._replace(links=7) if entry.inode == 3 else entry for entry in TREE]
    assert kinds(check_tree("k", wrong, ["a", "b", "f", "g"])) == ["broken"]
    wrong = [entry._replace(links=1) if entry.inode == 4 else entry for entry in TREE]
    assert kinds(check_tree("k", wrong, ["a", "b", "f", "g"])) == ["broken", "broken"]


# --- search --------------------------------------------------------------------------------------


def test_search_knows_creation_and_removal():
    def step(name, begin, end, argument=None, result=True):
        return call(name, begin, end, argument, result)

    good = [step("create", 0, 1, "a"), step("create", 2, 3, "b", False), step("remove", 4, 5)]
    assert search([*good, read(6, 7, None)], None, file_step) is Verdict.LINEARIZABLE
    twice = [step("create", 0, 1, "a"), step("remove", 2, 3), step("remove", 4, 5)]
    assert search(twice, None, file_step) is Verdict.VIOLATED
    back = [step("create", 0, 1, "a"), step("remove", 2, 3), read(4, 5, "a")]
    assert search(back, None, file_step) is Verdict.VIOLATED
    late = [step("create", 0, 1, "a"), call("remove", 2, None), read(3, 4, "a"), read(5, 6, None)]
    assert search(late, None, file_step) is Verdict.LINEARIZABLE


def test_search_gives_up_rather_than_guess():
    many = [write(0, 100, number) for number in range(201)]
    assert search(many, None, file_step) is Verdict.UNKNOWN
    crowd = [read(0, 1, None, process=str(number)) for number in range(9)]
    assert search(crowd, None, file_step) is Verdict.UNKNOWN
    hard = [write(0, 100, number) for number in range(30)] + [read(200, 201, "x")]
    assert search(hard, None, file_step, budget=500) is Verdict.UNKNOWN


# --- locks ---------------------------------------------------------------------------------------


def lock(begin, end, section, start=0, last=9, *, exclusive=True, result="granted", **options):
    wanted = Wanted(section, start, last, exclusive)
    return call("lock", begin, end, wanted, result, **options)


def unlock(begin, end, section, result="held", **options):
    return call("unlock", begin, end, section, result, **options)


@pytest.mark.parametrize(
    "calls",
    [
        [],
        [lock(0, 1, "a"), unlock(5, 6, "a"), lock(2, 7, "b"), unlock(8, 9, "b")],
        [lock(0, 1, "a"), unlock(5, 6, "a"), lock(2, 5.5, "b"), unlock(8, 9, "b")],
        [lock(0, 1, "a", 0, 4), unlock(9, 9, "a"), lock(2, 3, "b", 5, 9), unlock(9, 9, "b")],
        [
            lock(0, 1, "a", exclusive=False),
            unlock(9, 9, "a"),
            lock(2, 3, "b", exclusive=False),
            unlock(9, 9, "b"),
        ],
        [lock(0, 1, "a"), lock(2, 3, "b"), unlock(4, 5, "b"), unlock(5, 6, "a", "lost")],
        [lock(0, 1, "a"), lock(2, 3, "b"), unlock(4, 5, "b"), unlock(5, None, "a")],
        [lock(0, 1, "a"), lock(2, 3, "b", result="blocked")],
        [lock(0, 1, "a"), unlock(2, 3, "a"), lock(2.5, 4, "b", result="blocked")],
        [lock(0, None, "a"), lock(2, 3, "b", result="deadlock")],
        [lock(0, 1, "a"), lock(2, 3, "a", 2, 3), unlock(4, 5, "a")],
        [
            lock(0, 1, "a"),
            lock(2, 3, "a", 2, 3, exclusive=False),
            lock(2.5, 4, "b", 3, 3, exclusive=False),
            unlock(5, 6, "b"),
            unlock(7, 8, "a"),
        ],
    ],
)
def test_good_locks(calls):
    assert check_locks("k", calls) == []


@pytest.mark.parametrize(
    "calls",
    [
        [lock(0, 1, "a"), unlock(5, 6, "a"), lock(2, 3, "b", 9, 9), unlock(8, 9, "b")],
        [lock(0, 1, "a"), unlock(9, 9, "a"), lock(2, 3, "b", exclusive=False), unlock(4, 5, "b")],
        [lock(2, 3, "b", result="blocked")],
        [lock(0, 1, "a"), unlock(2, 3, "a"), lock(4, 5, "b", result="blocked")],
        [lock(0, 1, "a", 0, 4), lock(2, 3, "b", 5, 9, result="deadlock")],
        [lock(0, 1, "a", exclusive=False), lock(2, 3, "b", exclusive=False, result="blocked")],
        [lock(3, 4, "a"), lock(1, 2, "b", result="blocked")],
        [
            lock(0, 1, "a"),
            lock(5, 6, "a", 2, 3, exclusive=False),
            lock(2, 4, "b", 3, 3, exclusive=False),
            unlock(5, 6, "b"),
            unlock(7, 8, "a"),
        ],
    ],
)
def test_bad_locks(calls):
    assert check_locks("k", calls)
