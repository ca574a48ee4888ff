"""The bytes of many small files: in the payload of one reply, or where clients map them.

Owns the reply to ``ReadMany`` once the namespace has said which block each file is. A reply has
columns, a number per file in each, since an object per file would cost more than its bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from memfs import errors, limits
from memfs.node.blocks import BlockStore
from memfs.node.namespace.whole_files import WholeFiles
from memfs.protocol import messages as m
from memfs.protocol.segment_records import OFFSET_BITS, OFFSET_MASK
from memfs.transport.service import Reply
from memfs.types import BlockRef, Member, WholeBlock


class WholeFileReads:
    """Answers from the blocks of one node."""

    def __init__(
        self,
        store: BlockStore,
        member: Callable[[], Member],
        lends: Callable[[], bool],
    ) -> None:
        """``member``: this node as the view has it; ``lends``: whether it lends segments now."""
        self._store = store
        self._member = member
        self._lends = lends

    def reply(self, found: WholeFiles, lend: bool) -> Reply[m.ReadManyReply]:
        """What was found, as a reply; ``lend``: the client maps segments of this node."""
        blocks, store, member = found.blocks, self._store, self._member()
        here = member.number
        lengths, crcs, holders = _columns(blocks)
        rest: Sequence[int] = range(len(blocks))
        places: list[int] = []
        if lend and self._lends():
            places = store.lent_records(blocks)
            rest = []
            if min(places, default=0) < 0 or not all(here in each for each in set(holders)):
                for number, each in enumerate(holders):
                    if places[number] < 0 or here not in each:
                        places[number] = -1
                        rest.append(number)
        others: Sequence[m.FileReply] = found.others
        payload: Sequence[memoryview] = ()
        if rest:
            payload, elsewhere = self._payload(here, rest, blocks)
            if elsewhere:
                others = _with_references(found, elsewhere)
                lengths = tuple([-1 if n in elsewhere else each for n, each in enumerate(lengths)])
        lent = len(rest) < len(places)
        record = m.ReadManyReply(
            lengths,
            crcs,
            tuple(others),
            tuple(places) if lent else (),
            member.incarnation if lent else 0,
        )
        return Reply(record, payload)

    def places(self, ranges: Sequence[m.BlockRange]) -> list[int]:
        """Where whole first blocks may lie in segments that this node lends, -1: not there."""
        if not self._lends():
            return [-1] * len(ranges)
        wanted: list[WholeBlock] = [
            (each.inode, each.generation, each.sequence, each.length, 0, ()) for each in ranges
        ]
        places = self._store.lent_records(wanted)
        for number, each in enumerate(ranges):
            if each.index or each.offset:
                places[number] = -1
        return places

    def _payload(
        self, member: int, numbers: Sequence[int], blocks: Sequence[WholeBlock]
    ) -> tuple[list[memoryview], set[int]]:
        """The bytes of the blocks of these ``numbers``, and which are not here or have no room."""
        payload: list[memoryview] = []
        elsewhere: set[int] = set()
        room: int = limits.WHOLE_REPLY_BYTES
        segment, view = -1, memoryview(b"")
        wanted = blocks if len(numbers) == len(blocks) else [blocks[number] for number in numbers]
        places = self._store.locate(wanted)
        for number, block, place in zip(numbers, wanted, places, strict=True):
            length = block[3]
            if length <= 0:
                continue
            data = None
            if length <= room and member in block[5]:
                if place < 0:
                    data = self._read(block)
                else:
                    if place >> OFFSET_BITS != segment:  # mostly they follow one another
                        segment = place >> OFFSET_BITS
                        view = self._store.segment_view(segment)
                    start = place & OFFSET_MASK
                    data = view[start : start + length]
            if data is None:
                elsewhere.add(number)
            else:
                payload.append(data)
                room -= length
        return payload, elsewhere

    def _read(self, block: WholeBlock) -> memoryview | None:
        """The bytes of a block that lies in no segment."""
        inode, generation, sequence, length, _, _ = block
        try:
            version = m.BlockVersion(inode, 0, generation, sequence)
            return self._store.read(version, 0, length)[0]
        except errors.MemfsError:
            return None


def _columns(
    blocks: Sequence[WholeBlock],
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """Lengths, CRCs and holders."""
    if not blocks:
        return (), (), ()
    _, _, _, lengths, crcs, holders = zip(*blocks, strict=True)
    return lengths, crcs, holders


def _with_references(found: WholeFiles, elsewhere: set[int]) -> list[m.FileReply]:
    """Replies for files whose bytes are not in the payload; with the holders, for those
    ``elsewhere``."""
    others, rest = [], iter(found.others)
    for number, (inode, generation, sequence, length, crc, replicas) in enumerate(found.blocks):
        if length < 0:
            others.append(next(rest))
        elif number in elsewhere:
            ref = BlockRef(inode, 0, generation, sequence, length, crc, replicas)
            others.append(m.FileReply(0, "", None, blocks=(ref,)))
    return others
