"""What the kernel believes of a directory when nobody knows what a command has done in it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from memfs.errors import OutcomeUnknownError, PathExistsError
from memfs.fuse.kernel.protocol import InHeader, Opcode
from memfs.fuse.mount import MountSession
from memfs.fuse.mounted_tree import MountedTree
from memfs.fuse.options import MountOptions
from memfs.fuse.server import FuseServer
from memfs.testing.simulation import virtual
from memfs.types import ROOT_INODE
from tests.unit.client.fake_cluster import FakeCluster


@pytest.mark.parametrize(
    ("error", "doubtful"),
    [
        (PathExistsError("no"), False),
        (OutcomeUnknownError("perhaps"), True),
        (asyncio.CancelledError(), True),
    ],
    ids=["refused", "without an answer", "called back"],
)
def test_names_are_withdrawn_before_the_program_hears_of_it(
    error: BaseException, doubtful: bool
) -> None:
    async def main() -> None:
        cluster = FakeCluster()
        mount = MountSession(MountedTree(cluster.session(), ROOT_INODE), MountOptions())
        server = FuseServer(-1, mount)
        told: list[int] = []

        async def tell(nodes: Sequence[int]) -> None:
            told.extend(nodes)

        async def work() -> tuple[bytes]:
            with mount.making(ROOT_INODE, b"name"):
                raise error

        mount.invalidate = tell
        header = InHeader(0, Opcode.MKDIR, 7, mount.cluster.node(ROOT_INODE), 0, 0, 0, 0)
        with pytest.raises(type(error)):
            await server._done_once(header, work())
        assert told == [mount.cluster.node(ROOT_INODE)] * doubtful
        assert (ROOT_INODE in mount.names.withheld) is doubtful
        await mount.close()

    virtual.run(main())
