"""Removing many names: commands of some names each, several on their way at a time.

Owns how names are cut into commands. Invariant: a name is in one command, so that of a name given
twice one removal finds nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from memfs import limits
from memfs.client.batches.batching import PARALLEL, Course, path_batches
from memfs.client.calls.deadline import Deadline
from memfs.client.calls.wire import WirePath
from memfs.client.session.session import Session
from memfs.concurrency import run_all
from memfs.errors import MemfsError, from_wire
from memfs.protocol import messages as m


async def remove_names(
    session: Session, names: Sequence[WirePath], deadline: Deadline | None
) -> list[MemfsError | None]:
    """Remove files and symlinks; the error of each that stays, in order.

    ``deadline``: of all of it; None: each command has the configured time. Raises what ends the
    whole call: then some may be gone, and the error says how many.
    """
    raws = [each.raw for each in names]
    results: list[MemfsError | None] = [None] * len(raws)
    course = Course(len(raws))

    async def remove(batch: range) -> None:
        request = m.UnlinkMany(tuple(raws[batch.start : batch.stop]))
        with course.asking(len(batch)):
            reply = await session.ask(request, names[batch.start].given, deadline)
        refused = 0
        for number, outcome in zip(batch, reply.results, strict=True):
            if outcome.code:
                path = names[number].given
                results[number] = from_wire(outcome.code, outcome.message, path)
                refused += 1
        course.refused += refused
        course.done += len(batch) - refused

    try:
        await run_all(map(remove, path_batches(raws, limits.FILES_PER_COMMAND)), PARALLEL)
    except MemfsError as error:
        raise course.ended_by(error) from error
    return results
