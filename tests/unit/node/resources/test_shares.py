"""Shares of descriptors and mappings, and what is said when they run out."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memfs import limits
from memfs.errors import ConfigError
from memfs.node.resources import shares as share_rules
from memfs.node.resources.shares import (
    Shares,
    Shortage,
    say_what_does_not_fit,
    server_limits,
    share_out,
)
from memfs.transport.bounds.load import ServerLimits

MANY = 1 << 20


@given(st.integers(64, 1 << 31), st.integers(1000, 1 << 24), st.sampled_from([1, 2]))
def test_everybody_has_a_share_and_nobody_more(limit: int, mappings: int, each: int) -> None:
    shares = share_out(limit, mappings, each)
    sockets = shares.connections + shares.turned_away + shares.descriptor_clients
    assert min(sockets, shares.connections, shares.turned_away) > 0
    assert sockets + shares.memfds * each <= limit - share_rules.OWN
    assert shares.memfds < mappings


def test_a_usual_limit() -> None:
    shares = share_out(MANY, 1 << 24, 2)
    assert shares.connections == limits.CONNECTIONS_PER_NODE
    assert shares.memfds > 500_000 and not shares.mapped


def test_mappings_bound_too() -> None:
    shares = share_out(MANY, 65_530, 1)
    assert (shares.memfds, shares.mapped) == (49_147, True)
    assert "max_map_count" in shares.advice


def test_a_small_limit() -> None:
    shares = share_out(100, 65_530, 2)
    assert shares.memfds >= 10 and shares.connections >= 16
    with pytest.raises(ConfigError, match="ulimit -n"):
        share_out(63, 65_530, 2)


def test_a_small_node_takes_fewer_connections_and_keeps_less_for_them() -> None:
    shares = share_out(MANY, 65_530, 2, 192 * limits.MIB)
    assert shares.by_memory and shares.connections == 1536
    assert shares.turned_away <= shares.connections
    bounds = server_limits(shares, 192 * limits.MIB)
    assert bounds.arriving == 2 * bounds.arriving_per_principal == 12 * limits.MIB
    assert bounds.unread == 2 * bounds.unread_per_principal == 24 * limits.MIB
    assert share_out(MANY, 65_530, 2, limits.MIB).connections == 512
    assert server_limits(shares, limits.MIB).unread == 2 * limits.WRITE_HIGH_WATER
    large = share_out(MANY, 65_530, 2, 1 << 40)
    assert server_limits(large, 1 << 40) == ServerLimits(turned_away=large.turned_away)


def said(caplog: pytest.LogCaptureFixture, shares: Shares, memory: int) -> list[str]:
    caplog.clear()
    say_what_does_not_fit(shares, memory, 64 << 20)
    return [record.message for record in caplog.records]


def test_what_does_not_fit_is_said(caplog: pytest.LogCaptureFixture) -> None:
    enough = share_out(MANY, 65_530, 2)
    assert said(caplog, enough, 1 << 40) == []
    assert len(said(caplog, enough, 1 << 42)) == 1, "48 Ki groups of 64 MiB are 3 TiB"
    assert len(said(caplog, share_out(1024, 65_530, 2), 1 << 40)) == 2


def test_a_shortage_begins_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    refused = 0
    shortage = Shortage("none are left", "buy some", lambda: refused)
    with caplog.at_level(logging.INFO):
        shortage.look(0.0)
        assert not shortage.now
        refused = 3
        shortage.look(1.0)
        refused = 5
        shortage.look(40.0)
        assert shortage.now
        shortage.look(99.0)
        assert shortage.now
        shortage.look(100.0)
        assert not shortage.now
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
