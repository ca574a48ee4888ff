"""Names, options, pages of whole levels, what is sent, and how often a store is asked again."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator

import pytest

from memfs.errors import ConfigError, InvalidArgumentError, StoreDeniedError, StoreUnreachableError
from memfs.stores.key_names import is_key, is_name
from memfs.stores.levels import Levels
from memfs.stores.opening import masked, open_store
from memfs.stores.options import Options, is_secret, refuse_secrets
from memfs.stores.retry import Retry
from memfs.stores.s3.credentials import Credentials, RefreshedCredentials, read_file
from memfs.stores.sending import Sending
from memfs.testing.simulation.virtual import run
from memfs.transport.environment import SystemClock, production_environment


def test_names() -> None:
    assert all(map(is_name, ["a", "ü" * 127, " ", "a:b", "..."]))
    assert not any(map(is_name, ["", ".", "..", "a/b", "a\0", "ü" * 128, "\udcff"]))
    assert is_key("") and is_key("a/b") and not is_key("a//b") and not is_key("/a")


def test_secrets_are_masked_and_refused() -> None:
    assert is_secret("secret_access_key") and is_secret("delegation_token")
    assert not is_secret("credentials") and not is_secret("token_file")
    url, options = masked("ftp://me:pass@host/d?sig=x", {"password": "p", "port": "1"})
    assert url == "ftp://me:***@host/d?***" and options == {"password": "***", "port": "1"}
    assert "canary" not in repr(Options({"session_token": "canary"}))
    refused: list[tuple[str, dict[str, str]]] = [
        ("s3://b", {"session_token": "canary"}),
        ("http://me:canary@host/", {}),
        ("s3://b", {"endpoint": "http://me:canary@host"}),
        ("fsspec+sftp://h/p", {"key": "-----BEGIN OPENSSH PRIVATE KEY-----\ncanary"}),
        ("fsspec+abfs://c/p", {"connection_string": "AccountKey=canary"}),
        ("fsspec+webdav://h/p", {"access_key": "canary"}),
    ]
    for url, given in refused:
        with pytest.raises(InvalidArgumentError) as raised:
            refuse_secrets(url, given)
        assert "credentials=" in str(raised.value) and "canary" not in str(raised.value)
    refuse_secrets("http://me@host/", {"credentials": "/a/file", "access_key_id": "public"})
    refuse_secrets("s3://b", {"endpoint": "http://host:1", "private_key_file": "/a@b/c:d"})
    refuse_secrets("", {})


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("nothing://x", {}),
        ("no url", {}),
        ("file://host/x", {}),
        ("s3://", {}),
        ("s3://b/a//b", {}),
        ("s3://b?x=1", {}),
        ("s3://b", {"endpoint": "host:1"}),
        ("s3://b", {"timeout": "soon"}),
        ("s3://b", {"anonymous": "maybe"}),
        ("s3://b", {"anonymous": "true", "credentials": "/x"}),
        ("webhdfs:///x", {}),
        ("fsspec+nothing://x", {}),
        ("file+x:///x", {}),
        ("file:///x", {"endpoint": "x"}),
    ],
)
def test_what_cannot_be_opened_is_said(url: str, options: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as raised:
        open_store(url, options, production_environment())
    assert "\n" not in str(raised.value)


def test_pages_of_a_level_are_each_name_once_though_names_come_and_go() -> None:
    names = [f"{number:03}" for number in range(100)] + ["", "..", ".memfs-uploads"]
    listed = 0

    async def whole() -> list[str]:
        nonlocal listed
        listed += 1
        return random.sample(names, len(names))

    async def main() -> None:
        levels = Levels()
        found, after, invalid = [], None, 0
        while True:
            some, bad, after = await levels.some("d", after, 7, whole)
            found, invalid = found + some, invalid + bad
            if after is None:
                break
        assert found == names[:100] and invalid == 2 and listed == 1
        some, _, _ = await Levels().some("d", "050", 3, whole)  # of another node, say
        assert some == ["051", "052", "053"]

    run(main())


async def chunks(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def test_what_is_sent_is_counted() -> None:
    sending = Sending(chunks(b"abc", b"", b"defgh"), 8)
    assert [bytes(piece) async for piece in sending.pieces(3)] == [b"abc", b"def", b"gh"]
    assert [bytes(piece) async for piece in Sending(chunks(), 0).pieces(3)] == [b""]
    for size in (7, 9):
        with pytest.raises(ValueError):
            [piece async for piece in Sending(chunks(b"abc", b"defgh"), size)]


def test_a_store_is_asked_again_with_growing_waits_until_the_time_is_over() -> None:
    async def main() -> None:
        loop, asked = asyncio.get_running_loop(), []

        async def failing() -> None:
            asked.append(loop.time())
            raise StoreUnreachableError("away")

        with pytest.raises(StoreUnreachableError):
            await Retry(random.Random(1), 30).run(failing, "x")
        waits = [later - sooner for sooner, later in itertools.pairwise(asked)]
        assert loop.time() <= 30 and max(waits) <= 5 and waits[0] < waits[4] and len(asked) > 8

        async def denied() -> None:
            asked.append(loop.time())
            raise StoreDeniedError("no")

        asked.clear()
        with pytest.raises(StoreDeniedError):
            await Retry(random.Random(1), 30).run(denied, "x")
        assert len(asked) == 1

        async def silent() -> None:
            await asyncio.sleep(1000)

        with pytest.raises(StoreUnreachableError, match="in time"):
            await Retry(random.Random(1), 30).run(silent, "x")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await Retry(random.Random(1), 30).run(silent, "x")

    run(main())


def test_a_try_that_the_time_cuts_short_does_not_hide_why_those_before_it_failed() -> None:
    async def main() -> None:
        asked = 0

        async def failing() -> None:
            nonlocal asked
            asked += 1
            if asked > 1:
                await asyncio.sleep(1000)
            raise StoreUnreachableError("another range")

        with pytest.raises(
            StoreUnreachableError, match="another range; asked 2 times in 30 s, the last"
        ):
            await Retry(random.Random(1), 30).run(failing, "x")
        assert asked == 2
        asked = 0
        with pytest.raises(StoreUnreachableError, match="in time"):  # of a try of its own
            await Retry(random.Random(1), 30, 10).run(failing, "x")

    run(main())


async def test_keys_are_asked_for_again_when_they_end_or_were_refused() -> None:
    given = [Credentials("a", "s", "", 0.0), Credentials("b", "s"), Credentials("c", "s")]

    async def source() -> Credentials:
        return given.pop(0)

    ring = RefreshedCredentials(source, Frozen())
    assert (await ring.current()).access_key_id == "a"  # type: ignore[union-attr]
    Frozen.now += 1.0
    assert (await ring.current()).access_key_id == "b"  # type: ignore[union-attr]
    assert (await ring.current()).access_key_id == "b"  # type: ignore[union-attr]
    ring.doubt()
    assert (await ring.current()).access_key_id == "c"  # type: ignore[union-attr]


class Frozen(SystemClock):
    """A clock that a test moves."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


def test_a_file_of_credentials(tmp_path) -> None:
    path = tmp_path / "keys"
    path.write_text("[x]\naws_access_key_id = k%\naws_secret_access_key = s=%\n")
    assert read_file(str(path), "x") == Credentials("k%", "s=%")
    for text in ("canary", "[x]\naws_secret_access_key=canary\n", "[y]\n", "\xff"):
        path.write_bytes(text.encode("latin-1"))
        with pytest.raises(StoreDeniedError) as raised:
            read_file(str(path), "x")
        assert "canary" not in str(raised.value) and "\n" not in str(raised.value)
    with pytest.raises(StoreDeniedError, match="cannot read"):
        read_file(str(tmp_path / "none"), "x")
