"""Faults of memory: bits that flip in a copy of a block."""

from __future__ import annotations

from memfs.node.blocks import BlockStore
from memfs.protocol import messages as m
from tests.support.faults.scene import Scene


async def bit_rot(scene: Scene) -> None:
    """One bit flips in a copy of a block that has another good copy within reach.

    Not where one copy is all that is promised: a move makes a second one for a moment, and whoever
    appends meanwhile knows the first one only.
    """
    name, namespace = scene.node(), scene.namespace()
    if not name or namespace is None:
        return
    node = scene.cluster.nodes[name]
    blocks = [block for block in node.store.list(None, node.store.count) if block.length]
    scene.random.shuffle(blocks)
    for block in blocks:
        version = block.version
        placed = namespace.placed_block(version)
        if placed is None or placed.replication == 1:
            continue
        if scene.has_other_copy(placed.ref, node):
            scene.strike("bit rot", name, version)
            scene.rotten.add((node.membership.number, version))
            flip(node.store, version, scene.random.randrange(8 * block.length))
            return


def flip(store: BlockStore, version: m.BlockVersion, bit: int) -> None:
    """Flip one bit of a version where it lies."""
    region = store._find(version).region
    length = store._find(version).length
    content = bytearray(region.view(0, length))
    content[bit // 8] ^= 1 << bit % 8
    region.store(0, content)
