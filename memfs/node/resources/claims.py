"""What the nodes of one machine take of its memory together: each claims its limit in a file.

Owns the claims, which end with their processes, and the limit of a node that was told none: half of
what others leave it. A claim counts against the machine and the cgroups whose memory it takes, so
that a container with a limit of its own takes nothing from another one. It must not know what the
machine looks like. Claims are seen by nodes that share a ``socket_directory``.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import itertools
import json
import logging
from collections.abc import Container, Sequence
from typing import Final, NamedTuple

from memfs.limits import MIB
from memfs.logs import fields
from memfs.machine import MACHINE, MemoryDomain
from memfs.quantities import show_size
from memfs.transport.disk import Disk, DiskLock

log = logging.getLogger(__name__)

DIRECTORY: Final = "memory"
"""Of the claims, in the directory of the sockets."""
_GUARD: Final = "lock"
"""Held while a node looks and claims: two that start at once see each other."""
_GUARD_ATTEMPTS: Final = 500
_GUARD_PAUSE_SECONDS: Final = 0.01
_DEAD_KEPT: Final = 64
"""Claims of nodes that ended, for when they are started again."""
LEAST_BYTES: Final = 64 * MIB
"""The limit of a node to which the others leave less, or a 16th of the memory if it is less."""
LEAST_SHARE: Final = 16


class Claim(NamedTuple):
    """The limit of a node that runs on this machine."""

    node: str
    memory: int
    domains: frozenset[str]
    """What its memory is taken of."""
    chosen: bool = False
    """By the node itself, which was told no limit."""


class ChosenLimit(NamedTuple):
    """A limit, and how it came about."""

    memory: int
    reason: str


def share(domains: Sequence[MemoryDomain], others: Sequence[Claim], former: int = 0) -> ChosenLimit:
    """The limit of a node that was told none: half of what ``others`` leave, in what bounds it
    most; ``former``, which it chose before it was started again, where that is left."""
    tightest = min(domains, key=lambda each: each.limit - _taken(each, others))
    taking = [each for each in others if tightest.name in each.domains]
    taken, whole = _taken(tightest, others), show_size(tightest.limit)
    of = f"{whole} of {'memory' if tightest.name == MACHINE else 'the container'}"
    if taking:
        of += f" less {show_size(taken)} claimed by {_names(taking)}"
    left = tightest.limit - taken
    least = min(LEAST_BYTES, tightest.limit // LEAST_SHARE)
    if left // 2 < least:
        return ChosenLimit(least, f"the least, for there is no more: {of}")
    if left // 2 < former <= left:
        return ChosenLimit(former, f"as before its restart: {of}")
    return ChosenLimit(left // 2, f"half of {of}")


def excess(domains: Sequence[MemoryDomain], memory: int, others: Sequence[Claim]) -> str:
    """Why a node's limit and those of ``others`` are more than there is; empty: they are not."""
    for domain in domains:
        taking = [each for each in others if domain.name in each.domains]
        total = memory + _taken(domain, others)
        if taking and total > domain.limit:
            what = "the machine" if domain.name == MACHINE else "their container"
            return (
                f"with {_names(taking)} the nodes may take {show_size(total)}, {what} has "
                f"{show_size(domain.limit)}: lower their memory"
            )
    return ""


def _taken(domain: MemoryDomain, others: Sequence[Claim]) -> int:
    return sum(each.memory for each in others if domain.name in each.domains)


def _names(claims: Sequence[Claim]) -> str:
    names = sorted(each.node for each in claims)
    more = len(names) - 3
    return ", ".join(names[:3]) + (f" and {more} more" if more > 0 else "")


class Claims:
    """The claims in one directory."""

    def __init__(self, disk: Disk, sockets: str, domains: Sequence[MemoryDomain]) -> None:
        """``sockets`` is the directory of the sockets; empty: there is none, and no other node is
        seen. ``domains`` bound this process."""
        self._disk = disk
        self._directory = f"{sockets}/{DIRECTORY}" if sockets else ""
        self._domains = domains
        self._held: DiskLock | None = None

    async def take(self, node: str, memory: int | None) -> int:
        """Claim ``memory``, None: what there is for a node that was told none; the limit.

        The claim stays for as long as the process. Says in the log how the limit came about, and
        when there are too many claims.
        """
        assert self._held is None, "a node has one claim"
        if not self._directory:
            return self._settle(node, memory)
        try:
            self._disk.make_directory(self._directory)
            guard = await self._guard()
            try:
                return self._take(node, memory)
            finally:
                guard.release()
        except OSError as error:
            log.warning("no claim of memory", extra=fields(path=self._directory, reason=error))
            return self._settle(node, memory)

    def release(self) -> None:
        """End the claim."""
        if self._held is not None:
            self._held.release()
            self._held = None

    def _take(self, node: str, memory: int | None) -> int:
        live, dead = self._look()
        path = self._place(node, live)
        former = dead.get(path)
        chosen = former.memory if former is not None and former.chosen else 0
        limit = self._settle(node, memory, list(live.values()), chosen)
        self._disk.remove(path)
        self._held = self._disk.lock(path)
        domains = frozenset(each.name for each in self._domains)
        self._disk.open(path).write([_encode(Claim(node, limit, domains, memory is None))], 0)
        return limit

    def _settle(
        self, node: str, memory: int | None, others: Sequence[Claim] = (), former: int = 0
    ) -> int:
        """Decide about the limit, and say how."""
        if memory is None:
            memory, reason = share(self._domains, others, former)
            log.info("limit of memory", extra=fields(memory=memory, reason=reason))
        too_much = excess(self._domains, memory, others)
        if too_much:
            log.warning(
                "more memory is claimed than there is", extra=fields(memory=memory, reason=too_much)
            )
        return memory

    async def _guard(self) -> DiskLock:
        """Raises OSError when another node does not let go of it."""
        for _ in range(_GUARD_ATTEMPTS):
            guard = self._disk.lock(f"{self._directory}/{_GUARD}")
            if guard is not None:
                return guard
            await asyncio.sleep(_GUARD_PAUSE_SECONDS)
        raise OSError(errno.EBUSY, "another node looks and claims all the time")

    def _look(self) -> tuple[dict[str, Claim], dict[str, Claim]]:
        """Claims by their paths: those of processes that run, and what others chose before their
        end. What else is there goes."""
        live: dict[str, Claim] = {}
        dead: dict[str, Claim] = {}
        for name in self._disk.names(self._directory):
            if name == _GUARD:
                continue
            path = f"{self._directory}/{name}"
            held = self._disk.lock(path)
            claim = _decode(self._disk.read(path) or b"")
            if held is not None:
                held.release()
                if claim is not None and claim.chosen and len(dead) < _DEAD_KEPT:
                    dead[path] = claim
                else:
                    self._disk.remove(path)
            else:
                live[path] = claim or Claim("", 0, frozenset())
        return live, dead

    def _place(self, node: str, live: Container[str]) -> str:
        """The file of a node's claim: the same after a restart."""
        name = hashlib.blake2b(node.encode(), digest_size=8).hexdigest()
        paths = (f"{self._directory}/{name}-{number}" for number in itertools.count())
        return next(path for path in paths if path not in live)


def _encode(claim: Claim) -> bytes:
    return json.dumps(claim._asdict() | {"domains": sorted(claim.domains)}).encode()


def _decode(text: bytes) -> Claim | None:
    """A claim; None where there is none, or one of another release."""
    try:
        found = json.loads(text)
        node, memory, domains, chosen = (found[name] for name in Claim._fields)
        if not (isinstance(node, str) and node.isprintable()):
            return None
        return Claim(node, int(memory), frozenset(map(str, domains)), bool(chosen))
    except (ValueError, KeyError, TypeError):
        return None
