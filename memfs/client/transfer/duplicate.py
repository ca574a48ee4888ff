"""From the cluster into the same cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from memfs.client.handles.versions import CopySink
from memfs.client.transfer.cluster_target import ClusterTarget
from memfs.client.transfer.copying import Item


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
