"""JSON of WebHDFS: names and types."""

from __future__ import annotations

import json

from memfs.gateway.hadoop import shapes
from memfs.types import Attributes, FileKind

FILE = Attributes(
    inode=7,
    kind=FileKind.FILE,
    mode=0o644,
    links=1,
    owner='o"wner',
    group="groüp",
    size=11,
    modified_ns=1_700_000_000_123_456_789,
    changed_ns=0,
    accessed_ns=1_600_000_000_000_999_999,
    block_size=4 << 20,
    group_blocks=16,
    replication=2,
    generation=1,
    change=9,
)
DIRECTORY = FILE._replace(
    kind=FileKind.DIRECTORY, mode=0o1777, size=0, block_size=0, group_blocks=0, replication=0
)
LINK = FILE._replace(kind=FileKind.SYMLINK, mode=0o777, size=4, block_size=0, replication=0)


def test_a_file() -> None:
    assert json.loads(shapes.file_status(FILE)) == {
        "FileStatus": {
            "accessTime": 1_600_000_000_000,
            "blockSize": 64 << 20,
            "childrenNum": 0,
            "fileId": 7,
            "group": "groüp",
            "length": 11,
            "modificationTime": 1_700_000_000_123,
            "owner": 'o"wner',
            "pathSuffix": "",
            "permission": "644",
            "replication": 2,
            "storagePolicy": 0,
            "type": "FILE",
        }
    }


def test_a_directory_has_no_length() -> None:
    found = json.loads(shapes.status_text(DIRECTORY, "d"))
    assert (found["type"], found["permission"], found["pathSuffix"]) == ("DIRECTORY", "1777", "d")
    assert (found["length"], found["blockSize"]) == (0, 0)
    assert found["accessTime"] == DIRECTORY.accessed_ns // 1_000_000


def test_a_symlink_names_its_target() -> None:
    found = json.loads(shapes.status_text(LINK, "l", '/t"'))
    assert (found["type"], found["symlink"], found["length"]) == ("SYMLINK", '/t"', 0)


def test_names_that_need_escapes_survive() -> None:
    name = 'a"b\\c\n\t🙂é</script>'
    assert json.loads(shapes.status_text(FILE, name))["pathSuffix"] == name
    assert shapes.status_text(FILE, name).isascii()


def test_set_id_bits_are_not_told() -> None:
    assert json.loads(shapes.status_text(FILE._replace(mode=0o6755)))["permission"] == "755"


def test_listings() -> None:
    one = shapes.status_text(FILE, "a")
    assert json.loads(shapes.listing([])) == {"FileStatuses": {"FileStatus": []}}
    batch = json.loads(shapes.partial_listing([one, one], 5))["DirectoryListing"]
    assert batch["remainingEntries"] == 5
    assert len(batch["partialListing"]["FileStatuses"]["FileStatus"]) == 2


def test_server_defaults_hold_a_real_boolean() -> None:
    defaults = shapes.server_defaults(64 << 20, 2)["FsServerDefaults"]
    assert defaults["encryptDataTransfer"] is False
