"""Hadoop's cookie: who can make one, and for how long it is good."""

from __future__ import annotations

import pytest

from memfs.gateway.auth.kerberos import COOKIE_SECONDS, Cookies


def test_a_cookie_is_good_for_ten_hours() -> None:
    now = 1_000.0
    cookies = Cookies(b"secret", lambda: now)
    value = cookies.make("alice", "REALM")
    assert value.startswith("u=alice&p=alice@REALM&t=kerberos&e=37000000&s=")
    assert cookies.principal(value) == "alice@REALM"
    now += COOKIE_SECONDS
    assert cookies.principal(value) == ""


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.replace("alice", "bobby"),
        lambda value: value.replace("e=3", "e=9"),
        lambda value: value.rpartition("&s=")[0],
        lambda value: value.rpartition("&s=")[0] + "&s=",
        lambda value: value[:-4] + "AAA=",
        lambda value: "",
        lambda value: "&s=",
        lambda value: "\udcff",
    ],
)
def test_cookies_that_somebody_made_up(change) -> None:
    cookies = Cookies(b"secret", lambda: 1_000.0)
    assert cookies.principal(change(cookies.make("alice", "REALM"))) == ""
    assert Cookies(b"other", lambda: 0.0).principal(cookies.make("alice", "REALM")) == ""
