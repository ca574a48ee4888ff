"""The keys of capabilities: made by the primary, known to every member.

Owns which keys are good, when a new one is made, and how members learn of it: they ask the primary
when they meet it, every few seconds, and when a capability names a key that they lack. A new
primary goes on with the keys of the one before, as far as it knew them. Keys are in no log, no
journal and no snapshot: one that is lost costs clients a question to the primary.

A key's age is what the primary says, counted on by each member's own clock until it asks again: so
a capability is good for its time at least, whatever the clocks of the hosts say and however long
one of them stood still.

Invariant: the primary proves with a new key only when all who asked in time know it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable
from typing import Final

from memfs.errors import MemfsError, UnsupportedError
from memfs.node.membership.members import Membership
from memfs.node.tasks import Tasks
from memfs.protocol import messages as m
from memfs.security.capabilities import Key
from memfs.types import View

log = logging.getLogger(__name__)

KEY_BYTES: Final = 32
LIFETIMES_PER_KEY: Final = 6
"""Lifetimes of a capability for which new ones are made with the same key."""
ASKS_PER_LIFETIME: Final = 8
"""How often members ask for keys; a new one is used when they had two occasions ..."""
ASK_SECONDS: Final = 15.0
"""... which are no further apart than this."""


class CapabilityKeys:
    """The keys that one node knows."""

    def __init__(
        self, membership: Membership, tasks: Tasks, dice: random.Random, seconds: float
    ) -> None:
        """``seconds``: how long a capability is good; 0: this primary wants none."""
        self.seconds = seconds
        self._membership = membership
        self._tasks = tasks
        self._dice = dice
        self._now: Callable[[], float] = membership.environment.clock.monotonic
        self._keys: dict[int, tuple[Key, float]] = {}
        """With the time at which each was made, the newest last."""
        self._wanted = bool(seconds)
        """Whether blocks need capabilities; until a primary has been asked, what is set here."""
        self._roll = LIFETIMES_PER_KEY * seconds
        self._pause = min(ASK_SECONDS, seconds / ASKS_PER_LIFETIME) or ASK_SECONDS
        self._lead = 2 * self._pause
        self._asking: asyncio.Task[None] | None = None
        self._asked = -math.inf
        self._primary = 0
        membership.followers.append(self._view_changed)

    # --- what others ask --------------------------------------------------------------------

    @property
    def wanted(self) -> bool:
        """Do blocks need capabilities?"""
        return bool(self.seconds) if self._membership.is_primary else self._wanted

    def find(self, number: int) -> Key | None:
        """A key by its number; one that is not known is asked for."""
        found = self._keys.get(number)
        if found is None and not self._membership.is_primary:
            self._ask_soon()
        return found[0] if found is not None else None

    def age(self, number: int) -> float:
        """Seconds since a key was made, infinite of one that is not known (any more)."""
        found = self._keys.get(number)
        return self._now() - found[1] if found is not None else math.inf

    def for_proofs(self) -> tuple[Key, int]:
        """What the primary makes a capability with now, and when that expires."""
        now, (key, made) = self._now(), self._last()
        if now - made >= self._roll:
            key, made = self._make(now)
        if now - made < self._lead and len(self._keys) > 1:
            former, since = list(self._keys.values())[-2]
            if now - since < self._roll + self._lead:
                key, made = former, since
        return key, int(now - made + self.seconds) + 1

    def _last(self) -> tuple[Key, float]:
        """The newest key; the first one, where there is none yet."""
        for found in reversed(self._keys.values()):
            return found
        return self._make(self._now())

    def told(self) -> m.CapabilityKeysReply:
        """The answer of this primary to a member that asks for keys."""
        if not self.seconds:
            return m.CapabilityKeysReply(())
        self.for_proofs()
        now = self._now()
        return m.CapabilityKeysReply(
            tuple(
                [
                    m.CapabilityKey(*key, max(0, int(1000 * (now - made))))
                    for key, made in self._keys.values()
                ]
            )
        )

    def _make(self, now: float) -> tuple[Key, float]:
        key = Key(self._dice.getrandbits(63), self._dice.randbytes(KEY_BYTES))
        self._keys[key.number] = key, now
        self._drop(now)
        return key, now

    def _drop(self, now: float) -> None:
        """Forget keys under which no capability can be good any more."""
        oldest = now - self._roll - self._lead - 2 * self.seconds
        self._keys = {n: each for n, each in self._keys.items() if each[1] >= oldest}

    # --- learning ---------------------------------------------------------------------------

    def _view_changed(self, view: View) -> None:
        if view.primary_since != self._primary:
            self._primary = view.primary_since
            if not self._membership.is_primary and self._membership.number:
                self._ask_soon(at_once=True)

    async def run(self) -> None:
        """Ask the primary now and then, forever."""
        while True:
            if not self._membership.is_primary and self._membership.number:
                self._ask_soon(at_once=True)
            await asyncio.sleep(self._pause)

    def _ask_soon(self, *, at_once: bool = False) -> None:
        """Ask the primary, unless that is under way; for an unknown key not too often."""
        if self._asking is not None and not self._asking.done():
            return
        if at_once or self._now() - self._asked >= self._pause / 4:
            self._asking = self._tasks.spawn(self.learn(), "capability keys")

    async def learn(self) -> None:
        """Ask the primary for its keys."""
        self._asked = self._now()
        try:
            reply = await self._membership.ask_primary(m.GetCapabilityKeys())
        except UnsupportedError:  # of an older release: nobody has capabilities
            self._wanted = False
            return
        except MemfsError as error:  # heartbeats fail, too, and say so
            log.debug("no keys of capabilities: %s", error)
            return
        now = self._now()
        self._wanted = bool(reply.keys)
        for number, material, age_ms in reply.keys:  # the primary's word counts, each time
            self._keys[number] = Key(number, material), now - age_ms / 1000
        self._keys = dict(sorted(self._keys.items(), key=lambda item: item[1][1]))
        self._drop(now)
