"""The JSON of WebHDFS, made of what the client says: exact names and exact types.

Pure: knows neither HTTP nor requests. A file status is written by hand as text, since listings hold
hundreds of thousands of them and GETFILESTATUS is the most frequent request. The placement group is
reported as Hadoop's block, so its size is the block size.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from json.encoder import encode_basestring_ascii as quoted
from typing import Final

from memfs.client.stat import StatVfs
from memfs.types import Attributes, ContentSummary, FileKind

NO_QUOTA: Final = -1
_MILLISECOND: Final = 1_000_000
_DIRECTORY: Final = int(FileKind.DIRECTORY)
_SYMLINK: Final = int(FileKind.SYMLINK)
_compact: Final = json.JSONEncoder(separators=(",", ":")).encode  # made once: it costs as much


def dumps(content: object) -> str:
    """Compact JSON in ASCII: it means the same in whatever charset a client assumes."""
    return _compact(content)


def remote_exception(name: str, java_class: str, message: str) -> str:
    """An exception as JSON. Made often: clients look for files that do not exist."""
    return (
        f'{{"RemoteException":{{"exception":"{name}","javaClassName":"{java_class}",'
        f'"message":{quoted(message)}}}}}'
    )


def hadoop_block(attributes: Attributes) -> int:
    """Bytes of what Hadoop calls a block of this file: one placement group; 0 for no file."""
    return attributes.block_size * attributes.group_blocks


def status_text(attributes: Attributes, suffix: str = "", target: str = "") -> str:
    """One FileStatus as JSON. ``suffix``: its name in a listing; ``target``: of a symlink."""
    kind = attributes.kind
    directory = kind == _DIRECTORY
    extra = ',"aclBit":true' if attributes.acl else ""
    if kind == _SYMLINK:
        extra += f',"symlink":{quoted(target)}'
    accessed = attributes.accessed_ns // _MILLISECOND
    length = 0 if directory else attributes.size
    block = attributes.block_size * attributes.group_blocks
    if block == 0 and kind == _SYMLINK:
        length = 0
    name = "DIRECTORY" if directory else "SYMLINK" if kind == _SYMLINK else "FILE"
    return (
        f'{{"accessTime":{accessed},"blockSize":{block},"childrenNum":{attributes.children},'
        f'"fileId":{attributes.inode},"group":{quoted(attributes.group)},"length":{length},'
        f'"modificationTime":{attributes.modified_ns // _MILLISECOND},'
        f'"owner":{quoted(attributes.owner)},"pathSuffix":{quoted(suffix)},'
        f'"permission":"{attributes.mode & 0o1777:o}","replication":{attributes.replication},'
        f'"storagePolicy":0,"type":"{name}"{extra}}}'
    )


def file_status(attributes: Attributes, target: str = "") -> str:
    """The answer to GETFILESTATUS."""
    return f'{{"FileStatus":{status_text(attributes, "", target)}}}'


LISTING: Final = ('{"FileStatuses":{"FileStatus":[', "]}}")
"""The text before and after the statuses of a listing."""


def listing(statuses: Iterable[str]) -> str:
    """The answer to LISTSTATUS."""
    return LISTING[0] + ",".join(statuses) + LISTING[1]


def partial_listing(statuses: Iterable[str], remaining: int) -> str:
    """The answer to LISTSTATUS_BATCH."""
    return (
        f'{{"DirectoryListing":{{"partialListing":{listing(statuses)},'
        f'"remainingEntries":{remaining}}}}}'
    )


def content_summary(
    usage: ContentSummary, names: int = NO_QUOTA, space: int = NO_QUOTA
) -> dict[str, object]:
    """The answer to GETCONTENTSUMMARY; ``names``, ``space``: the directory's own quotas."""
    return {
        "ContentSummary": {
            "directoryCount": usage.directories,
            "ecPolicy": "",
            "fileCount": usage.files,
            "length": usage.length,
            "quota": names,
            "spaceConsumed": usage.space,
            "spaceQuota": space,
            "typeQuota": {},
            "snapshotLength": 0,
            "snapshotFileCount": 0,
            "snapshotDirectoryCount": 0,
            "snapshotSpaceConsumed": 0,
        }
    }


def quota_usage(
    usage: ContentSummary, names: int = NO_QUOTA, space: int = NO_QUOTA
) -> dict[str, object]:
    """The answer to GETQUOTAUSAGE."""
    return {
        "QuotaUsage": {
            "fileAndDirectoryCount": usage.files + usage.directories,
            "quota": names,
            "spaceConsumed": usage.space,
            "spaceQuota": space,
            "typeQuota": {},
        }
    }


def filesystem_status(found: StatVfs) -> dict[str, object]:
    """The answer to GETSTATUS."""
    remaining = max(0, found.capacity - found.used)
    return {"FsStatus": {"capacity": found.capacity, "used": found.used, "remaining": remaining}}


def server_defaults(block: int, replication: int) -> dict[str, object]:
    """The answer to GETSERVERDEFAULTS. ``block``: bytes of a placement group."""
    return {
        "FsServerDefaults": {
            "blockSize": block,
            "bytesPerChecksum": 512,
            "writePacketSize": 65536,
            "replication": replication,
            "fileBufferSize": 65536,
            "encryptDataTransfer": False,
            "trashInterval": 0,
            "checksumType": 2,  # CRC32C
            "keyProviderUri": "",
            "defaultStoragePolicyId": 7,
            "snapshotTrashRootEnabled": False,
        }
    }


STORAGE_POLICY: Final[Mapping[str, object]] = {
    "id": 7,
    "name": "HOT",
    "storageTypes": ["RAM_DISK"],
    "creationFallbacks": [],
    "replicationFallbacks": [],
    "copyOnCreateFile": False,
}
"""The one policy there is: everything lies in RAM."""


def trash_root(path: str, attributes: Attributes) -> dict[str, object]:
    """One entry of GETTRASHROOTS, which names its fields differently from a FileStatus."""
    return {
        "path": path,
        "length": 0,
        "isdir": True,
        "block_replication": 0,
        "blocksize": 0,
        "modification_time": attributes.modified_ns // _MILLISECOND,
        "access_time": 0,
        "permission": f"{attributes.mode & 0o1777:o}",
        "owner": attributes.owner,
        "group": attributes.group,
    }
