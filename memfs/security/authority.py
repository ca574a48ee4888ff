"""Making certificates: an authority of its own, and what it signs for nodes and users.

Owns the content of certificates: P-256 keys, SHA-256, names, purposes and times. Pure but for the
random numbers of the library (``cryptography``): no clock, no files. Invariant: a user's
certificate cannot serve, only authenticate a client, so that no user can pretend to be a node to
others.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from memfs.errors import ConfigError
from memfs.security.principals import NODE, check_user

AUTHORITY_DAYS: Final = 3650
CERTIFICATE_DAYS: Final = 366
SKEW: Final = timedelta(hours=1)
"""Certificates begin so much in the past: the clocks of hosts differ."""


class Pair(NamedTuple):
    """A certificate and its private key, both PEM. ``repr`` does not show the key."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return f"Pair({self.certificate!r})"


def make_authority(name: str, days: int, now: datetime) -> Pair:
    """A new authority that signs certificates and nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _begun(subject, subject, key.public_key(), days, now)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    return _pair(builder.sign(key, hashes.SHA256()), key)


def make_node(authority: Pair, hosts: Sequence[str], days: int, now: datetime) -> Pair:
    """A node's certificate for the names and addresses by which others reach it."""
    if not hosts:
        raise ConfigError("a node's certificate needs the names and addresses it is reached by")
    names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return _signed(authority, NODE, purposes, names, days, now)


def make_client(authority: Pair, user: str, days: int, now: datetime) -> Pair:
    """A user's certificate. Raises ConfigError when the name is none."""
    purposes = [ExtendedKeyUsageOID.CLIENT_AUTH]
    return _signed(authority, check_user(user), purposes, None, days, now)


def expiry(certificate: bytes) -> float:
    """When a PEM certificate ends, in seconds since the epoch. Raises ConfigError."""
    return _parsed(certificate).not_valid_after_utc.timestamp()


def is_signed_by(certificates: bytes, authorities: bytes) -> bool:
    """Whether the first of these certificates is of an authority, or of the others beside it.

    All are PEM. Raises ConfigError.
    """
    first, *chain = _all_parsed(certificates)
    for each in (*_all_parsed(authorities), *chain):
        try:
            first.verify_directly_issued_by(each)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return True
    return False


def _signed(
    authority: Pair,
    name: str,
    purposes: list[x509.ObjectIdentifier],
    hosts: x509.SubjectAlternativeName | None,
    days: int,
    now: datetime,
) -> Pair:
    issuer, issuer_key = _parsed(authority.certificate), _private(authority.key)
    if issuer_key.public_key() != issuer.public_key():
        raise ConfigError("the authority's key does not belong to its certificate")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _begun(subject, issuer.subject, key.public_key(), days, now)
    builder = builder.add_extension(
        x509.BasicConstraints(ca=False, path_length=None), critical=True
    )
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    builder = builder.add_extension(identifier, critical=False)
    if hosts is not None:
        builder = builder.add_extension(hosts, critical=False)
    return _pair(builder.sign(issuer_key, hashes.SHA256()), key)


def _begun(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    days: int,
    now: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def digest(certificate: bytes) -> bytes:
    """SHA-256 of a certificate's DER. Raises ConfigError."""
    return _parsed(certificate).fingerprint(hashes.SHA256())


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError:
        text = f"{host!r} is no host name: write international ones in their ASCII form (xn--...)"
        raise ConfigError(text) from None


def _parsed(certificate: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(certificate)
    except ValueError:
        raise ConfigError("no certificate in PEM") from None


def _all_parsed(certificates: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(certificates)
    except ValueError:
        raise ConfigError("no certificate in PEM") from None


def _private(key: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        found = serialization.load_pem_private_key(key, None)
    except (ValueError, TypeError):
        raise ConfigError("the authority's key is no private key in PEM without password") from None
    if not isinstance(found, ec.EllipticCurvePrivateKey):
        raise ConfigError("the authority's key is of another kind than P-256")
    return found


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
