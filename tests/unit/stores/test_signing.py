"""Signatures are those that Amazon's own library computes, and that of Amazon's example."""

from __future__ import annotations

import calendar
import hashlib
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from memfs.stores.s3.credentials import Credentials
from memfs.stores.s3.signature_v4 import EMPTY, RequestLine, encoded, query_string, signed_headers
from tests.support.examples import examples

EXAMPLE = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
DAY_NS = calendar.timegm((2013, 5, 24, 0, 0, 0)) * 10**9


def test_the_example_of_the_documentation() -> None:
    """From "Authenticating Requests: Using the Authorization Header", GET object."""
    line = RequestLine("GET", "examplebucket.s3.amazonaws.com", "/test.txt", "")
    headers = signed_headers(line, {"range": "bytes=0-9"}, EMPTY, EXAMPLE, "us-east-1", DAY_NS)
    assert headers["authorization"].endswith(
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )


@settings(max_examples=examples(15))
@given(
    key=st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), min_size=1, max_size=20),
    parameters=st.dictionaries(st.from_regex(r"[a-z-]{1,8}", fullmatch=True), st.text(max_size=10)),
    token=st.sampled_from(["", "a/token+=="]),
)
def test_as_botocore_signs(key: str, parameters: dict[str, str], token: str) -> None:
    from botocore import auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials as Theirs

    keys = Credentials("key", "secret/+", token)
    host, path = "s3.example:9000", f"/bucket/{encoded(key, '/')}"
    query = query_string(list(parameters.items()))
    body_hash = hashlib.sha256(b"body").hexdigest()
    ours = signed_headers(
        RequestLine("PUT", host, path, query), {"if-match": '"x"'}, body_hash, keys, "r", DAY_NS
    )
    url = f"http://{host}{path}{'?' + query if query else ''}"
    request = AWSRequest("PUT", url, {"if-match": '"x"'}, b"body")
    request.context["timestamp"] = datetime.fromtimestamp(DAY_NS // 10**9, UTC).strftime(
        "%Y%m%dT%H%M%SZ"
    )
    signer = auth.S3SigV4Auth(Theirs("key", "secret/+", token or None), "s3", "r")
    request.headers["X-Amz-Date"] = request.context["timestamp"]
    request.headers["X-Amz-Content-SHA256"] = body_hash
    if token:
        request.headers["X-Amz-Security-Token"] = token
    canonical = signer.canonical_request(request)
    theirs = signer.signature(signer.string_to_sign(request, canonical), request)
    assert ours["authorization"].rpartition("Signature=")[2] == theirs


def test_no_secret_is_shown() -> None:
    assert "secret" not in repr(Credentials("key", "the-secret", "the-secret-token"))
