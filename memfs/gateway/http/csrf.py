"""Protection of browsers' users against forged requests, as Hadoop's RestCsrfPreventionFilter.

Only what a browser sends is checked (Hadoop's filter looks at User-Agent alone, which a page can
set in some browsers; Origin and Sec-Fetch-Site it cannot), and only what changes something.
"""

from __future__ import annotations

from typing import Final

from aiohttp import hdrs, web

from memfs.config import GatewayConfig
from memfs.gateway.hadoop.exceptions import ILLEGAL_ARGUMENT, RemoteException

HEADER: Final = "X-XSRF-HEADER"
_HARMLESS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_CHANGING: Final = frozenset({"GETDELEGATIONTOKEN"})
"""Operations that change something with a harmless method."""
_SITE: Final = "Sec-Fetch-Site"
_BROWSERS: Final = ("Mozilla", "Opera")


def check_csrf(config: GatewayConfig, request: web.BaseRequest, operation: str) -> None:
    """Raises RemoteException for a browser's change without the header, unless switched off."""
    if not config.csrf_protection or HEADER in request.headers:
        return
    if request.method in _HARMLESS and operation not in _CHANGING:
        return
    headers = request.headers
    told = hdrs.ORIGIN in headers or _SITE in headers
    if told or headers.get(hdrs.USER_AGENT, "").startswith(_BROWSERS):
        text = "Missing Required Header for CSRF Vulnerability Protection"
        raise RemoteException(ILLEGAL_ARGUMENT, text)
