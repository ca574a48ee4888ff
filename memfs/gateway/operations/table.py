"""Every operation of Hadoop 3.5's WebHDFS: which method it belongs to, and who carries it out.

Operations that memfs does not have are listed in ``_UNSUPPORTED`` and answered with an
UnsupportedOperationException (snapshots with a SnapshotException).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NoReturn, TypeAlias

from aiohttp import web

from memfs.gateway.auth import tokens
from memfs.gateway.call import WebCall
from memfs.gateway.hadoop import defaults
from memfs.gateway.hadoop.exceptions import ILLEGAL_ARGUMENT, SNAPSHOT, UNSUPPORTED, RemoteException
from memfs.gateway.operations import (
    acls,
    attributes,
    checksums,
    concat,
    file_status,
    listing,
    locations,
    quotas,
    reading,
    writing,
    xattrs,
)
from memfs.gateway.operations import names as tree

Operation: TypeAlias = Callable[[WebCall], Awaitable[web.StreamResponse]]

OPERATIONS: Final[Mapping[str, Mapping[str, Operation]]] = {
    "GET": file_status.GET
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


METHODS: Final = ("GET", "HEAD", "PUT", "POST", "DELETE")


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
    """The function of operation ``name``. Raises RemoteException when there is none."""
    method = "GET" if method == "HEAD" else method
    found = OPERATIONS.get(method, {}).get(name)
    if found is None:
        _refuse(method, name)
    return found


def _refuse(method: str, name: str) -> NoReturn:
    if method not in OPERATIONS:
        raise RemoteException(UNSUPPORTED, f"{method} is not supported", 405)
    if not name:
        raise RemoteException(UNSUPPORTED, "op=NULL is not supported")
    if name in _UNSUPPORTED[method] and "SNAPSHOT" in name:
        # an IOException, of which Hadoop's shell prints one line instead of a stack
        raise RemoteException(SNAPSHOT, f"{name}: snapshots are not supported")
    if name in _UNSUPPORTED[method]:
        raise RemoteException(UNSUPPORTED, f"op={name} is not supported")
    text = f'Invalid value for webhdfs parameter "op": {name} is not a valid {method} operation.'
    raise RemoteException(ILLEGAL_ARGUMENT, text)
