"""Bytes that pass for others: what a hostile node can do to a CRC."""

from __future__ import annotations

from memfs.checksum import crc32c


def forge(data: bytes) -> bytes:
    """Other bytes of the same CRC32C: a flipped bit, and four bytes that make up for it.

    CRCs are affine, so the 32 bits of the correction are the solution of linear equations.
    """
    changed = bytearray(data)
    changed[len(data) // 2] ^= 1
    at = len(data) - 4
    base = crc32c(bytes(changed))
    wanted = base ^ crc32c(data)
    rows = []
    for bit in range(32):
        trial = bytearray(changed)
        trial[at + bit // 8] ^= 1 << bit % 8
        rows.append((crc32c(bytes(trial)) ^ base, 1 << bit))
    solution = 0
    for column in range(32):
        pivot = next(row for row in rows if row[0] >> column & 1)
        rows = [
            (row[0] ^ pivot[0], row[1] ^ pivot[1]) if row[0] >> column & 1 else row
            for row in rows
            if row is not pivot
        ]
        if wanted >> column & 1:
            wanted ^= pivot[0]
            solution ^= pivot[1]
    for number, byte in enumerate(solution.to_bytes(4, "little")):
        changed[at + number] ^= byte
    return bytes(changed)
