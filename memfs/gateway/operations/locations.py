"""GETFILEBLOCKLOCATIONS and GET_BLOCK_LOCATIONS: which hosts have a file's data. Hadoop's block is
a placement group: its blocks are on the same nodes, so the first stored one tells which. A hole is
one block without hosts, however long it is. The hosts are those that the nodes advertise;
schedulers compare them with their own names.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

from aiohttp import web

from memfs.client.reading.block_map import BlockMap
from memfs.client.reading.layout import block_count
from memfs.errors import UnavailableError
from memfs.gateway.call import WebCall
from memfs.gateway.hadoop.shapes import hadoop_block
from memfs.gateway.http.replies import json_reply
from memfs.paths import Endpoint
from memfs.types import BlockRef, Member

_EVERYTHING: Final = (1 << 63) - 1
_RACK: Final = "/default-rack"
_GROUP_BITS: Final = 24
_NOT_TOLD: Final = (
    *("blockPoolUsed", "cacheCapacity", "cacheUsed", "capacity", "dfsUsed", "infoSecurePort"),
    *("lastUpdate", "lastUpdateMonotonic", "remaining", "xceiverCount"),
)
"""Fields of a data node that clients require and do not use."""


class Group(NamedTuple):
    """One placement group of a file, or several that are one hole."""

    number: int
    offset: int
    length: int
    members: tuple[Member, ...]


async def _open(call: WebCall) -> BlockMap:
    session = call.session
    return await BlockMap.fetch(session, call.path, call.path.encode(), session.deadline())


async def _groups(call: WebCall, file: BlockMap, offset: int, length: int) -> AsyncIterator[Group]:
    """The groups that hold bytes of the range; neighbours of which nothing is stored are one."""
    size = hadoop_block(file.attributes)
    end = min(file.size, offset + length)
    if not size or end <= offset:
        return
    number, last = offset // size, -(-end // size)
    while number < last:
        block = number * file.attributes.group_blocks
        stored = await file.stored(block, call.deadline)
        following = last if stored is None else stored // file.attributes.group_blocks
        count = max(1, min(following, last) - number)
        members = await _holders(call, file, number) if following == number else ()
        yield Group(number, number * size, min(count * size, file.size - number * size), members)
        number += count


async def _holders(call: WebCall, file: BlockMap, number: int) -> tuple[Member, ...]:
    """The nodes of the group's first block that is no hole."""
    per_group = file.attributes.group_blocks
    last = block_count(file.size, file.attributes.block_size)
    known = call.session.known.members
    for index in range(number * per_group, min(last, (number + 1) * per_group)):
        ref = await file.ref(index, call.deadline)
        holders = tuple(each for each in ref.replicas if each in known)
        if holders:
            return tuple(known[each] for each in _to_stay(call, file, ref, holders))
    return ()


def _to_stay(
    call: WebCall, file: BlockMap, ref: BlockRef, holders: tuple[int, ...]
) -> tuple[int, ...]:
    """``holders`` without excess copies. Those stay until the others are verified, perhaps a minute
    after SETREPLICATION or a move; a scheduler must not count on them, and ``-setrep -w`` waits
    until they are no longer reported.
    """
    wanted = file.attributes.replication
    if len(holders) <= wanted:
        return holders
    placed: tuple[int, ...] = ()
    with contextlib.suppress(UnavailableError):  # nobody takes anything new
        placed = call.session.known.place(
            ref.inode, ref.index // file.attributes.group_blocks, wanted
        )
    return tuple(sorted(holders, key=lambda number: number not in placed))[:wanted]


def rack(member: Member) -> str:
    """The rack of a failure domain ``rack/host``, as a path."""
    name, slash, _ = member.domain.rpartition("/")
    return f"/{name}" if slash and name else _RACK


# --- BlockLocation (3.4 and later) ---------------------------------------------------------------


async def get_file_block_locations(call: WebCall) -> web.StreamResponse:
    """GETFILEBLOCKLOCATIONS."""
    offset, length = _range(call)
    file = await _open(call)
    found = [_location(each) async for each in _groups(call, file, offset, length)]
    return json_reply(call.request, {"BlockLocations": {"BlockLocation": found}})


def _range(call: WebCall) -> tuple[int, int]:
    return (
        call.parameters.whole("offset", 0, 0),
        call.parameters.whole("length", _EVERYTHING, 0),
    )


def _location(group: Group) -> dict[str, object]:
    names = [str(Endpoint(member.host, member.port)) for member in group.members]
    return {
        "cachedHosts": [],
        "corrupt": False,
        "hosts": [member.host for member in group.members],
        "length": group.length,
        "names": names,
        "offset": group.offset,
        "storageTypes": ["RAM_DISK"] * len(names),
        "topologyPaths": [
            f"{rack(member)}/{name}" for member, name in zip(group.members, names, strict=True)
        ],
    }


# --- LocatedBlocks (what clients up to 3.3 ask for) ----------------------------------------------


async def get_block_locations(call: WebCall) -> web.StreamResponse:
    """GET_BLOCK_LOCATIONS."""
    offset, length = _range(call)
    file = await _open(call)
    found = [_located(call, file, each) async for each in _groups(call, file, offset, length)]
    final = None
    if file.size:
        last = [each async for each in _groups(call, file, file.size - 1, 1)]
        final = _located(call, file, last[0])
    content = {
        "fileLength": file.size,
        "isLastBlockComplete": not file.attributes.leased,
        "isUnderConstruction": file.attributes.leased,
        "lastLocatedBlock": final,
        "locatedBlocks": found,
    }
    return json_reply(call.request, {"LocatedBlocks": content})


def _located(call: WebCall, file: BlockMap, group: Group) -> dict[str, object]:
    inode = file.attributes.inode
    return {
        "block": {
            "blockId": (inode << _GROUP_BITS | group.number) & _EVERYTHING,
            "blockPoolId": f"BP-{call.fs.view.cluster}",
            "generationStamp": file.attributes.generation,
            "numBytes": group.length,
        },
        "blockToken": {"urlString": "AAAAAA"},  # a token of empty parts
        "cachedLocations": [],
        "isCorrupt": False,
        "locations": [_datanode(call, member) for member in group.members],
        "startOffset": group.offset,
        "storageTypes": ["RAM_DISK"] * len(group.members),
    }


def _datanode(call: WebCall, member: Member) -> dict[str, object]:
    return dict.fromkeys(_NOT_TOLD, 0) | {
        "adminState": "NORMAL",
        "hostName": member.host,
        "infoPort": call.shared.endpoint.port,
        "ipAddr": member.host,
        "ipcPort": member.port,
        "name": str(Endpoint(member.host, member.port)),
        "networkLocation": rack(member),
        "storageID": f"{member.incarnation:x}",
        "xferPort": member.port,
    }


GET = {
    "GETFILEBLOCKLOCATIONS": get_file_block_locations,
    "GET_BLOCK_LOCATIONS": get_block_locations,
}
