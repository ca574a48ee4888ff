"""A node's surroundings for the parts of healing: a view, a clock, a network of functions."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

from memfs import errors
from memfs.node.membership.departures import Departures
from memfs.node.membership.members import Life, Membership
from memfs.types import Member, NodeUsage, View


class FakeMembership:
    """What the parts ask of a Membership."""

    def __init__(self, *numbers: int, primary: int = 1, number: int = 1) -> None:
        members = tuple(Member(n, f"n{n}", n, "h", n, domain=f"r/{n}") for n in numbers)
        self.latest: View | None = View("c", 5, primary, (primary,), members, max(numbers) + 1, 3)
        self.number = number
        self.now = 0.0
        self.lives = dict.fromkeys(numbers, 0.0)
        self.out_of_reach: frozenset[int] = frozenset()
        self.ended: frozenset[int] = frozenset()
        self.is_journaled = False
        clock = SimpleNamespace(monotonic=lambda: self.now)
        self.environment = SimpleNamespace(clock=clock, random=random.Random(1))
        self.departures = Departures(clock.monotonic)

    @property
    def view(self) -> View:
        assert self.latest is not None
        return self.latest

    @property
    def is_primary(self) -> bool:
        return self.view.primary == self.number

    @property
    def epoch(self) -> int:
        return self.view.epoch

    def life(self, number: int) -> Life:
        at = self.now if number == self.number else self.lives.get(number, float("-inf"))
        return Life(NodeUsage(number, 0, 1 << 30, 0), at)

    def is_out_of_reach(self, number: int) -> bool:
        return number in self.out_of_reach

    def has_ended(self, number: int) -> bool:
        return number in self.ended

    def is_alive(self, number: int) -> bool:
        return number not in self.out_of_reach and self.now - self.life(number).at < 5

    def primary(self) -> Member:
        return self.find(self.view.primary)

    def find(self, number: int) -> Member:
        for member in self.view.members:
            if member.number == number:
                return member
        raise errors.UnavailableError(f"no member {number}")

    def remove(self, number: int) -> None:
        members = tuple(m for m in self.view.members if m.number != number)
        self.latest = self.view._replace(members=members, epoch=self.view.epoch + 1)

    @property
    def real(self) -> Membership:
        """For where the type is asked for."""
        return cast(Membership, self)


class FakePeers:
    """Answers requests by a function; silent members raise."""

    def __init__(self, answer: Callable[[int, Any], Any]) -> None:
        self.answer = answer
        self.asked: list[tuple[int, Any]] = []

    async def ask(self, number: int, request: Any, seconds: float | None = None) -> Any:
        self.asked.append((number, request))
        await asyncio.sleep(0)
        return self.answer(number, request)


class FakeConnection:
    """A source of blocks for the copier."""

    def __init__(self, serve: Callable[[Any, Any], Awaitable[Any]]) -> None:
        self.serve = serve
        self.requests: list[Any] = []

    def call(self, request: Any, *, into: Any = None, **_: Any) -> asyncio.Future[Any]:
        self.requests.append(request)
        return asyncio.ensure_future(self.serve(request, into))
