"""``certificate``: the user is whom the certificate of the TLS connection names."""

from __future__ import annotations

import time

from aiohttp import web

from memfs.errors import AccessDeniedError
from memfs.gateway.auth.authentication import RequestUser, Unauthenticated
from memfs.gateway.hadoop.parameters import USER, Parameters
from memfs.security import principals


class ClientCertificates:
    """The common name of a certificate that ``tls_client_ca`` has signed.

    TLS has verified it already: a connection with another certificate is closed before.
    """

    challenge = ""

    async def authenticate(
        self, request: web.BaseRequest, parameters: Parameters
    ) -> RequestUser | None:
        """None: the connection has no certificate. Raises Unauthenticated if it names no user."""
        certificate = request.get_extra_info("peercert")
        if not certificate:
            return None
        try:
            found = principals.principal_of(certificate)
        except AccessDeniedError as error:
            raise Unauthenticated(error.message) from None
        if 0 < found.expires <= time.time():  # since the connection was opened
            raise Unauthenticated("The certificate has expired")
        if found.is_node or not USER.fullmatch(found.name):
            raise Unauthenticated("The certificate names no user")
        return RequestUser(found.name)
