"""Delegation tokens: who has been given the right to speak for whom, and until when.

Owns the tokens that are alive and the master keys that made their passwords (HMAC-SHA256 of the
identifier's bytes). It draws no random number and reads no clock: key material comes with the
command that adds a key, times with every command (DeterministicApply). A token is good while it
is listed here and its time has not come: a key alone proves nothing, so cancelling is final.

Invariant: every token's key is held; beside these only the newest key is. There are at most
``limits.TOKENS`` tokens, ``limits.TOKENS_PER_OWNER`` of one owner; their numbers never come back.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Mapping
from typing import Final, NamedTuple

from memfs import limits
from memfs.errors import BusyError, InvalidTokenError, NotPermittedError
from memfs.security.delegation_tokens import TokenIdentifier

PRUNE_MS: Final = 60_000
"""Time between two searches for tokens that are over."""


class MasterKey(NamedTuple):
    """What passwords are made with, and the terms of the tokens made with it."""

    number: int
    material: bytes
    created_ms: int
    renew_ms: int
    """A token ends so long after it was issued or renewed."""
    lifetime_ms: int
    """... and cannot be renewed beyond this."""

    def __repr__(self) -> str:
        return f"MasterKey({self.number})"


class Held(NamedTuple):
    """A token that is alive."""

    identifier: bytes
    key: int
    expires_ms: int


class Tokens:
    """All tokens and keys."""

    __slots__ = ("_of_owner", "by_sequence", "keys", "newest", "pruned_ms", "sequence")

    def __init__(self) -> None:
        self.by_sequence: dict[int, Held] = {}
        self.keys: dict[int, MasterKey] = {}
        self.newest = 0
        """Number of the key for new tokens; 0: there is none yet."""
        self.sequence = 0
        """Number of the last token."""
        self.pruned_ms = 0
        self._of_owner: Counter[str] = Counter()

    def key_is_due(self, now_ms: int, roll_ms: int, renew_ms: int, lifetime_ms: int) -> bool:
        """Should a key be added before the next token is issued?"""
        key = self.keys.get(self.newest)
        if key is None or key[3:] != (renew_ms, lifetime_ms):
            return True
        return abs(now_ms - key.created_ms) >= roll_ms  # the clock may have been ahead

    def add_key(self, material: bytes, renew_ms: int, lifetime_ms: int, now_ms: int) -> None:
        """Make new tokens with another key from now on."""
        self.prune(now_ms, force=True)
        self.newest += 1
        self.keys[self.newest] = MasterKey(self.newest, material, now_ms, renew_ms, lifetime_ms)
        self._drop_keys()

    def issue(
        self,
        owner: str,
        renewer: str,
        real_user: str,
        now_ms: int,
        most: int = limits.TOKENS_PER_OWNER,
    ) -> tuple[bytes, bytes, int]:
        """A new token: identifier, password, expiry; an owner gets ``most``.

        Raises BusyError, NotPermittedError.
        """
        full = len(self.by_sequence) >= limits.TOKENS or self._of_owner[owner] >= most
        self.prune(now_ms, force=full)
        if self._of_owner[owner] >= most:
            raise NotPermittedError(
                f"{owner} has {most} delegation tokens, as many as one user gets: cancel some"
            )
        key = self.keys.get(self.newest)
        if key is None or len(self.by_sequence) >= limits.TOKENS:
            raise BusyError("no key yet" if key is None else f"{limits.TOKENS} tokens are in use")
        self.sequence += 1
        latest_ms = now_ms + key.lifetime_ms
        identifier = TokenIdentifier(
            owner, renewer, real_user, now_ms, latest_ms, self.sequence, key.number
        ).encode()
        expires_ms = min(now_ms + key.renew_ms, latest_ms)
        self.hold(self.sequence, Held(identifier, key.number, expires_ms))
        return identifier, password_of(key, identifier), expires_ms

    @property
    def of_owners(self) -> Mapping[str, int]:
        """Number of tokens by owner."""
        return self._of_owner

    @property
    def most(self) -> int:
        """Tokens of the owner who has most of them."""
        return max(self._of_owner.values(), default=0)

    def hold(self, number: int, held: Held) -> None:
        """Add a token, a new one or one of a snapshot."""
        self.by_sequence[number] = held
        self._of_owner[owner_of(held)] += 1

    def verify(self, raw: bytes, password: bytes) -> tuple[TokenIdentifier, Held]:
        """The identifier of a token that is ours and not cancelled; the caller checks its expiry.

        Raises InvalidTokenError.
        """
        identifier, held, expected = self.known(raw)
        if not hmac.compare_digest(expected, password):
            raise InvalidTokenError("the token's password is wrong")
        return identifier, held

    def known(self, raw: bytes) -> tuple[TokenIdentifier, Held, bytes]:
        """A token that is ours and not cancelled, and the password of whoever has it.

        Raises InvalidTokenError.
        """
        identifier = TokenIdentifier.decode(raw)
        held = self.by_sequence.get(identifier.sequence)
        if held is None or held.identifier != raw:
            raise InvalidTokenError("the token is unknown, cancelled or expired")
        return identifier, held, password_of(self.keys[held.key], raw)

    def renew(self, identifier: TokenIdentifier, now_ms: int) -> int:
        """Prolong a verified token; its new expiry."""
        held = self.by_sequence[identifier.sequence]
        expires_ms = min(now_ms + self.keys[held.key].renew_ms, identifier.latest_ms)
        self.by_sequence[identifier.sequence] = held._replace(expires_ms=expires_ms)
        return expires_ms

    def cancel(self, identifier: TokenIdentifier) -> None:
        """End a verified token."""
        self._forget(identifier.sequence)
        self._drop_keys()

    def prune(self, now_ms: int, *, force: bool = False) -> None:
        """Remove expired tokens and keys without tokens; called now and then."""
        if not force and abs(now_ms - self.pruned_ms) < PRUNE_MS:
            return
        self.pruned_ms = now_ms
        over = [number for number, held in self.by_sequence.items() if held.expires_ms <= now_ms]
        for number in over:
            self._forget(number)
        if over:
            self._drop_keys()

    def check_invariants(self) -> None:
        """Assert the module's invariant."""
        used = {held.key for held in self.by_sequence.values()}
        assert set(self.keys) == used | ({self.newest} if self.newest else set())
        assert len(self.by_sequence) <= limits.TOKENS
        assert self._of_owner == Counter(map(owner_of, self.by_sequence.values()))
        assert all(0 < number <= self.sequence for number in self.by_sequence)
        for number, held in self.by_sequence.items():
            identifier = TokenIdentifier.decode(held.identifier)
            assert (identifier.sequence, identifier.key) == (number, held.key)
            assert held.expires_ms <= identifier.latest_ms

    def _forget(self, number: int) -> None:
        owner = owner_of(self.by_sequence.pop(number))
        self._of_owner[owner] -= 1
        if not self._of_owner[owner]:
            del self._of_owner[owner]

    def _drop_keys(self) -> None:
        if len(self.keys) > 1:
            used = {held.key for held in self.by_sequence.values()} | {self.newest}
            self.keys = {number: key for number, key in self.keys.items() if number in used}


def owner_of(held: Held) -> str:
    """For whom a token speaks."""
    return TokenIdentifier.decode(held.identifier).owner


def password_of(key: MasterKey, identifier: bytes) -> bytes:
    """The proof that the holder of ``key`` made the token."""
    return hmac.digest(key.material, identifier, hashlib.sha256)
