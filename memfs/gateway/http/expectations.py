"""Expect (RFC 9110, 10.1.1): what a client waits for before it sends its body."""

from __future__ import annotations

from typing import Final

from aiohttp import HttpVersion11, hdrs, web

from memfs.gateway.hadoop.exceptions import UNSUPPORTED, RemoteException

_CONTINUE: Final = "100-continue"


def check_expectations(request: web.BaseRequest) -> None:
    """Raises RemoteException (417) for an expectation that is not known."""
    for each in _expectations(request):
        if each != _CONTINUE:
            raise RemoteException(UNSUPPORTED, f"Expect: {each[:255]}: {_CONTINUE} is known", 417)


def awaits_continue(request: web.BaseRequest) -> bool:
    """Whether the client waits for 100 (Continue). HTTP/1.0 knows no such answer."""
    return request.version >= HttpVersion11 and _CONTINUE in _expectations(request)


def _expectations(request: web.BaseRequest) -> list[str]:
    lines = request.headers.getall(hdrs.EXPECT, ())
    members = (each.strip().lower() for line in lines for each in line.split(","))
    return [each for each in members if each]
