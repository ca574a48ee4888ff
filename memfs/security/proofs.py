"""How a client proves who it is on a connection that a node has challenged: by a key or a token.

Owns the bytes of ``Hello.authentication`` and what is signed. A node draws a nonce for each
connection; signed are the nonce, the cluster, and the certificate by which the node proved itself
on this connection. So a proof is good once, for one connection, with that node: one that was
recorded, or that another cluster or a false node asked for, proves nothing. Neither secrets nor
tokens' passwords are ever sent. Pure.

::

    authentication = "k" | public key (32) | Ed25519 signature (64)
                   | "t" | HMAC-SHA256 by the token's password (32) | the token's identifier
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final, NamedTuple, Protocol

from memfs.errors import AccessDeniedError
from memfs.security.delegation_tokens import Token
from memfs.security.keys import KEY_BYTES

NONCE_BYTES: Final = 32
_CONTEXT: Final = b"memfs client proof 1\0"
_KEY: Final = b"k"
_TOKEN: Final = b"t"
_SIGNATURE_BYTES: Final = 64
_MAC_BYTES: Final = 32


class KeyProof(NamedTuple):
    """By whoever has the private half of a key."""

    key: bytes
    signature: bytes


class TokenProof(NamedTuple):
    """By whoever has a token with its password."""

    mac: bytes
    identifier: bytes


class Prover(Protocol):
    """What a client proves itself with."""

    def prove(self, challenge: bytes) -> bytes:
        """``Hello.authentication`` for a challenge."""


def challenge(nonce: bytes, cluster: str, certificate: bytes) -> bytes:
    """What is to be signed. ``certificate``: SHA-256 of the node's, as DER."""
    assert len(nonce) == NONCE_BYTES, "a nonce of another length could be moved into its neighbour"
    return _CONTEXT + nonce + hashlib.sha256(cluster.encode()).digest() + certificate


class KeyProver:
    """Proves by an Ed25519 key."""

    def __init__(self, private: bytes) -> None:
        self._private = private

    def prove(self, challenge: bytes) -> bytes:
        """See :class:`Prover`."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        key = Ed25519PrivateKey.from_private_bytes(self._private)
        return _KEY + key.public_key().public_bytes_raw() + key.sign(challenge)


class TokenProver:
    """Proves by a delegation token."""

    def __init__(self, token: Token) -> None:
        self._token = token

    def prove(self, challenge: bytes) -> bytes:
        """See :class:`Prover`."""
        return _TOKEN + token_mac(self._token.password, challenge) + self._token.identifier


def proof_in(authentication: bytes) -> KeyProof | TokenProof:
    """What a client has sent. Raises AccessDeniedError."""
    kind, rest = authentication[:1], authentication[1:]
    if kind == _KEY and len(rest) == KEY_BYTES + _SIGNATURE_BYTES:
        return KeyProof(rest[:KEY_BYTES], rest[KEY_BYTES:])
    if kind == _TOKEN and len(rest) > _MAC_BYTES:
        return TokenProof(rest[:_MAC_BYTES], rest[_MAC_BYTES:])
    raise AccessDeniedError("the proof of who you are is malformed")


def check_signature(proof: KeyProof, challenge: bytes) -> None:
    """Believe that the holder of the key has signed the challenge. Raises AccessDeniedError."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(proof.key).verify(proof.signature, challenge)
    except (InvalidSignature, ValueError):
        raise AccessDeniedError(
            "the signature is not the key's for this connection: it is forged, or was made for "
            "another connection, node or cluster"
        ) from None


def token_mac(password: bytes, challenge: bytes) -> bytes:
    """The proof that somebody knows the password."""
    return hmac.digest(password, challenge, hashlib.sha256)
