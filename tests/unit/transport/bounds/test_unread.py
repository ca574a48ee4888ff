"""Answers that are not read: who is curbed, who is released, who loses a connection."""

from __future__ import annotations

from memfs.transport.bounds.ledgers import Ledger, UserAtAddress
from memfs.transport.bounds.unread import LOOK_SECONDS, UnreadReplies

ANN, BOB = UserAtAddress("ann", "1.2.3.4"), UserAtAddress("bob", "5.6.7.8")
EACH, TOGETHER, PATIENCE = 1000, 1500, 3.0


class Reader:
    """A connection whose peer reads when the test says so."""

    def __init__(self, scene: Scene, account: UserAtAddress) -> None:
        self.account = account
        self.unread = 0
        self.curbed = False
        self.dropped = ""
        self._scene = scene
        scene.unread.add(self)

    def answer(self, count: int) -> None:
        self.unread += count
        self._scene.unread.sent(self, count)

    def curb(self) -> None:
        self.curbed = True

    def uncurb(self) -> None:
        self.curbed = False

    def drop(self, reason: str) -> None:
        self.dropped = reason
        self.unread = 0
        self._scene.unread.remove(self)


class Scene:
    """Time passes when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ledger = Ledger[UserAtAddress]("bytes of unread answers", EACH, TOGETHER)
        self.waiting: list = []
        self.unread = UnreadReplies(
            self.ledger, PATIENCE, lambda: self.now, lambda seconds, call: self.waiting.append(call)
        )

    def passes(self, seconds: float) -> None:
        for _ in range(round(seconds / LOOK_SECONDS)):
            self.now += LOOK_SECONDS
            waiting, self.waiting = self.waiting, []
            for call in waiting:
                call()
            self.ledger.check_invariants()


def test_who_reads_is_never_curbed():
    scene = Scene()
    reader = Reader(scene, ANN)
    for _ in range(100):
        reader.answer(300)
        reader.unread = 0
    assert not reader.curbed and not scene.waiting


def test_the_connections_of_one_principal_count_together():
    scene = Scene()
    readers = [Reader(scene, ANN) for _ in range(5)]
    other, quiet = Reader(scene, BOB), Reader(scene, ANN)
    for reader in readers:
        reader.answer(250)
    assert all(reader.curbed for reader in readers)
    assert not other.curbed and not quiet.curbed
    readers[0].unread = readers[1].unread = readers[2].unread = 0
    scene.passes(0.2)
    assert not any(reader.curbed for reader in readers)
    assert not scene.waiting, "nobody is looked after"


def test_who_reads_nothing_loses_the_worst_connection_first():
    scene = Scene()
    readers = [Reader(scene, ANN) for _ in range(3)]
    for reader, count in zip(readers, (400, 600, 500), strict=True):
        reader.answer(count)
    scene.passes(PATIENCE - 0.5)
    assert not any(reader.dropped for reader in readers)
    readers[0].unread -= 1
    scene.passes(PATIENCE - 0.5)
    assert not any(reader.dropped for reader in readers), "one of them reads a little"
    scene.passes(1.0)
    assert "ann at 1.2.3.4" in readers[1].dropped and str(EACH) in readers[1].dropped
    assert scene.ledger.total <= EACH and scene.unread.dropped == 1


def test_the_worst_gives_way_where_all_together_are_too_many():
    scene = Scene()
    bob, ann = Reader(scene, BOB), Reader(scene, ANN)
    bob.answer(900)
    ann.answer(700)
    assert bob.curbed and not ann.curbed
    bob.unread = 100
    scene.passes(0.2)
    assert not bob.curbed


def test_a_later_connection_of_a_curbed_principal_counts_too():
    scene = Scene()
    first = Reader(scene, ANN)
    first.answer(1100)
    late = Reader(scene, ANN)
    late.answer(900)
    scene.passes(0.1)
    assert first.curbed and late.curbed
