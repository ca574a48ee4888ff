"""One question at a time for each name, and an answer only for those who waited for it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from memfs.node.namespace.rules.frontier import Question
from memfs.node.stores.metadata import Known, Metadata, Moment


class Counting(Metadata):
    """Asks nobody, and tells somebody who comes right behind an answer."""

    def __init__(self) -> None:
        clock = SimpleNamespace(monotonic=lambda: 0.0)
        super().__init__(cast(Any, None), cast(Any, None), cast(Any, SimpleNamespace(clock=clock)))
        self.latecomer: Any = None

    async def _ask(self, wanted: Question) -> bool:
        self.asked += 1
        await asyncio.sleep(0)
        if self.latecomer is not None:
            asyncio.get_running_loop().call_soon(self.latecomer)
        return True


def wanted() -> Question:
    mount = cast(Any, SimpleNamespace(number=1))
    return Question(mount, 2, b"", b"name")


async def test_one_question_however_many_ask() -> None:
    metadata = Counting()
    await asyncio.gather(*[metadata.ask(wanted()) for _ in range(5)])
    assert metadata.asked == 1
    await metadata.ask(wanted())
    assert metadata.asked == 2


async def test_who_comes_right_behind_an_answer_asks_anew() -> None:
    """While the answered question is still remembered: waiting for it would not wait."""
    metadata = Counting()
    late: list[asyncio.Task[None]] = []

    def come() -> None:
        metadata.latecomer = None
        work = metadata.ask(wanted())
        waited = work.send(None)
        assert waited is not None
        work.close()
        late.append(asyncio.ensure_future(metadata.ask(wanted())))

    metadata.latecomer = come
    await metadata.ask(wanted())
    await asyncio.sleep(0)
    await late[0]
    assert metadata.asked == 2


@pytest.mark.parametrize("away", [(), (1,)])
@pytest.mark.parametrize("exists", [False, True])
def test_an_absent_name_is_asked_for_soon_unless_the_store_is_away(
    away: tuple[int, ...], exists: bool
) -> None:
    known = Known()
    known.note(2, None, 0.0)
    mount = cast(Any, SimpleNamespace(number=1, sync_ms=60_000))
    for now, believed in ((0.5, True), (2.0, exists or bool(away)), (61.0, False)):
        moment = Moment(known, now, now, away)
        assert moment.knows_name(mount, 2, b"name", exists) is believed, now
