"""Protection of browsers' users against forged requests, as Hadoop's RestCsrfPreventionFilter.

Only what calls itself a browser is checked, and only what changes something.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from memfs.config import GatewayConfig
from memfs.gateway.exceptions import ILLEGAL_ARGUMENT, Refusal

HEADER: Final = "X-XSRF-HEADER"
_HARMLESS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_BROWSERS: Final = ("Mozilla", "Opera")


def check_csrf(config: GatewayConfig, request: web.BaseRequest) -> None:
    """Raises Refusal for a browser's change without the header, where that is configured."""
    if not config.csrf_protection or request.method in _HARMLESS or HEADER in request.headers:
        return
    if request.headers.get("User-Agent", "").startswith(_BROWSERS):
        text = "Missing Required Header for CSRF Vulnerability Protection"
        raise Refusal(ILLEGAL_ARGUMENT, text)
