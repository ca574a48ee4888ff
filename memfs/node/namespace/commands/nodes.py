"""Special files: names for FIFOs, devices and sockets, which kernels give a meaning.

They have attributes, links and permissions as files have, and no content. Devices are for
superusers, as on Linux.
"""

from __future__ import annotations

from typing import Final

from memfs.errors import InvalidArgumentError
from memfs.node.namespace.rules import mounted
from memfs.node.namespace.rules.naming import check_new_name, free_place_of
from memfs.node.namespace.rules.refusals import not_superuser
from memfs.node.namespace.tables.volume import Command, Volume, check_mode
from memfs.protocol.messages import MadeReply, MakeNode
from memfs.types import FileKind

_DEVICES: Final = (FileKind.CHARACTER_DEVICE, FileKind.BLOCK_DEVICE)
_NUMBERS: Final = range(1 << 32)


def make_node(volume: Volume, command: Command, request: MakeNode) -> MadeReply:
    """mknod, but for files."""
    _check(command, request)
    command.make_for(request.owner, request.group)
    tree, path = volume.tree, request.path
    place = free_place_of(volume, command, request.base, path)
    check_new_name(volume, command, place, path)
    parent, name, _ = place
    if volume.mounts:
        mounted.check_kind(volume, parent, "special files", path)
    slot = volume.new_inode(command, parent, request.kind, request.mode, unmasked=request.unmasked)
    tree.inodes.set_extra(slot, request.device)
    tree.insert_name(parent, name, slot)
    tree.charge(parent, 0, 1, 0, 0)
    tree.touch(parent, command.now, command.index)
    return MadeReply(volume.attributes(slot), volume.also_changed(path, parent))


def _check(command: Command, request: MakeNode) -> None:
    check_mode(request.mode, request.unmasked)
    if request.kind not in FileKind._value2member_map_ or not FileKind(request.kind).special:
        raise InvalidArgumentError(f"{request.kind} is no kind of special file")
    if request.kind in _DEVICES:
        if request.device not in _NUMBERS:
            raise InvalidArgumentError(f"{request.device} is no device: 32 bits are possible")
        if not command.caller.superuser:
            raise not_superuser(command.caller, request.path)
    elif request.device:
        raise InvalidArgumentError("only a device has the number of one")
