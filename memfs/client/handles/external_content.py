"""Content that only an external store has becomes the cluster's, before a part of it is changed.

Nodes copy it among themselves. Must not know who changes what. Invariant: whoever reads the file
meanwhile, and whatever fails, its bytes are the same before and after.
"""

from __future__ import annotations

from memfs.client.context import ClientContext
from memfs.client.reading.block_map import BlockMap
from memfs.client.reading.reader import FileReader
from memfs.client.writing.range_copy import RangeCopy
from memfs.client.writing.writer import PUBLISH_BLOCKS, FileWriter
from memfs.protocol import messages as m


async def copy_external(
    context: ClientContext, file: BlockMap, writer: FileWriter, timeout: float | None = None
) -> None:
    """Take over all of ``file``, which ``writer`` has leased.

    What fits one commit is a part of the writer's next one. More than that is copied into a draft,
    whose content becomes the file's in one step.
    """
    attributes = file.attributes
    source = FileReader(context, BlockMap(context.session, file.path, attributes))
    try:
        if attributes.size <= PUBLISH_BLOCKS * attributes.block_size:
            await RangeCopy(source, writer, publishing=False).copy(0, 0, attributes.size, timeout)
            file.external = False
        else:
            await _adopt_copy(context, file, source, timeout)
    finally:
        await source.close()


async def _adopt_copy(
    context: ClientContext, file: BlockMap, source: FileReader, timeout: float | None
) -> None:
    session, attributes = context.session, file.attributes
    request = m.CreateDraft(
        b"",
        replication=attributes.replication,
        block_size=attributes.block_size,
        group_blocks=attributes.group_blocks,
        base=attributes.inode,
    )
    reply = await session.grants.unnamed(request, file.path, session.deadline(timeout))
    draft = FileWriter(context, BlockMap.leased(session, file.path, reply))
    try:
        await RangeCopy(source, draft).copy(0, 0, attributes.size, timeout)
        await draft.flush(timeout)
        lease = draft.file.attributes.inode, draft.file.attributes.generation
        adopt = m.AdoptDraft(attributes.inode, attributes.generation, *lease)
        adopted = await session.ask(adopt, file.path, session.deadline(timeout))
    except BaseException:
        await draft.discard()
        raise
    draft.ended()
    session.commits += 1
    file.adopted(adopted.attributes)
