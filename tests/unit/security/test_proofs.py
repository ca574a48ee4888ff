"""What a client signs, and what is believed of it."""

from __future__ import annotations

import pytest

from memfs.errors import AccessDeniedError
from memfs.security.delegation_tokens import Token
from memfs.security.proofs import (
    KeyProof,
    KeyProver,
    TokenProof,
    TokenProver,
    challenge,
    check_signature,
    proof_in,
    token_mac,
)
from memfs.security.signing import public_key

PRIVATE = bytes(range(32))
NONCE, CERTIFICATE = b"n" * 32, b"c" * 32
ASKED = challenge(NONCE, "cluster", CERTIFICATE)


def signed(asked: bytes = ASKED) -> KeyProof:
    found = proof_in(KeyProver(PRIVATE).prove(asked))
    assert isinstance(found, KeyProof)
    return found


def test_a_key_proves_itself() -> None:
    proof = signed()
    assert proof.key == public_key(PRIVATE)
    check_signature(proof, ASKED)


@pytest.mark.parametrize(
    "other",
    [
        challenge(b"m" * 32, "cluster", CERTIFICATE),
        challenge(NONCE, "other", CERTIFICATE),
        challenge(NONCE, "cluster", b"d" * 32),
    ],
    ids=["another connection", "another cluster", "another node"],
)
def test_a_proof_is_good_for_one_connection(other: bytes) -> None:
    with pytest.raises(AccessDeniedError, match="another connection, node or cluster"):
        check_signature(signed(), other)
    token = Token(b"identifier", b"password")
    proof = proof_in(TokenProver(token).prove(ASKED))
    assert isinstance(proof, TokenProof)
    assert proof.mac == token_mac(b"password", ASKED) != token_mac(b"password", other)
    assert proof.identifier == b"identifier"


def test_a_key_does_not_prove_another() -> None:
    proof = signed()._replace(key=public_key(bytes(32)))
    with pytest.raises(AccessDeniedError, match="not the key's"):
        check_signature(proof, ASKED)


@pytest.mark.parametrize("raw", [b"", b"k", b"k" + bytes(95), b"t" + bytes(32), b"x" + bytes(96)])
def test_what_is_no_proof(raw: bytes) -> None:
    with pytest.raises(AccessDeniedError, match="malformed"):
        proof_in(raw)
