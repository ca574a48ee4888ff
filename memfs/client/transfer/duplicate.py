"""From the cluster into the same cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from memfs import concurrency
from memfs.client.handles.versions import CopySink
from memfs.client.transfer.cluster_target import ClusterTarget
from memfs.client.transfer.copying import ATTRIBUTES, Item
from memfs.errors import PathExistsError


class Duplicate(ClusterTarget):
    """From the cluster into the same cluster."""

    async def xattrs_of(self, item: Item) -> Mapping[str, bytes]:
        """Extended attributes of the source."""
        return await self._fs.getxattrs(item.source)

    async def batch(self, items: Sequence[Item]) -> list[OSError | None]:
        """Copy small files; an outcome for each."""
        names = [item.source for item in items]
        return await self.store(items, await self._fs.read_many(names, return_errors=True))

    async def stream(self, item: Item, advance: Callable[[int], None]) -> None:
        """Copy one file of any size, as it is at one moment."""

        async def fill(sink: CopySink) -> int:
            return (await self._fs.copy_into(item.source, sink, advance)).size

        await self.receive(item, fill)


class Linked(Duplicate):
    """From the cluster into the same cluster: directories anew, further names of all else."""

    replace = False
    """Whether what exists makes way."""

    async def batch(self, items: Sequence[Item]) -> list[OSError | None]:
        """Link small files; an outcome for each."""
        return await concurrency.outcomes(map(self._another, items), ATTRIBUTES, OSError)

    async def stream(self, item: Item, advance: Callable[[int], None]) -> None:
        """Link a large file."""
        await self._another(item)

    async def symlink(self, item: Item) -> None:
        """Link a symbolic link itself."""
        await self._another(item)

    async def _another(self, item: Item) -> None:
        if self.replace:
            await self.link(item.source, item)
            return
        try:
            await self._fs.link(item.source, item.target)
        except PathExistsError:
            found = await self._fs.stat_many([item.source, item.target], follow_symlinks=False)
            if None in found or len({each.st_ino for each in found if each is not None}) > 1:
                raise
