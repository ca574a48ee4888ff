"""Which changes are sent next: the order of one name, failures, who waits, and how much is looked
at."""

from __future__ import annotations

import pytest

from memfs.errors import MemfsError, StoreDeniedError, StoreUnreachableError
from memfs.node.stores.persist_queue import LARGE_LOAD, LOAD_MOST, LOOKS, PersistQueue
from memfs.protocol import messages as m
from tests.unit.node.namespace.machine import BLOCK, Machine

DENIED = StoreDeniedError("no")
AWAY = StoreUnreachableError("not there")


@pytest.fixture
def machine() -> Machine:
    machine = Machine()
    machine.run(m.Mount(b"/x", "s3://bucket/data"))
    return machine


@pytest.fixture
def queue(machine: Machine) -> PersistQueue:
    return PersistQueue(machine.namespace.volume)


def slot(machine: Machine, path: str) -> int:
    return machine.namespace.volume.tree.inodes.slot_of(machine.stat(path).inode)


def stored(machine: Machine, path: str) -> None:
    """The store has it, as it is now."""
    found = slot(machine, path)
    version = machine.namespace.volume.mounts.changes[found].version
    inode = machine.stat(path).inode
    machine.run(m.BeginPersist(inode, version, 5, 77))
    machine.run(m.EndPersist(inode, version, b'"t"', 0))


def write(machine: Machine, *names: str, size: int = 5) -> list[int]:
    for name in names:
        machine.file(f"/x/{name}", size)
    return [slot(machine, f"/x/{name}") for name in names]


def begun(queue: PersistQueue, now: float = 0.0) -> list[object]:
    return list(queue.begin(now))


def end(queue: PersistQueue, job: object, error: MemfsError | None = None, now: float = 0) -> bool:
    return queue.ended(job, error, now, 1.0)  # type: ignore[arg-type]


def test_what_is_under_way_is_not_begun_again(machine: Machine, queue: PersistQueue) -> None:
    jobs = write(machine, "a", "b")
    assert begun(queue) == jobs and begun(queue) == []
    stored(machine, "/x/a")
    assert end(queue, jobs[0])
    assert not end(queue, jobs[1]), "nothing came of it: the next look is soon enough"
    assert begun(queue) == [jobs[1]]


def test_large_files_take_more_room(machine: Machine, queue: PersistQueue) -> None:
    jobs = write(machine, *[f"f{n}" for n in range(LOAD_MOST)], size=65 * BLOCK)
    assert begun(queue) == jobs[: LOAD_MOST // LARGE_LOAD]


def test_a_deletion_comes_before_a_file_of_its_name(machine: Machine, queue: PersistQueue) -> None:
    write(machine, "a")
    stored(machine, "/x/a")
    machine.run(m.Unlink(b"/x/a"))
    (again,) = write(machine, "a")
    (deletion,) = begun(queue)
    assert deletion == (1, b"a")
    tombstone = machine.namespace.volume.mounts.tombstones[1, b"a"]
    machine.run(m.BuryObject(1, b"a", tombstone.version))
    assert end(queue, deletion)
    assert begun(queue) + begun(queue) == [again]


def test_a_directory_goes_after_what_was_in_it(machine: Machine, queue: PersistQueue) -> None:
    machine.mkdir("/x/d")
    write(machine, "d/f")
    stored(machine, "/x/d")
    stored(machine, "/x/d/f")
    machine.run(m.RemoveDirectory(b"/x/d", recursive=True))
    assert begun(queue) == [], "what was in it is not on record yet"
    machine.run(m.Reclaim(10))
    assert begun(queue) == [(1, b"d/f")]
    tombstone = machine.namespace.volume.mounts.tombstones[1, b"d/f"]
    machine.run(m.BuryObject(1, b"d/f", tombstone.version))
    assert end(queue, (1, b"d/f"))
    assert begun(queue) + begun(queue) == [(1, b"d")]


def test_what_failed_waits_longer_each_time(machine: Machine, queue: PersistQueue) -> None:
    (job,) = write(machine, "a")
    for now, due in ((0.0, 0.5), (0.5, 1.5), (1.5, 3.5)):
        assert begun(queue, now) + begun(queue, now) == [job]
        assert not end(queue, job, DENIED, now)
        assert begun(queue, due - 0.1) + begun(queue, due - 0.1) == []
    assert queue.failures() == {1: "no (tried 3 times)"}
    machine.run(m.Unlink(b"/x/a"))
    assert queue.failures() == {}


def test_a_store_that_does_not_answer_is_left_alone(machine: Machine, queue: PersistQueue) -> None:
    first, second = write(machine, "a", "b")
    assert begun(queue) == [first, second]
    end(queue, first, AWAY)
    end(queue, second)  # its term was over, say
    (third,) = write(machine, "c")
    assert begun(queue) + begun(queue) == [], "the others wait with it"
    queue.wait_for([third])
    assert begun(queue) == [third], "who waits is told at once"
    stored(machine, "/x/c")
    end(queue, third)
    assert begun(queue) + begun(queue) == [second], "it answers again"
    assert set(begun(queue, 0.6) + begun(queue, 0.6)) == {first}


def test_what_somebody_waits_for_comes_first(machine: Machine, queue: PersistQueue) -> None:
    jobs = write(machine, *[f"f{n}" for n in range(3 * LOAD_MOST)])
    waiter = queue.wait_for(jobs[-2:])
    assert begun(queue)[:2] == jobs[-2:]
    stored(machine, f"/x/f{3 * LOAD_MOST - 1}")
    end(queue, jobs[-1])
    assert waiter.left == {jobs[-2]} and not waiter.changed.is_set()
    end(queue, jobs[-2], DENIED)
    assert waiter.changed.is_set() and waiter.error is DENIED
    queue.forget(waiter, jobs[-2:])
    assert jobs[-2] not in begun(queue), "it waits as others that failed"


def test_who_waits_for_a_directory_learns_what_is_wrong_in_it(
    machine: Machine, queue: PersistQueue
) -> None:
    machine.mkdir("/x/d/e")
    write(machine, "d/e/f")
    for path in ("/x/d", "/x/d/e", "/x/d/e/f"):
        stored(machine, path)
    machine.run(m.RemoveDirectory(b"/x/d", recursive=True))
    machine.reclaim()
    job = (1, b"d/e/f")
    assert begun(queue) == [job] and not end(queue, job, AWAY)
    assert begun(queue) + begun(queue) == []
    waiter = queue.wait_for([(1, b"d")])
    assert begun(queue) + begun(queue) == [job], "it is tried at once, as it comes first"
    end(queue, job, DENIED)
    assert waiter.error is DENIED and waiter.changed.is_set()


def test_what_was_under_way_is_tried_once_more(machine: Machine, queue: PersistQueue) -> None:
    (job,) = write(machine, "a")
    assert begun(queue) == [job]
    waiter = queue.wait_for([job])
    assert end(queue, job, DENIED) and waiter.error is None
    assert begun(queue) == [job]
    assert not end(queue, job, DENIED) and waiter.error is DENIED


def test_a_file_that_is_gone_is_not_waited_for(machine: Machine, queue: PersistQueue) -> None:
    (job,) = write(machine, "a")
    waiter = queue.wait_for([job])
    machine.run(m.Unlink(b"/x/a"))
    queue.look_at(waiter)
    assert not waiter.left and begun(queue) == []


def test_a_look_does_not_grow_with_the_changes(machine: Machine) -> None:
    """All of very many changes have failed: each look is at a part of them."""
    volume = machine.namespace.volume
    count = 3 * LOOKS
    (first,) = write(machine, "a")
    change = volume.mounts.changes[first]
    places = range(10_000, 10_000 + count)
    for place in places:  # as though there were files: nobody looks at them until they are due
        volume.mounts.changes[place] = change

    looked: list[int] = []

    class Looking(PersistQueue):
        def _is_due(self, job: object, now: float) -> bool:
            assert isinstance(job, int)
            looked.append(job)
            return False

    queue = Looking(volume)
    assert begun(queue) == [] and len(looked) == LOOKS
    for _ in range(3):
        assert begun(queue) == []
    assert set(looked) == {first, *places}, "and none is left out"
