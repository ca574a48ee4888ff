"""Every operation of Hadoop 3.5's WebHDFS: which method it belongs to, and who carries it out.

What memfs has no meaning for stands in ``_UNSUPPORTED`` and is answered with an
UnsupportedOperationException, never with a pretence.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NoReturn, TypeAlias

from aiohttp import web

from memfs.gateway import (
    acls,
    attributes,
    checksums,
    concat,
    defaults,
    listing,
    locations,
    quotas,
    reading,
    status,
    tokens,
    tree,
    writing,
    xattrs,
)
from memfs.gateway.call import Call
from memfs.gateway.exceptions import ILLEGAL_ARGUMENT, UNSUPPORTED, Refusal

Operation: TypeAlias = Callable[[Call], Awaitable[web.StreamResponse]]

OPERATIONS: Final[Mapping[str, Mapping[str, Operation]]] = {
    "GET": status.GET
    | listing.GET
    | reading.GET
    | checksums.GET
    | locations.GET
    | xattrs.GET
    | acls.GET
    | quotas.GET
    | tokens.GET
    | defaults.GET,
    "PUT": writing.PUT
    | tree.PUT
    | attributes.PUT
    | xattrs.PUT
    | acls.PUT
    | quotas.PUT
    | tokens.PUT
    | defaults.PUT,
    "POST": writing.POST | concat.POST | defaults.POST,
    "DELETE": tree.DELETE,
}
"""By method, then by name."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_UNSUPPORTED: Final[Mapping[str, frozenset[str]]] = {
    "GET": _names(
        "GETECPOLICY GETECPOLICIES GETECCODECS GETSNAPSHOTDIFF GETSNAPSHOTDIFFLISTING "
        "GETSNAPSHOTTABLEDIRECTORYLIST GETSNAPSHOTLIST"
    ),
    "PUT": _names(
        "ENABLEECPOLICY DISABLEECPOLICY SETECPOLICY SETQUOTABYSTORAGETYPE ALLOWSNAPSHOT "
        "DISALLOWSNAPSHOT CREATESNAPSHOT RENAMESNAPSHOT"
    ),
    "POST": _names("UNSETECPOLICY"),
    "DELETE": _names("DELETESNAPSHOT"),
}


def find(method: str, name: str) -> Operation:
    """What carries out ``name``. Raises Refusal for what is unknown, missing or unsupported."""
    method = "GET" if method == "HEAD" else method
    found = OPERATIONS.get(method, {}).get(name)
    if found is None:
        _refuse(method, name)
    return found


def _refuse(method: str, name: str) -> NoReturn:
    if method not in OPERATIONS:
        raise Refusal(UNSUPPORTED, f"{method} is not supported", 405)
    if not name:
        raise Refusal(UNSUPPORTED, "op=NULL is not supported")
    if name in _UNSUPPORTED[method]:
        raise Refusal(UNSUPPORTED, f"op={name} is not supported")
    text = f'Invalid value for webhdfs parameter "op": {name} is not a valid {method} operation.'
    raise Refusal(ILLEGAL_ARGUMENT, text)
