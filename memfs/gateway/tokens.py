"""GETDELEGATIONTOKEN, RENEWDELEGATIONTOKEN, CANCELDELEGATIONTOKEN, and requests that show a token.

Tokens live in the namespace: any gateway issues, renews, cancels and honours them. A request that
shows one speaks for its owner, whatever else it says of its user. Invariant: each request with a
token is verified by the primary; nothing is remembered here.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from memfs.client.session import Session
from memfs.delegation import KIND, SECURE_KIND, Token
from memfs.errors import InvalidTokenError
from memfs.gateway.authentication import Principal
from memfs.gateway.call import Call
from memfs.gateway.exceptions import INVALID_TOKEN, IO, SECURITY, Refusal
from memfs.gateway.parameters import USER
from memfs.gateway.replies import Reply, json_reply
from memfs.protocol import messages as m

PARAMETER: Final = "delegation"
_REFRESH: Final = "Failed to obtain user group information:"
"""How a message begins that makes Hadoop's client get a new token."""


async def principal_of(text: str, session: Session) -> Principal:
    """Whom the token in a URL speaks for. Raises Refusal for one that is not good."""
    try:
        token = Token.from_url(text)
        request = m.VerifyToken(token.identifier, token.password)
        reply: m.VerifyTokenReply = await session.ask(request)
    except InvalidTokenError as error:
        raise Refusal(SECURITY, f"{_REFRESH} {INVALID_TOKEN.java_class}: {error.message}") from None
    return Principal(reply.owner, None, reply.real_user)


async def get_delegation_token(call: Call) -> web.StreamResponse:
    """GETDELEGATIONTOKEN: for the caller, who must have shown who he is otherwise."""
    if PARAMETER in call.parameters:
        text = "Delegation Token can be issued only with kerberos or web authentication"
        raise Refusal(IO, text)
    renewer = call.parameters.matching("renewer", USER)
    reply: m.TokenReply = await call.ask(m.IssueToken(renewer))
    secure = call.request.scheme == "https"
    kind = call.parameters.text("kind") or (SECURE_KIND if secure else KIND)
    service = call.parameters.text("service")
    token = Token(reply.identifier, reply.password, kind, service)
    return json_reply(call.request, {"Token": {"urlString": token.to_url()}})


async def renew_delegation_token(call: Call) -> web.StreamResponse:
    """RENEWDELEGATIONTOKEN: by its renewer."""
    token = _token(call)
    reply: m.RenewTokenReply = await call.ask(m.RenewToken(token.identifier, token.password))
    return json_reply(call.request, {"long": reply.expires_ms})


async def cancel_delegation_token(call: Call) -> web.StreamResponse:
    """CANCELDELEGATIONTOKEN: by its owner or its renewer."""
    token = _token(call)
    await call.ask(m.CancelToken(token.identifier, token.password))
    return Reply()


def _token(call: Call) -> Token:
    return Token.from_url(call.parameters.required("token", call.operation))


GET = {"GETDELEGATIONTOKEN": get_delegation_token}
PUT = {
    "RENEWDELEGATIONTOKEN": renew_delegation_token,
    "CANCELDELEGATIONTOKEN": cancel_delegation_token,
}
