"""Low space is told once, and again only after there was enough."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import pytest

from memfs.node.space import SpaceWatch


@dataclass
class Account:
    used: int = 0
    limit: int = 1000


def test_hysteresis(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "memfs.node.space")
    account = Account()
    watch = SpaceWatch(account)
    low = []
    for used in (0, 899, 900, 999, 870, 901, 850, 849, 899, 900):
        account.used = used
        watch.look()
        low.append(watch.low)
    assert low == [False, False, True, True, True, True, True, False, False, True]
    assert [record.message for record in caplog.records] == [
        "low space",
        "enough space",
        "low space",
    ]


def test_a_node_without_a_limit_is_never_low() -> None:
    watch = SpaceWatch(Account(0, 0))
    watch.look()
    assert not watch.low
