"""File contents that say who wrote them, so that every byte can be checked.

A content is a header line, ``TOKEN SIZE``, and bytes drawn from the token as a seed: no two blocks
of any two files are equal, and a mixture of two writes is recognised.
"""

from __future__ import annotations

import random

from memfs.testing.checkers.violation import Torn


def content(token: str, size: int) -> bytes:
    """What the write ``token`` puts into a file: ``size`` bytes, a header at least."""
    header = f"{token} {size}\n".encode()
    return header + random.Random(token).randbytes(max(0, size - len(header)))


def token_of(data: bytes) -> str | Torn:
    """Who wrote ``data``, every byte of it."""
    header, _, _ = bytes(data[:200]).partition(b"\n")
    token, _, size = header.decode(errors="replace").rpartition(" ")
    if not token or not size.isdigit():
        return Torn(f"{len(data)} bytes beginning with {bytes(data[:40])!r}")
    expected = content(token, int(size))
    if data != expected:
        return Torn(f"{len(data)} bytes that begin as {token}: {_difference(data, expected)}")
    return token


def _difference(data: bytes, expected: bytes) -> str:
    """How two byte strings differ."""
    if len(data) != len(expected):
        common = min(len(data), len(expected))
        same = data[:common] == expected[:common]
        return f"{len(expected)} were written" + ("" if same else " and they differ")
    at = next(i for i, (a, b) in enumerate(zip(data, expected, strict=True)) if a != b)
    return f"they differ from byte {at} on"
