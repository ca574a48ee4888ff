"""Requests of a user in a second, where that is limited."""

from __future__ import annotations

from memfs.transport.bounds.rates import UNLIMITED, Rates


def test_a_user_makes_so_many_requests_a_second() -> None:
    now = [0.0]
    rates = Rates(lambda: now[0])
    rates.limit_of = lambda user: 2 if user == "mallory" else UNLIMITED
    assert [bool(rates.refusal("mallory")) for _ in range(4)] == [False, False, True, True]
    assert not any(rates.refusal("alice") for _ in range(100))
    assert "mallory makes more than 2 requests a second" in rates.refusal("mallory")
    now[0] = 1.0
    assert not rates.refusal("mallory")
