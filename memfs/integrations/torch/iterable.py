"""Iterable datasets over small files or parts of files, and over shards; and their loader.

Owns who reads what: ranks take turns at an epoch's items, and the workers of one rank's DataLoader
at its batches, so that the loader hands out the rank's batches in their order. Must not know
formats. Invariant: an iteration begins, in every worker, where the loader stood when it began.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from memfs import aio
from memfs.client.blocking.filesystem import FileSystem
from memfs.integrations.library import missing
from memfs.integrations.torch.dataset import Decode, Item, contents, decoded
from memfs.integrations.training import position
from memfs.integrations.training.order import EpochOrder
from memfs.integrations.training.prefetch import checked_ahead, fetched_ahead
from memfs.types import Json, Untyped

try:
    import torch
    from torch.utils.data import DataLoader, IterableDataset, get_worker_info
except ImportError as error:
    raise missing("torch", "torch", error) from error


class _Stream(IterableDataset):  # type: ignore[misc]  # torch is not there when types are checked
    """The common part of the streams: the order, and the position at which an iteration begins."""

    def __init__(self, order: EpochOrder) -> None:
        self.order = order
        """Of its batches, in each epoch."""
        # In shared memory: workers that live on from epoch to epoch look there.
        self._place = torch.zeros(2, dtype=torch.int64).share_memory_()
        self._asked = False

    @property
    def epoch(self) -> int:
        """The one that the next iteration is of."""
        return int(self._place[0])

    def set_epoch(self, epoch: int, position: int = 0) -> None:
        """Begin the next iteration in ``epoch``, after ``position`` batches of this rank. A loader
        of the stream begins there, too."""
        self.place = epoch, position
        self._asked = True

    @property
    def place(self) -> tuple[int, int]:
        """Epoch and position at which the next iteration begins."""
        epoch, position = self._place.tolist()
        return epoch, position

    @place.setter
    def place(self, place: tuple[int, int]) -> None:
        self._place[:] = torch.tensor(place)
        self._asked = False

    def asked_place(self) -> tuple[int, int] | None:
        """What ``set_epoch`` has asked for since this was last called, if it has."""
        asked = self.place if self._asked else None
        self._asked = False
        return asked

    def _batches(self) -> list[list[int]]:
        """The batches of the next iteration that this process reads, be it a worker or not."""
        epoch, position = self.place
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        return self.order.batches(epoch)[position + worker :: workers]


class FileStream(_Stream):
    """Batches of small files, or of parts of files, in the order of epoch and rank.

    Each batch is one request for each node, ``ahead`` of them under way in every worker. It is a
    list of ``decode(item, content)``; nothing is decoded by default. Args: ``items`` and ``decode``
    as of ``FileDataset``; ``seed``, None: their own order; ``rank`` and ``world_size``, by default
    those of torch.distributed where it is initialised. Give it to a :class:`StreamLoader`.
    """

    def __init__(
        self,
        fs: FileSystem,
        items: Sequence[Item],
        batch_size: int,
        *,
        decode: Decode | None = None,
        seed: int | None = 0,
        rank: int | None = None,
        world_size: int | None = None,
        drop_last: bool = False,
        ahead: int = 4,
    ) -> None:
        order = EpochOrder(len(items), batch_size, seed, *_ranks(rank, world_size), drop_last)
        super().__init__(order)
        self._fs = fs
        self._items = items
        self._decode = decode
        self._ahead = checked_ahead(ahead)

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self.order.batch_count

    def __iter__(self) -> Iterator[Sequence[Untyped]]:
        wanted = [[self._items[number] for number in batch] for batch in self._batches()]

        def read(fs: aio.AsyncFileSystem, items: list[Item]) -> Untyped:
            return contents(fs, items, self._decode)

        fetched = fetched_ahead(self._fs, wanted, read, self._ahead)
        for items, found in zip(wanted, fetched, strict=True):
            yield decoded(items, found, self._decode)


class ShardStream(_Stream):
    """The samples of shards, large files that are read from beginning to end.

    ``read`` takes a shard's bytes and yields its samples: ``samples`` (TAR, WebDataset) or
    ``tfrecords`` of :mod:`memfs.integrations.training`, or one of yours. What it yields are views
    of the shard, without a copy where a node of this host holds it; ``decode`` makes of them what
    is handed out. Args: as of :class:`FileStream`; ``ahead``, shards fetched before their turn.
    """

    def __init__(
        self,
        fs: FileSystem,
        shards: Sequence[str],
        read: Callable[[memoryview], Iterator[object]],
        *,
        decode: Callable[[object], object] | None = None,
        seed: int | None = 0,
        rank: int | None = None,
        world_size: int | None = None,
        ahead: int = 1,
    ) -> None:
        super().__init__(EpochOrder(len(shards), 1, seed, *_ranks(rank, world_size)))
        self._fs = fs
        self._shards = shards
        self._read = read
        self._decode = decode or _owned
        self._ahead = checked_ahead(ahead)

    def __iter__(self) -> Iterator[object]:
        wanted = [self._shards[number] for (number,) in self._batches()]
        for shard in fetched_ahead(self._fs, wanted, aio.AsyncFileSystem.map, 1 + self._ahead):
            for sample in self._read(shard):
                yield self._decode(sample)


class StreamLoader(DataLoader):  # type: ignore[misc]
    """A DataLoader of a :class:`FileStream` that can go on in the middle of an epoch.

    ``state_dict`` counts the batches that were handed out, whatever the workers have fetched. The
    next iteration begins there, and after the last batch with the next epoch. Options: those of
    ``DataLoader``, but those about batches and order.
    """

    def __init__(self, stream: FileStream, **options: object) -> None:
        super().__init__(stream, batch_size=None, **options)
        self._epoch, self._position = stream.place

    def __iter__(self) -> Iterator[object]:
        self._look()
        self.dataset.place = self._epoch, self._position
        for batch in super().__iter__():
            self._position += 1
            yield batch
        self._epoch, self._position = self._epoch + 1, 0

    def state_dict(self) -> dict[str, Json]:
        """The position, for :meth:`load_state_dict` on any rank."""
        self._look()
        return position.noted(self.dataset.order, self._epoch, self._position)

    def load_state_dict(self, state: dict[str, Json]) -> None:
        """Go on from there. Raises ValueError when it is of a stream with other numbers of items,
        of batches or of ranks, or with another seed."""
        self._look()
        self._epoch, self._position = position.found(state, self.dataset.order)

    def _look(self) -> None:
        """Go where ``set_epoch`` of the stream has asked to."""
        self._epoch, self._position = self.dataset.asked_place() or (self._epoch, self._position)


def _ranks(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """Those given, or those of torch.distributed, or of one process that trains alone."""
    spread = torch.distributed.is_available() and torch.distributed.is_initialized()
    if rank is None:
        rank = torch.distributed.get_rank() if spread else 0
    if world_size is None:
        world_size = torch.distributed.get_world_size() if spread else 1
    return rank, world_size


def _owned(sample: object) -> object:
    """The sample itself; in a worker, which sends it to another process, with bytes for views."""
    if get_worker_info() is None:
        return sample
    if isinstance(sample, memoryview):
        return bytes(sample)
    if isinstance(sample, dict):
        return {name: _owned(part) for name, part in sample.items()}
    if isinstance(sample, tuple):
        return tuple(map(_owned, sample))
    return sample
