"""What a retry may help, and what is said at once: one table for all kinds of stores."""

from __future__ import annotations

import asyncio
import errno
import random

import pytest

from memfs.errors import (
    InvalidArgumentError,
    MemfsError,
    ObjectChangedError,
    ObjectMissingError,
    StoreDeniedError,
    StoreUnreachableError,
    StoreUnsupportedError,
)
from memfs.stores.adapter import of_library_error
from memfs.stores.errors import of_os_error, of_status, retried
from memfs.stores.range_reader import translated
from memfs.stores.retry import Retry, answered_within
from memfs.stores.s3.replies import error_of

AGAIN = {408, 425, 429}
NEVER = {501, 505}
KINDS = {
    401: StoreDeniedError,
    403: StoreDeniedError,
    404: ObjectMissingError,
    405: StoreUnsupportedError,
    409: ObjectChangedError,
    410: ObjectMissingError,
    412: ObjectChangedError,
    416: ObjectChangedError,
    501: StoreUnsupportedError,
}
"""What is no refusal of the request itself."""


class GenericError(Exception):
    """As the library's."""


class HttpError(Exception):
    """As those of libraries below fsspec."""

    def __init__(self, status: int) -> None:
        self.status = status


@pytest.mark.parametrize("status", range(400, 600))
def test_a_status_means_the_same_to_every_kind_of_store(status: int) -> None:
    again = status in AGAIN or (status >= 500 and status not in NEVER)
    assert retried(status) is again
    said = f"Error performing PUT http://h/b/k - Server returned non-2xx status code: {status} Such"
    found: list[MemfsError] = [
        of_status(status, "k"),
        translated(GenericError(said), "k"),
        error_of(status, {}, b"<Error><Code>Such</Code></Error>", "k"),
        of_library_error(HttpError(status), "k"),
    ]
    assert [isinstance(each, StoreUnreachableError) for each in found] == [again] * len(found)
    if not again:
        kind = KINDS.get(status, InvalidArgumentError)
        if status in (407, 505):
            kind = StoreDeniedError if status == 407 else StoreUnsupportedError
        assert {type(each) for each in found} == {kind}
    assert all(str(status) in str(each) for each in found)


@pytest.mark.parametrize("status", [200, 400, 409, 503])
@pytest.mark.parametrize("code", ["SlowDown", "RequestTimeout", "ConditionalRequestConflict"])
def test_a_code_may_say_that_a_retry_helps(status: int, code: str) -> None:
    body = f"<Error><Code>{code}</Code></Error>"
    assert isinstance(error_of(status, {}, body.encode(), "k"), StoreUnreachableError)
    said = f"Server returned non-2xx status code: {status} Such: {body}"
    assert isinstance(translated(GenericError(said), "k"), StoreUnreachableError)


@pytest.mark.parametrize(
    ("number", "again"),
    [
        (errno.ECONNRESET, True),
        (errno.ETIMEDOUT, True),
        (errno.EIO, True),
        (errno.ENOSPC, True),
        (errno.ENAMETOOLONG, False),
        (errno.EINVAL, False),
        (errno.ELOOP, False),
        (errno.EFBIG, False),
        (-2, True),  # of a look-up of a host's name
    ],
)
def test_what_the_operating_system_says(number: int, again: bool) -> None:
    error = of_os_error(OSError(number, "such"), "k")
    assert isinstance(error, StoreUnreachableError) is again
    assert "such" in str(error)
    assert isinstance(of_os_error(OSError("a library's own"), "k"), StoreUnreachableError)


def test_what_a_library_cannot_do_is_not_asked_again() -> None:
    class NotSupportedError(Exception):
        pass

    assert isinstance(of_library_error(NotImplementedError(), "k"), StoreUnsupportedError)
    assert isinstance(of_library_error(TypeError("a-secret"), "k"), InvalidArgumentError)
    assert isinstance(of_library_error(GenericError(), "k"), StoreUnreachableError)
    assert isinstance(translated(NotSupportedError(), "k"), StoreUnsupportedError)
    assert isinstance(translated(GenericError("no route"), "k"), StoreUnreachableError)
    assert isinstance(translated(ValueError("illegal character"), "k"), StoreUnsupportedError)


@pytest.mark.parametrize(
    ("status", "code", "kind", "word"),
    [
        (403, "InvalidObjectState", StoreUnsupportedError, "archived"),
        (409, "BlobArchived", StoreUnsupportedError, "archived"),
        (403, "RequestTimeTooSkewed", StoreDeniedError, "clock"),
        (400, "ExpiredToken", StoreDeniedError, "expired"),
        (403, "AccessDenied", StoreDeniedError, "AccessDenied"),
        (412, "PreconditionFailed", ObjectChangedError, "changed"),
    ],
)
def test_a_code_says_more_than_its_status(
    status: int, code: str, kind: type[MemfsError], word: str
) -> None:
    """Whatever class the library makes of it."""
    body = f"<Error><Code>{code}</Code></Error>"
    said = f"Server returned non-2xx status code: {status} Such: {body}"
    for name in ("PermissionDeniedError", "AlreadyExistsError", "PreconditionError"):
        librarys = type(name, (Exception,), {})
        found = [error_of(status, {}, body.encode(), "k"), translated(librarys(said), "k")]
        assert {type(each) for each in found} == {kind}
        assert all(word in each.message for each in found)


def test_who_cannot_wait_for_a_budget_hears_what_the_store_said() -> None:
    async def main() -> None:
        async def fails() -> None:
            raise StoreUnreachableError("no route")

        async def hangs() -> None:
            await asyncio.sleep(60)

        retry = Retry(random.Random(1), 60.0)
        for attempt, said in ((fails, "no route; asked"), (hangs, "did not answer in time")):
            with answered_within(0.3), pytest.raises(StoreUnreachableError, match=said):
                await retry.run(attempt, "k")

    asyncio.run(asyncio.wait_for(main(), 30))


def test_retries_inside_retries_are_counted_once() -> None:
    async def main() -> None:
        asked = 0

        async def fails() -> None:
            nonlocal asked
            asked += 1
            raise StoreUnreachableError("no route")

        inner, outer = Retry(random.Random(1), 0.3), Retry(random.Random(2), 1.0)
        with pytest.raises(StoreUnreachableError) as caught:
            await outer.run(lambda: inner.run(fails, "k"), "k")
        assert caught.value.message.startswith(f"no route; asked {asked} times in ")
        assert caught.value.message.count("asked") == 1

    asyncio.run(asyncio.wait_for(main(), 30))
