"""Delegation tokens in the replicated state: who may what, expiry, keys that roll, bounds."""

from __future__ import annotations

import random

import pytest

from memfs import limits
from memfs.errors import (
    BusyError,
    InvalidArgumentError,
    InvalidTokenError,
    NotPermittedError,
)
from memfs.node.namespace.tables.tokens import Tokens
from memfs.protocol import messages as m
from memfs.security.delegation_tokens import TokenIdentifier

from ..machine import Machine

DAY_MS = 86_400_000
KEY = bytes(range(32))
SECOND_KEY = bytes(range(1, 33))


@pytest.fixture
def machine() -> Machine:
    """One entry a second; tokens live 60 s unless renewed, 300 s at most."""
    machine = Machine()
    machine.run(m.AddTokenKey(KEY, 60_000, 300_000))
    return machine


def issue(machine: Machine, user: str = "alice", renewer: str = "bob", **more: str) -> m.TokenReply:
    return machine.run(m.IssueToken(renewer, **more), user)  # type: ignore[no-any-return]


def verify(machine: Machine, token: m.TokenReply) -> m.VerifyTokenReply:
    return machine.ask(m.VerifyToken(token.identifier, token.password), "carol")  # type: ignore


def cancel(machine: Machine, token: m.TokenReply, user: str) -> None:
    machine.run(m.CancelToken(token.identifier, token.password), user)


def renew(machine: Machine, token: m.TokenReply, user: str = "bob") -> int:
    reply = machine.run(m.RenewToken(token.identifier, token.password), user)
    return reply.expires_ms  # type: ignore[no-any-return]


def now_ms(machine: Machine) -> int:
    return machine.namespace.now_ns // 1_000_000


def test_a_token_says_who_has_it_and_how_long(machine: Machine) -> None:
    token = issue(machine)
    now = now_ms(machine)
    assert TokenIdentifier.decode(token.identifier) == (
        "alice",
        "bob",
        "",
        now,
        now + 300_000,
        1,
        1,
    )
    assert verify(machine, token) == ("alice", "bob", "", now + 60_000)
    assert token.expires_ms == now + 60_000


def test_the_superuser_gets_tokens_for_others(machine: Machine) -> None:
    token = issue(machine, "root", owner="alice", real_user="oozie")
    assert verify(machine, token)[:3] == ("alice", "bob", "oozie")
    for more in ({"owner": "bob"}, {"real_user": "bob"}):
        with pytest.raises(NotPermittedError):
            issue(machine, "alice", **more)
    with pytest.raises(InvalidArgumentError):
        issue(machine, "alice", "x" * 256)


def test_forged_tokens_are_refused(machine: Machine) -> None:
    token = issue(machine)
    wrong = bytes(len(token.password))
    changed = TokenIdentifier.decode(token.identifier)._replace(owner="root").encode()
    later = TokenIdentifier.decode(token.identifier)._replace(sequence=2).encode()
    for identifier, password in (
        (token.identifier, wrong),
        (token.identifier, b""),
        (changed, token.password),
        (later, token.password),
        (b"", token.password),
        (token.identifier + b"\0", token.password),
    ):
        forged = m.TokenReply(identifier, password, 0)
        with pytest.raises(InvalidTokenError):
            verify(machine, forged)
        with pytest.raises(InvalidTokenError):
            cancel(machine, forged, "alice")
        with pytest.raises(InvalidTokenError):
            renew(machine, forged)


def test_the_renewer_renews_up_to_the_end(machine: Machine) -> None:
    token = issue(machine)
    issued = now_ms(machine)
    for user in ("alice", "root", "carol"):
        with pytest.raises(NotPermittedError):
            renew(machine, token, user)
    assert renew(machine, token) == now_ms(machine) + 60_000
    for _ in range(300):
        if renew(machine, token) == issued + 300_000:
            break
    assert now_ms(machine) >= issued + 239_000
    nobodys = issue(machine, renewer="")
    with pytest.raises(NotPermittedError):
        renew(machine, nobodys, "hermit")


def test_what_is_expired_stays_so(machine: Machine) -> None:
    token = issue(machine)
    for _ in range(60):
        machine.run(m.MakeDirectory(b"/d", parents=True))
    with pytest.raises(InvalidTokenError):
        renew(machine, token)
    issue(machine)
    issue(machine)
    with pytest.raises(InvalidTokenError):
        verify(machine, token)


def test_owner_renewer_and_superuser_cancel(machine: Machine) -> None:
    for user in ("alice", "bob", "root"):
        token = issue(machine)
        with pytest.raises(NotPermittedError):
            cancel(machine, token, "carol")
        cancel(machine, token, user)
        for act in (verify, renew):
            with pytest.raises(InvalidTokenError):
                act(machine, token)


def test_a_retry_gets_the_same_token(machine: Machine) -> None:
    entry = machine.entry(m.IssueToken("bob"), "alice")
    first = machine.apply(entry).record
    assert machine.apply(entry._replace(index=entry.index + 1)).record == first
    assert len(machine.namespace.volume.tokens.by_sequence) == 1


def test_keys_roll_and_go_with_their_last_token(machine: Machine) -> None:
    tokens = machine.namespace.volume.tokens
    old = issue(machine)
    machine.run(m.AddTokenKey(SECOND_KEY, 60_000, 300_000))
    new = issue(machine)
    assert set(tokens.keys) == {1, 2}
    assert verify(machine, old).owner == verify(machine, new).owner == "alice"
    cancel(machine, old, "alice")
    assert set(tokens.keys) == {2}
    for request in (
        m.AddTokenKey(b"short", 1, 1),
        m.AddTokenKey(KEY, 0, 1),
        m.AddTokenKey(KEY, 2, 1),
    ):
        with pytest.raises(InvalidArgumentError):
            machine.run(request)


def test_a_key_is_due_when_it_is_old_or_of_other_terms() -> None:
    machine = Machine()
    namespace = machine.namespace
    with pytest.raises(BusyError):
        issue(machine)
    assert namespace.token_key_is_due(0, DAY_MS, 60_000, 300_000)
    machine.run(m.AddTokenKey(KEY, 60_000, 300_000))
    now = namespace.now_ns
    assert not namespace.token_key_is_due(now, DAY_MS, 60_000, 300_000)
    assert not namespace.token_key_is_due(0, DAY_MS, 60_000, 300_000)
    assert namespace.token_key_is_due(now, DAY_MS, 60_000, 300_001)
    assert namespace.token_key_is_due(now + DAY_MS * 1_000_000, DAY_MS, 60_000, 300_000)


def test_a_clock_that_was_ahead_stops_neither_keys_nor_pruning() -> None:
    tokens, ahead = Tokens(), 10 * DAY_MS
    tokens.add_key(KEY, 60_000, 300_000, ahead)
    tokens.issue("a", "b", "", ahead)
    assert tokens.key_is_due(5, DAY_MS, 60_000, 300_000)
    tokens.add_key(SECOND_KEY, 60_000, 300_000, 5)
    tokens.issue("a", "b", "", 5)
    tokens.prune(5 + 2 * 60_000)
    assert [held.key for held in tokens.by_sequence.values()] == [1]


def test_their_number_is_bounded() -> None:
    tokens = Tokens()
    tokens.add_key(KEY, 10, 10, 0)
    for number in range(limits.TOKENS):
        tokens.issue(f"a{number // limits.TOKENS_PER_OWNER}", "b", "", 0)
    with pytest.raises(BusyError):
        tokens.issue("c", "b", "", 9)
    tokens.issue("c", "b", "", 10)
    assert len(tokens.by_sequence) == 1
    tokens.check_invariants()


def test_one_owner_leaves_the_others_theirs() -> None:
    tokens = Tokens()
    tokens.add_key(KEY, 10, 10, 0)
    for _ in range(limits.TOKENS_PER_OWNER):
        last, _, _ = tokens.issue("a", "b", "", 0)
    with pytest.raises(NotPermittedError, match="a has 4096 delegation tokens"):
        tokens.issue("a", "b", "", 9)
    tokens.issue("other", "b", "a", 9)
    tokens.cancel(TokenIdentifier.decode(last))
    tokens.issue("a", "b", "", 9)
    tokens.check_invariants()
    tokens.issue("a", "b", "", 10)
    assert len(tokens.by_sequence) == 3
    tokens.check_invariants()


def test_nothing_secret_is_shown(machine: Machine) -> None:
    token = issue(machine)
    volume = machine.namespace.volume
    shown = [
        repr(token),
        repr(m.AddTokenKey(KEY, 1, 1)),
        repr(m.VerifyToken(*token[:2])),
        repr(m.RenewToken(*token[:2])),
        repr(m.CancelToken(*token[:2])),
        repr(volume.tokens.keys),
        repr(volume.tokens.by_sequence),
    ]
    for secret in (KEY, token.password):
        assert not any(repr(secret)[2:-1] in text for text in shown)


@pytest.mark.parametrize("seed", range(10))
def test_random_use_against_a_plain_list(seed: int) -> None:
    """Every token is good from its issue until it is cancelled or over, in a copy as well."""
    dice, machine = random.Random(seed), Machine()
    machine.run(m.AddTokenKey(KEY, 20_000, 50_000))
    ends: dict[m.TokenReply, tuple[int, int]] = {}
    for _ in range(120):
        act = dice.choice(["issue", "issue", "renew", "cancel", "roll", "copy"])
        chosen = dice.choice(list(ends)) if ends else None
        if act == "issue":
            token = issue(machine)
            ends[token] = now_ms(machine) + 20_000, now_ms(machine) + 50_000
        elif act == "roll" and dice.random() < 0.3:
            machine.run(m.AddTokenKey(dice.randbytes(32), 20_000, 50_000))
        elif act == "copy":
            copy = machine.copy()
            assert list(copy.namespace.snapshot()) == list(machine.namespace.snapshot())
            machine.namespace = copy.namespace
        elif chosen is not None and act == "cancel" and dice.random() < 0.5:
            if ends.pop(chosen)[0] > now_ms(machine) + 1000:
                cancel(machine, chosen, "alice")
        elif chosen is not None and act == "renew":
            alive = ends[chosen][0] > now_ms(machine) + 1000
            if alive:
                ends[chosen] = renew(machine, chosen), ends[chosen][1]
                assert ends[chosen][0] == min(now_ms(machine) + 20_000, ends[chosen][1])
        for token, (end, _) in ends.items():
            if end > now_ms(machine):
                assert verify(machine, token).expires_ms == end
