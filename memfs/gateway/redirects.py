"""Locations: where the second step of an operation is done.

A location is absolute, has a query (Java appends ``&offset=``), can be used again and again, and
carries everything that the first step said but ``noredirect`` and ``offset``. It leads to the
address that the client itself used, to the one advertised, or to another gateway's.
"""

from __future__ import annotations

import re
from urllib.parse import quote, urlencode

from aiohttp import web

from memfs.gateway.call import Call
from memfs.gateway.replies import is_java, json_reply, redirect

PREFIX = "/webhdfs/v1"
DATA = "data"
"""The parameter that marks a second step."""
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_DROPPED = frozenset({"noredirect", "offset", DATA})
_SAFE = "/!$&'()*+,;=:@~"


def base_url(request: web.BaseRequest, advertised: str) -> str:
    """``http://host:port`` as this client reaches this gateway."""
    host = advertised or request.headers.get("Host", "")
    if not _AUTHORITY.fullmatch(host):
        address, port = request.transport.get_extra_info("sockname")[:2]  # type: ignore[union-attr]
        host = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    return f"{request.scheme}://{host}"


def file_url(base: str, path: str) -> str:
    """The address of a path, without a query."""
    return f"{base}{PREFIX}{quote(path, safe=_SAFE)}"


def location(call: Call, base: str = "") -> str:
    """Where the second step of ``call`` is done; ``base``: of another gateway."""
    base = base or base_url(call.request, call.shared.config.advertise)
    pairs = [pair for pair in call.parameters.pairs if pair[0].lower() not in _DROPPED]
    return f"{file_url(base, call.path)}?{urlencode([*pairs, (DATA, 'true')])}"


def to_second_step(call: Call, base: str = "") -> web.StreamResponse:
    """307, or the location as JSON for whom asked for that."""
    where = location(call, base)
    if call.parameters.flag("noredirect"):
        return json_reply(call.request, {"Location": where})
    return redirect(where)


def is_second_step(call: Call) -> bool:
    """Whether this request came by a location of ours."""
    return call.parameters.text(DATA).lower() == "true"


def wants_redirect(call: Call) -> bool:
    """Reads: Java's first OPEN must be redirected, everybody else is answered at once."""
    if call.parameters.flag("noredirect"):
        return True
    return is_java(call.request) and "offset" not in call.parameters and not is_second_step(call)
