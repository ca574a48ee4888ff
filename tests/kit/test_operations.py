"""Random workloads: reproducible, and mostly sensible."""

from __future__ import annotations

from memfs.testing.model.filesystem import Model
from memfs.testing.model.operations import WEIGHTS, RaisedError, RandomOperations, outcome, snapshot
from memfs.testing.simulation.trace import Trace


def sequence(seed, count=300, **options):
    model = Model()
    workload = RandomOperations(seed, **options)
    done = []
    for _ in range(count):
        operation = workload.next(model)
        done.append((operation, outcome(lambda op=operation: op.on(model))))
    return done, snapshot(model)


def test_one_seed_one_sequence():
    assert sequence(1) == sequence(1)
    assert sequence(1) != sequence(2)


def test_both_successes_and_failures_occur():
    done, tree = sequence(3)
    failed = sum(isinstance(result, RaisedError) for _, result in done)
    assert 30 < failed < 200
    assert len(tree) > 3


def test_every_method_is_drawn():
    methods = {operation.method for seed in range(5) for operation, _ in sequence(seed)[0]}
    assert methods == set(WEIGHTS)


def test_methods_can_be_left_out():
    done, _ = sequence(1, without=("rename", "du"))
    assert not {"rename", "du"} & {operation.method for operation, _ in done}


def test_nothing_outside_the_top_is_touched():
    model = Model()
    model.mkdir("/top")
    model.write_bytes("/outside", b"safe")
    workload = RandomOperations(5, top="/top")
    for _ in range(500):
        operation = workload.next(model)
        outcome(lambda op=operation: op.on(model))
    assert model.listdir("/") == ["outside", "top"]
    assert model.read_bytes("/outside") == b"safe"


def test_a_trace_tells_two_runs_apart():
    one, two = Trace(), Trace()
    for trace in (one, two):
        trace.add(0.5, "data", "a", "b", 10)
    assert one.digest() == two.digest()
    two.add(0.6, "crash", "a", "b")
    assert one.digest() != two.digest()
    assert two.story("crash").split() == ["0.600000", "crash", "a", "b"]
    assert two.story() == two.story(["a b", "crash"]), "traffic is no part of the story"
