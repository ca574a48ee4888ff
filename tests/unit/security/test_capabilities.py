"""A capability is good for what it was made for, and for nothing else."""

from __future__ import annotations

import pytest

from memfs.errors import CapabilityError
from memfs.security import capabilities
from memfs.security.capabilities import GRANTS, READ, WRITE, Key

KEY, OTHER = Key(7, b"k" * 32), Key(8, b"o" * 32)
ALICE = capabilities.holder("cluster", "alice", 1)


def capability(rights: int = READ, inodes: object = ((5, 3),), key: Key = KEY) -> bytes:
    return capabilities.make(key, ALICE, rights, 600, inodes)  # type: ignore[arg-type]


def refused(raw: bytes, whose: bytes = ALICE, key: Key = KEY) -> bool:
    try:
        assert capabilities.key_number(raw) == key.number
        capabilities.verify(key, whose, raw)
    except (CapabilityError, AssertionError):
        return True
    return False


def test_it_says_what_it_is_for() -> None:
    raw = capability(READ | WRITE)
    found = capabilities.verify(KEY, ALICE, raw)
    assert (found.key, found.expires, found.rights) == (7, 600, 3)
    assert capabilities.key_number(raw) == 7
    assert capabilities.gives(raw, READ) and capabilities.gives(raw, WRITE)
    assert not capabilities.gives(capability(READ), WRITE)
    assert not capabilities.gives(b"", READ)


def test_reading_covers_all_generations_up_to_its_own() -> None:
    found = capabilities.verify(KEY, ALICE, capability(READ))
    assert [found.covers(5, g, READ) for g in (0, 1, 3, 4)] == [True, True, True, False]
    assert not found.covers(4, 1, READ) and not found.covers(6, 1, READ)
    assert not found.covers(5, 3, WRITE), "a reader does not write"


def test_writing_covers_one_generation() -> None:
    found = capabilities.verify(KEY, ALICE, capability(WRITE))
    assert [found.covers(5, g, WRITE) for g in (0, 2, 3, 4, 2**62)] == [
        False,
        False,
        True,
        False,
        False,
    ]
    assert not found.covers(5, 3, READ), "a writer does not read"


def test_numbers_in_a_row_are_one_grant() -> None:
    inodes = [(n, 1) for n in range(100, 1124)]
    raw = capability(WRITE, inodes)
    assert len(raw) == len(capability())
    found = capabilities.verify(KEY, ALICE, raw)
    assert all(found.covers(n, 1, WRITE) for n, _ in inodes)
    assert not found.covers(99, 1, WRITE) and not found.covers(1124, 1, WRITE)


def test_many_inodes_in_any_order() -> None:
    inodes = [(9, 2), (1, 1), (2, 1), (3, 4), (2**63 - 1, 1), (9, 5)]
    found = capabilities.verify(KEY, ALICE, capability(READ, inodes))
    assert [found.covers(n, g, READ) for n, g in inodes] == [True] * 6
    assert found.covers(9, 5, READ), "the highest of several"
    assert not any(found.covers(n, 1, READ) for n in (0, 4, 8, 10))


def test_what_is_too_much_is_left_out() -> None:
    raw = capability(READ, [(3 * n, 1) for n in range(GRANTS + 50)])
    found = capabilities.verify(KEY, ALICE, raw)
    assert len(found.firsts) == GRANTS and len(raw) < 4 * 1024 + 64
    assert found.covers(0, 1, READ) and not found.covers(3 * GRANTS, 1, READ)


def test_nothing_is_forged() -> None:
    raw = capability()
    for at in range(len(raw)):
        for bit in range(8):
            forged = bytearray(raw)
            forged[at] ^= 1 << bit
            assert refused(bytes(forged)), f"bit {bit} of byte {at}"


@pytest.mark.parametrize("length", [*range(45), 60, 62, 10_000])
def test_nothing_is_cut_short_or_prolonged(length: int) -> None:
    raw = capability()
    assert len(raw) == 45
    assert refused((raw * 300)[:length])
    assert refused(raw[:13] + raw[29:]), "a grant taken out"
    assert refused(raw[:29] + raw[13:]), "a grant put in twice"


def test_it_is_nobody_else_s() -> None:
    raw = capability()
    assert not refused(raw)
    for other in (
        capabilities.holder("cluster", "mallory", 1),
        capabilities.holder("cluster", "alice", 2),
        capabilities.holder("other", "alice", 1),
        capabilities.holder("clustera", "lice", 1),
        capabilities.holder("cluster", "alice", 1 << 64 | 2),
    ):
        assert refused(raw, other)


def test_a_key_that_was_rolled_proves_nothing() -> None:
    assert refused(capability(), key=OTHER)
    borrowed = capability(key=Key(OTHER.number, KEY.material))
    assert refused(borrowed, key=OTHER)


def test_no_key_is_shown() -> None:
    assert "kkk" not in repr(KEY) and "kkk" not in repr([KEY])
