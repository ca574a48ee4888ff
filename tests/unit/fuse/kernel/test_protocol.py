"""The kernel's structures against what a C compiler says of its header, and against real bytes."""

import json
from pathlib import Path

import pytest

from memfs.fuse.kernel import protocol as p
from tests.golden import record_fuse

GOLDEN = json.loads((Path(record_fuse.__file__).parent / "fuse.json").read_text())

INIT_OF_LINUX_6_18 = bytes.fromhex(
    "680000001a00000002000000000000000000000000000000000000000000000000000000 00000000"
    "07000000 2d000000 00000200 fbffff73 fd050000"
) + bytes(44)


@pytest.mark.parametrize("structure", record_fuse.structures(), ids=lambda each: each.c_name)
def test_a_structure_is_that_of_the_header(structure: p.Structure) -> None:
    size, fields = GOLDEN["structures"][structure.c_name]
    assert structure.size == size
    for number, name in enumerate(structure.record._fields):
        offset, width = fields[name]
        values = [0] * len(structure.record._fields)
        values[number] = 1
        raw = structure.pack(*values)
        expected = bytearray(size)
        expected[offset : offset + width] = (1).to_bytes(width, "little")
        assert raw == expected, name
        assert structure.unpack(raw) == structure.record(*values)


def test_numbers_are_those_of_the_header() -> None:
    assert record_fuse.constants() == GOLDEN["constants"]


def test_what_a_kernel_says_first() -> None:
    header = p.IN_HEADER.unpack(INIT_OF_LINUX_6_18)
    assert (header.len, header.opcode) == (len(INIT_OF_LINUX_6_18), p.Opcode.INIT)
    said = p.INIT_IN.unpack(INIT_OF_LINUX_6_18, p.IN_HEADER.size)
    assert (said.major, said.minor, said.max_readahead) == (7, 45, 131072)
    assert said.flags & p.InitFlag.INIT_EXT
    assert said.flags2 << 32 & p.InitFlag.PASSTHROUGH


def test_a_write_begins_where_the_header_and_its_structure_end() -> None:
    assert p.IN_HEADER.size + p.WRITE_IN.size == 80
