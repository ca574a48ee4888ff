"""GETDELEGATIONTOKEN, RENEWDELEGATIONTOKEN, CANCELDELEGATIONTOKEN, and requests that show a token.

Tokens live in the namespace: any gateway issues, renews, cancels and honours them. A request with a
token is its owner's, whatever user it names besides. Invariant: each request with a token is
verified by the primary; nothing is remembered here.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from memfs.client.calls.deadline import Deadline
from memfs.client.filesystem import AsyncFileSystem
from memfs.errors import InvalidTokenError
from memfs.gateway.auth.authentication import RequestUser
from memfs.gateway.call import WebCall
from memfs.gateway.hadoop.exceptions import INVALID_TOKEN, IO, SECURITY, RemoteException
from memfs.gateway.hadoop.parameters import DELEGATION, USER
from memfs.gateway.http.replies import HttpReply, json_reply
from memfs.security.delegation_tokens import KIND, SECURE_KIND, Token

_REFRESH: Final = "Failed to obtain user group information:"
"""How a message begins that makes Hadoop's client get a new token."""


async def principal_of(text: str, fs: AsyncFileSystem, deadline: Deadline) -> RequestUser:
    """The owner of the token in a URL. Raises RemoteException when it is not valid."""
    try:
        found = await fs.verify_delegation_token(text, timeout=deadline)
    except InvalidTokenError as error:
        raise RemoteException(
            SECURITY, f"{_REFRESH} {INVALID_TOKEN.java_class}: {error.message}"
        ) from None
    return RequestUser(found.owner, None, found.real_user)


async def get_delegation_token(call: WebCall) -> web.StreamResponse:
    """GETDELEGATIONTOKEN: for the caller, who must have authenticated by other means."""
    if DELEGATION in call.parameters:
        text = "Delegation Token can be issued only with kerberos or web authentication"
        raise RemoteException(IO, text)
    renewer = call.parameters.matching("renewer", USER)
    secure = call.request.scheme == "https"
    kind = call.parameters.text("kind") or (SECURE_KIND if secure else KIND)
    service = call.parameters.text("service")
    token = await call.fs.get_delegation_token(
        renewer, kind=kind, service=service, timeout=call.deadline
    )
    return json_reply(call.request, {"Token": {"urlString": token.to_url()}})


async def renew_delegation_token(call: WebCall) -> web.StreamResponse:
    """RENEWDELEGATIONTOKEN: by its renewer."""
    until = await call.fs.renew_delegation_token(_token(call), timeout=call.deadline)
    return json_reply(call.request, {"long": until})


async def cancel_delegation_token(call: WebCall) -> web.StreamResponse:
    """CANCELDELEGATIONTOKEN: by its owner or its renewer."""
    await call.fs.cancel_delegation_token(_token(call), timeout=call.deadline)
    return HttpReply()


def _token(call: WebCall) -> Token:
    return Token.from_url(call.parameters.required("token", call.operation))


GET = {"GETDELEGATIONTOKEN": get_delegation_token}
PUT = {
    "RENEWDELEGATIONTOKEN": renew_delegation_token,
    "CANCELDELEGATIONTOKEN": cancel_delegation_token,
}
