"""The ways to authenticate that the settings name."""

from __future__ import annotations

from memfs.config import GatewayConfig
from memfs.gateway.auth.authentication import Authentication, Authenticator, Simple
from memfs.gateway.auth.client_certificates import ClientCertificates
from memfs.gateway.auth.json_web_tokens import JsonWebTokens
from memfs.gateway.auth.kerberos import Kerberos
from memfs.gateway.auth.token_file import TokenFile


def authentication(config: GatewayConfig) -> Authentication:
    """All of ``config.authentication``, in the order given. Raises ConfigError."""
    return Authentication([_method(name, config) for name in config.authentication])


def _method(name: str, config: GatewayConfig) -> Authenticator:
    if name == "bearer":
        return TokenFile(config.tokens_file)
    if name == "jwt":
        return JsonWebTokens(config)
    if name == "kerberos":
        return Kerberos(config)
    if name == "certificate":
        return ClientCertificates()
    return Simple(config.default_user)
