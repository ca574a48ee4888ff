"""Shared records: fields are only appended, with defaults, since they travel as arrays."""

from __future__ import annotations

import pytest

from memfs import types

FIELDS = {
    types.Identity: "user groups",
    types.Attributes: "inode kind mode links owner group size modified_ns changed_ns accessed_ns "
    "block_size group_blocks replication generation change children leased",
    types.BlockRef: "inode index generation sequence length crc replicas",
    types.DirectoryEntry: "name attributes",
    types.ContentSummary: "length files directories space",
    types.Member: "number name incarnation host port socket machine weight domain monitoring_port",
    types.View: "cluster epoch primary in_sync members next_number",
    types.NodeUsage: "member used limit blocks applied digest",
}


@pytest.mark.parametrize("record", FIELDS)
def test_the_order_of_fields_is_the_protocol(record: type) -> None:
    known = FIELDS[record].split()
    fields = list(record._fields)  # type: ignore[attr-defined]
    assert fields[: len(known)] == known
    added = fields[len(known) :]
    assert set(added) <= set(record._field_defaults)  # type: ignore[attr-defined]


def test_file_kinds_are_stable() -> None:
    assert [(kind.name, kind.value) for kind in types.FileKind] == [
        ("FILE", 0),
        ("DIRECTORY", 1),
        ("SYMLINK", 2),
        ("FIFO", 5),
        ("CHARACTER_DEVICE", 6),
        ("BLOCK_DEVICE", 7),
        ("SOCKET", 8),
    ]
    assert all(types.KIND_OF_TYPE[kind.type_bits] == kind for kind in types.FileKind)
    assert types.ROOT_INODE == 1
