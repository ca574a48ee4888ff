"""Keys of capabilities: made, told, rolled and forgotten."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from memfs.errors import UnavailableError, UnsupportedError
from memfs.node.membership.capability_keys import CapabilityKeys
from memfs.node.tasks import Tasks
from memfs.protocol import messages as m

LIFETIME = 80.0
PAUSE, LEAD, ROLL = 10.0, 20.0, 480.0
"""What follows from it."""


class Clock:
    """Stands where the test sets it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class _Environment(NamedTuple):
    clock: Clock


class _View(NamedTuple):
    primary_since: int


class Members:
    """One member's view of the cluster: who is the primary, and a way to ask it."""

    def __init__(self, clock: Clock, *, is_primary: bool = False) -> None:
        self.environment = _Environment(clock)
        self.is_primary = is_primary
        self.number = 1
        self.followers: list[Callable[[Any], None]] = []
        self.asked = 0
        self.primary: CapabilityKeys | None = None
        self.error: Exception | None = None

    async def ask_primary(self, request: m.GetCapabilityKeys) -> m.CapabilityKeysReply:
        self.asked += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        assert self.primary is not None
        return self.primary.told()


def node(clock: Clock, seed: int, **settings: Any) -> tuple[CapabilityKeys, Members]:
    members = Members(clock, **settings)
    return CapabilityKeys(cast(Any, members), Tasks(), random.Random(seed), LIFETIME), members


def cluster() -> tuple[Clock, CapabilityKeys, CapabilityKeys, Members]:
    """A primary and another member."""
    clock = Clock()
    primary, _ = node(clock, 1, is_primary=True)
    member, members = node(clock, 2)
    members.primary = primary
    return clock, primary, member, members


async def ticks() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_members_learn_of_a_key_by_asking() -> None:
    clock, primary, member, _ = cluster()
    key, expires = primary.for_proofs()
    assert expires >= LIFETIME
    clock.now += 7
    await member.learn()
    assert member.find(key.number) == key
    assert abs(member.age(key.number) - 7) < 0.01 and primary.age(key.number) == 7
    assert primary.for_proofs()[0] == key, "one key for many capabilities"


async def test_an_unknown_key_is_asked_for_once() -> None:
    clock, primary, member, members = cluster()
    key, _ = primary.for_proofs()
    assert member.find(key.number) is None and member.find(99) is None
    await ticks()
    assert member.find(key.number) == key and members.asked == 1
    for _ in range(100):
        assert member.find(99) is None
    await ticks()
    assert members.asked == 1, "who guesses numbers makes no traffic"
    clock.now += PAUSE
    member.find(99)
    await ticks()
    assert members.asked == 2
    assert primary.find(99) is None


async def test_a_new_key_is_used_when_the_members_know_it() -> None:
    clock, primary, member, _ = cluster()
    first, _ = primary.for_proofs()
    clock.now += ROLL
    assert primary.for_proofs()[0] == first, "the next one exists, and is not used yet"
    await member.learn()
    assert primary.for_proofs()[1] >= ROLL + LIFETIME
    clock.now += LEAD
    second, _ = primary.for_proofs()
    assert second != first and member.find(second.number) == second
    clock.now += LIFETIME + 2
    await member.learn()
    assert member.find(first.number) == first, "what it proved last is good yet"
    clock.now += ROLL
    primary.for_proofs()
    await member.learn()
    assert member.find(first.number) is None and primary.find(first.number) is None
    assert primary.age(first.number) == float("inf")


async def test_a_key_nobody_used_for_long_is_not_used_again() -> None:
    clock, primary, _, _ = cluster()
    first, _ = primary.for_proofs()
    clock.now += ROLL + LEAD
    second, _ = primary.for_proofs()
    assert second != first, "too old to be used until the others know the next one"


async def test_a_new_primary_goes_on_with_the_keys_it_knew() -> None:
    clock, primary, member, members = cluster()
    key, _ = primary.for_proofs()
    await member.learn()
    clock.now += 5
    members.is_primary = True
    found, expires = member.for_proofs()
    assert found == key and LIFETIME <= expires <= LIFETIME + 10
    other, others = node(clock, 3)
    others.primary = member
    await other.learn()
    assert other.find(key.number) == key and abs(other.age(key.number) - 5) < 0.01


async def test_a_clock_that_stood_still_misleads_nobody_for_long() -> None:
    """A member's host was suspended; its capabilities would have expired for all others."""
    clock, primary, _, members = cluster()
    late = Clock()
    suspended, suspended_members = node(late, 2)
    suspended_members.primary = primary
    key, _ = primary.for_proofs()
    await suspended.learn()
    clock.now += 3 * LIFETIME
    late.now += 1
    await suspended.learn()
    assert abs(suspended.age(key.number) - 3 * LIFETIME) < 0.01
    other, others = node(clock, 3)
    others.primary = primary
    await other.learn()
    clock.now += LIFETIME
    suspended_members.is_primary = True  # without having asked again
    _, expires = suspended.for_proofs()
    assert other.age(key.number) >= expires - 1
    others.primary = suspended
    await other.learn()
    assert expires - other.age(key.number) >= LIFETIME
    assert members.asked == 0


async def test_a_primary_without_keys_makes_its_own_and_a_view_tells_of_it() -> None:
    clock, _, member, members = cluster()
    fresh, _ = node(clock, 9, is_primary=True)
    members.primary = fresh
    for follow in members.followers:
        follow(_View(primary_since=5))
        follow(_View(primary_since=5))
    await ticks()
    assert members.asked == 1
    assert member.find(fresh.for_proofs()[0].number) is not None


async def test_what_is_wanted_is_what_the_primary_says() -> None:
    clock, _, member, members = cluster()
    assert member.wanted, "until it has been asked"
    members.error = UnavailableError("gone")
    await member.learn()
    assert member.wanted
    members.error = UnsupportedError("an older release")
    await member.learn()
    assert not member.wanted
    members.error = None
    await member.learn()
    assert member.wanted
    off = CapabilityKeys(cast(Any, Members(clock, is_primary=True)), Tasks(), random.Random(5), 0.0)
    members.primary = off
    assert not off.wanted
    await member.learn()
    assert not member.wanted


async def test_keys_are_not_shown() -> None:
    _, primary, _, _ = cluster()
    key, _ = primary.for_proofs()
    assert repr(key.material) not in repr(primary.told()) and "material" not in repr(key)
