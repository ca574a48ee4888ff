"""A further name for what another client has deleted meanwhile."""

from __future__ import annotations

import errno

import pytest

from memfs.fuse.kernel.protocol import LINK_IN, InHeader, Opcode
from memfs.fuse.mount import MountSession
from memfs.fuse.mounted_tree import MountedTree
from memfs.fuse.operations.names import make_link
from memfs.fuse.options import MountOptions
from memfs.testing.simulation import virtual
from memfs.types import ROOT_INODE
from tests.unit.client.fake_cluster import FakeCluster


def test_the_kernel_looks_again_and_hears_the_second_time_that_it_is_gone() -> None:
    """The path may lead to another file by now: of ESTALE the kernel looks it up again."""

    async def main() -> None:
        cluster = FakeCluster()
        fs = cluster.connect()
        mount = MountSession(MountedTree(cluster.session(), ROOT_INODE), MountOptions())
        await fs.write_bytes("/old", b"1")
        await fs.write_bytes("/new", b"2")
        old, new = [mount.cluster.node((await fs.stat(path)).st_ino) for path in ("/old", "/new")]
        await fs.remove("/old")

        async def linked(thread: int, node: int, name: bytes) -> int:
            body = LINK_IN.pack(node) + name + b"\0"
            header = InHeader(0, Opcode.LINK, 1, mount.cluster.node(ROOT_INODE), 0, 0, thread, 0)
            try:
                await make_link(mount, header, body)
            except OSError as error:
                return error.errno or 0
            return 0

        answers = [await linked(thread, old, b"link") for thread in (7, 7, 8, 7, 8)]
        gone = errno.ESTALE, errno.ENOENT
        assert answers == [*gone, gone[0], gone[0], gone[1]]
        assert [await linked(7, new, b"link"), await fs.read_bytes("/link")] == [0, b"2"]
        await mount.close()
        await fs.close()

    virtual.run(main())


@pytest.mark.parametrize("threads", [10, 1000])
def test_few_refusals_are_remembered(threads: int) -> None:
    async def main() -> None:
        cluster = FakeCluster()
        mount = MountSession(MountedTree(cluster.session(), ROOT_INODE), MountOptions())
        for thread in range(threads):
            root = mount.cluster.node(ROOT_INODE)
            header = InHeader(0, Opcode.LINK, 1, root, 0, 0, thread, 0)
            with pytest.raises(OSError, match="Stale"):
                await make_link(mount, header, LINK_IN.pack(1 << 40) + b"link\0")
        assert len(mount.refused_links) <= 64
        await mount.close()

    virtual.run(main())
