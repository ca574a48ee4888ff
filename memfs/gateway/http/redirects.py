"""Locations: the URLs of the second step of an operation.

A location is absolute, has a query (Java appends ``&offset=``), can be used again and again, and
carries everything that the first step said but ``noredirect`` and ``offset``. It leads to an
address of this gateway, or to another gateway's.
"""

from __future__ import annotations

from urllib.parse import quote, urlencode

from aiohttp import hdrs, web

from memfs.gateway.call import WebCall
from memfs.gateway.http.replies import is_java, json_reply, local_address, redirect

PREFIX = "/webhdfs/v1"
DATA = "data"
"""The parameter that marks a second step."""
_DROPPED = frozenset({"noredirect", "offset", DATA})
_SAFE = "/!$&'()*+,;=:@~"


def base_url(call: WebCall) -> str:
    """``http://host:port`` as this client reaches this gateway."""
    host = call.request.headers.get(hdrs.HOST, "")
    return call.shared.addresses.base(host, *local_address(call.request))


def file_url(base: str, path: str) -> str:
    """The address of a path, without a query."""
    return f"{base}{PREFIX}{quote(path, safe=_SAFE)}"


def hadoop_url(call: WebCall) -> str:
    """What Hadoop calls the file: ``webhdfs://host:port/path``, with TLS ``swebhdfs``."""
    scheme, _, authority = base_url(call).partition("://")
    kind = "swebhdfs" if scheme == "https" else "webhdfs"
    return f"{kind}://{authority}{quote(call.path, safe=_SAFE)}"


def location(call: WebCall, base: str = "") -> str:
    """Where the second step of ``call`` is done; ``base``: of another gateway."""
    base = base or base_url(call)
    pairs = [pair for pair in call.parameters.pairs if pair[0].lower() not in _DROPPED]
    return f"{file_url(base, call.path)}?{urlencode([*pairs, (DATA, 'true')])}"


def to_second_step(call: WebCall, base: str = "") -> web.StreamResponse:
    """307, or the location as JSON with ``noredirect``."""
    where = location(call, base)
    if call.parameters.flag("noredirect"):
        return json_reply(call.request, {"Location": where})
    return redirect(where)


def is_second_step(call: WebCall) -> bool:
    """Whether this request came by a location of ours."""
    return call.parameters.text(DATA).lower() == "true"


def wants_redirect(call: WebCall) -> bool:
    """Reads: Java's first OPEN must be redirected, everybody else is answered at once."""
    if call.parameters.flag("noredirect"):
        return True
    return is_java(call.request) and "offset" not in call.parameters and not is_second_step(call)
