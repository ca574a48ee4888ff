"""Failures of TLS in words that say what to do."""

from __future__ import annotations

import ssl
from typing import Final

_MEANINGS: Final = {
    "CERTIFICATE_REQUIRED": "it wants a certificate: make one with memfs certs create-client",
    "UNKNOWN_CA": "it does not know the authority of this certificate",
    "CERTIFICATE_EXPIRED": "this certificate is expired: renew it with memfs certs --overwrite",
    "BAD_CERTIFICATE": "it does not accept this certificate",
    "WRONG_VERSION_NUMBER": "it does not speak TLS: unset certificates to speak in clear",
    "UNEXPECTED_EOF": "it hung up; does it speak TLS? unset certificates to speak in clear",
}
_OTHERS: Final = "; is ca.crt here of the authority that signed it?"
_REMEDIES: Final = {  # by X509_V_ERR_...
    10: "; renew it there with memfs certs create-node HOST... --overwrite",
    18: _OTHERS,
    19: _OTHERS,
    20: _OTHERS,
    21: _OTHERS,
}


def explain(error: Exception) -> str:
    """Why a connection under TLS failed, and what to do; empty where it was not TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        text = f"its certificate is not accepted: {error.verify_message}"
        return text + _REMEDIES.get(error.verify_code, "")
    if isinstance(error, ssl.SSLError):
        reason = error.reason or str(error)
        for part, meaning in _MEANINGS.items():
            if part in reason:
                return meaning
        return f"TLS failed: {reason.lower().replace('_', ' ')}"
    return ""
