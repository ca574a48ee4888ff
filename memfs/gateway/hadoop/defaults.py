"""What concerns no file in particular: homes, trash, the file system, its defaults and policies.

There is one storage policy: everything is in RAM. Setting it changes nothing.
"""

from __future__ import annotations

from aiohttp import web

from memfs import paths
from memfs.errors import NotDirectoryError, PathNotFoundError
from memfs.gateway.call import WebCall
from memfs.gateway.hadoop import shapes
from memfs.gateway.hadoop.parameters import illegal
from memfs.gateway.http.replies import HttpReply, json_reply
from memfs.gateway.operations.file_status import look_up

HOMES = "/user"
TRASH = ".Trash"


def home(user: str) -> str:
    """A user's home directory, which need not exist."""
    return paths.join(HOMES, user)


def trash(user: str) -> str:
    """Where a user's deleted files go."""
    return paths.join(home(user), TRASH)


async def get_home_directory(call: WebCall) -> web.StreamResponse:
    """GETHOMEDIRECTORY; the path of the request does not matter."""
    return json_reply(call.request, {"Path": home(call.principal.user)})


async def get_trash_root(call: WebCall) -> web.StreamResponse:
    """GETTRASHROOT: one for the whole file system."""
    return json_reply(call.request, {"Path": trash(call.principal.user)})


async def get_trash_roots(call: WebCall) -> web.StreamResponse:
    """GETTRASHROOTS: those that exist, of this user or of all."""
    users = [call.principal.user]
    if call.parameters.flag("allusers"):
        try:
            users = await call.fs.listdir(HOMES, timeout=call.deadline)
        except (PathNotFoundError, NotDirectoryError):
            users = []
    roots = [trash(user) for user in users]
    found = await call.fs.stat_many(roots, timeout=call.deadline)
    entries = [
        shapes.trash_root(root, each.attributes)
        for root, each in zip(roots, found, strict=True)
        if each is not None and each.is_dir()
    ]
    return json_reply(call.request, {"Paths": entries})


async def get_status(call: WebCall) -> web.StreamResponse:
    """GETSTATUS: bytes of all nodes, copies counted."""
    return json_reply(
        call.request, shapes.filesystem_status(await call.fs.statvfs(timeout=call.deadline))
    )


async def get_server_defaults(call: WebCall) -> web.StreamResponse:
    """GETSERVERDEFAULTS."""
    found = await call.session.defaults(call.deadline)
    block = found.block_size * found.group_blocks
    replication = call.shared.config.replication or found.replication
    return json_reply(call.request, shapes.server_defaults(block, replication))


# --- storage policies ----------------------------------------------------------------------------


async def get_all_storage_policies(call: WebCall) -> web.StreamResponse:
    """GETALLSTORAGEPOLICY."""
    content = {"BlockStoragePolicies": {"BlockStoragePolicy": [shapes.STORAGE_POLICY]}}
    return json_reply(call.request, content)


async def get_storage_policy(call: WebCall) -> web.StreamResponse:
    """GETSTORAGEPOLICY: of any file or directory the same."""
    await look_up(call)
    return json_reply(call.request, {"BlockStoragePolicy": shapes.STORAGE_POLICY})


async def set_storage_policy(call: WebCall) -> web.StreamResponse:
    """SETSTORAGEPOLICY: only the one that there is."""
    name = call.parameters.required("storagepolicy", call.operation)
    await look_up(call)
    if name.upper() != shapes.STORAGE_POLICY["name"]:
        raise illegal(f"Cannot find a block policy with the name {name}")
    return HttpReply()


async def keep_storage_policy(call: WebCall) -> web.StreamResponse:
    """UNSETSTORAGEPOLICY, SATISFYSTORAGEPOLICY: nothing to do, where there is a path."""
    await look_up(call)
    return HttpReply()


GET = {
    "GETHOMEDIRECTORY": get_home_directory,
    "GETTRASHROOT": get_trash_root,
    "GETTRASHROOTS": get_trash_roots,
    "GETSTATUS": get_status,
    "GETSERVERDEFAULTS": get_server_defaults,
    "GETALLSTORAGEPOLICY": get_all_storage_policies,
    "GETSTORAGEPOLICY": get_storage_policy,
}
PUT = {"SETSTORAGEPOLICY": set_storage_policy, "SATISFYSTORAGEPOLICY": keep_storage_policy}
POST = {"UNSETSTORAGEPOLICY": keep_storage_policy}
