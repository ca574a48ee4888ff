"""WebHDFS as a surface: every call is HTTP to a gateway, as a client of Hadoop's would make it.

What POSIX has and WebHDFS lacks is put together from several requests where clients do so, too
(``mkdir`` of one directory, ``rmdir``); link counts, which it does not tell, are counted.
"""

from __future__ import annotations

import errno
import http.client
import json
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlencode

from memfs.config import ClientConfig, GatewayConfig
from memfs.gateway.server import Gateway
from memfs.types import ContentSummary

from ..surface import Feature
from .served import BLOCK_SIZE, Served

_KINDS = {"FILE": 0, "DIRECTORY": 1, "SYMLINK": 2}
_NUMBERS = {
    "FileNotFoundException": errno.ENOENT,
    "FileAlreadyExistsException": errno.EEXIST,
    "ParentNotDirectoryException": errno.ENOTDIR,
    "PathIsNotEmptyDirectoryException": errno.ENOTEMPTY,
    "PathComponentTooLongException": errno.ENAMETOOLONG,
    "AccessControlException": errno.EACCES,
    "XAttrNotFoundException": errno.ENODATA,
}


async def _start(config: GatewayConfig, client: ClientConfig) -> Gateway:
    gateway = Gateway(config, client)
    await gateway.start()
    return gateway


class WebHdfsSurface:
    """Requests and replies of the gateway."""

    name = "webhdfs"
    features = frozenset(
        {
            Feature.APPEND,
            Feature.SYMLINK,
            Feature.CHMOD,
            Feature.CHOWN,
            Feature.USERS,
            Feature.XATTR,
            Feature.DU,
            Feature.CONCAT,
            Feature.BINARY_NAMES,
        }
    )
    block_size = BLOCK_SIZE

    def __init__(
        self, served: Served, user: str = "root", groups: tuple[str, ...] = ("root",)
    ) -> None:
        self.served = served
        self._user = user
        config = GatewayConfig(
            port=0,
            user_groups=f"{user}={'+'.join(groups or (user,))}",
            group_rule="cluster",  # as the other surfaces have it
        )
        client = ClientConfig(endpoints=served.cluster.endpoints)
        self._gateway = served.run(_start(config, client))
        self._connection = http.client.HTTPConnection(
            "127.0.0.1", self._gateway.endpoint.port, timeout=60
        )
        self._others: list[WebHdfsSurface] = []

    def close(self) -> None:
        for other in self._others:
            other.close()
        self._connection.close()
        self.served.run(self._gateway.stop())

    def as_user(self, user: str, groups: tuple[str, ...] = ()) -> WebHdfsSurface:
        other = WebHdfsSurface(self.served, user, groups)
        self._others.append(other)
        return other

    def settle(self) -> None:
        self.served.settle()

    # --- requests ------------------------------------------------------------------------------

    def _ask(
        self, method: str, path: str, op: str, body: bytes | None = None, **parameters: object
    ) -> bytes:
        """The body of a successful answer. Raises OSError with a fitting errno."""
        pairs = {name.replace("_", "."): str(value) for name, value in parameters.items()}
        query = urlencode({"op": op, "user.name": self._user} | pairs)
        target = f"/webhdfs/v1{quote(path)}?{query}"
        while True:
            self._connection.request(method, target, body)
            response = self._connection.getresponse()
            content = response.read()
            if response.status != 307:
                break
            target = response.headers["Location"].partition("/webhdfs")[2]
            target = f"/webhdfs{target}"
        if response.status >= 400:
            said = json.loads(content)["RemoteException"]
            raise OSError(_NUMBERS.get(said["exception"], errno.EIO), said["message"], path)
        return content

    def _json(self, method: str, path: str, op: str, **parameters: object) -> Any:
        return json.loads(self._ask(method, path, op, **parameters))

    # --- content -------------------------------------------------------------------------------

    def read_bytes(self, path: str) -> bytes:
        return self._ask("GET", path, "OPEN")

    def write_bytes(self, path: str, data: bytes) -> None:
        kept = self._permission(path)  # what CREATE overwrites is a new file, as in HDFS
        self._ask("PUT", path, "CREATE", data, overwrite=True, createparent=False, **kept)

    def _permission(self, path: str) -> dict[str, str]:
        """That of the file there, as a parameter; empty if there is none."""
        try:
            return {"permission": f"{self.stat(path).mode:o}"}
        except OSError:
            return {}

    def append(self, path: str, data: bytes) -> None:
        try:
            self._ask("POST", path, "APPEND", data)
        except FileNotFoundError:
            self.write_bytes(self._beyond(path), data)

    def _beyond(self, path: str) -> str:
        """Where a broken symlink leads to, else ``path``."""
        try:
            target = self.readlink(path)
        except OSError:
            return path
        return target if target.startswith("/") else f"{path.rpartition('/')[0]}/{target}"

    def concat(self, path: str, sources: list[str]) -> None:
        self._ask("POST", path, "CONCAT", sources=",".join(sources))

    # --- names ---------------------------------------------------------------------------------

    def stat(self, path: str) -> Any:
        return self._facts(path, "GETFILESTATUS")

    def lstat(self, path: str) -> Any:
        return self._facts(path, "GETFILELINKSTATUS")

    def _facts(self, path: str, op: str) -> Any:
        found = self._json("GET", path, op)["FileStatus"]
        kind = _KINDS[found["type"]]
        size, links = found["length"], 1
        if kind == 2:
            size = len(found["symlink"].encode())
        if kind == 1:
            links = 2 + sum(each["type"] == "DIRECTORY" for each in self._list(path))
        return SimpleNamespace(
            kind=kind,
            mode=int(found["permission"], 8),
            size=size,
            links=links,
            owner=found["owner"],
            group=found["group"],
        )

    def exists(self, path: str) -> bool:
        try:
            self._json("GET", path, "GETFILESTATUS")
        except FileNotFoundError:
            return False
        return True

    def listdir(self, path: str) -> list[str]:
        if self._json("GET", path, "GETFILESTATUS")["FileStatus"]["type"] != "DIRECTORY":
            raise NotADirectoryError(errno.ENOTDIR, "no directory", path)
        return [each["pathSuffix"] for each in self._list(path)]

    def _list(self, path: str) -> list[Any]:
        """Page by page."""
        entries: list[Any] = []
        remaining, after = 1, ""
        while remaining:
            page = self._json("GET", path, "LISTSTATUS_BATCH", startafter=after)
            page, remaining = page["DirectoryListing"].values()
            entries += page["FileStatuses"]["FileStatus"]
            after = entries[-1]["pathSuffix"] if entries else ""
        return entries

    def mkdir(self, path: str) -> None:
        if self._is_anything(path):
            raise FileExistsError(errno.EEXIST, "exists", path)
        above = path.rpartition("/")[0] or "/"
        if self.stat(above).kind != 1:
            raise NotADirectoryError(errno.ENOTDIR, "no directory", path)
        self.makedirs(path)

    def _is_anything(self, path: str) -> bool:
        try:
            self._json("GET", path, "GETFILELINKSTATUS")
        except FileNotFoundError:
            return False
        return True

    def makedirs(self, path: str) -> None:
        assert self._json("PUT", path, "MKDIRS") == {"boolean": True}

    def rename(self, source: str, target: str) -> None:
        if source == target:
            self.lstat(source)
        else:
            self._ask("PUT", source, "RENAME", destination=target, renameoptions="OVERWRITE")

    def remove(self, path: str) -> None:
        self._expect(path, directory=False)
        self._delete(path, recursive=False)

    def rmdir(self, path: str) -> None:
        self._expect(path, directory=True)
        self._delete(path, recursive=False)

    def rmtree(self, path: str) -> None:
        self._expect(path, directory=True)
        self._delete(path, recursive=True)

    def _expect(self, path: str, *, directory: bool) -> None:
        found = self._json("GET", path, "GETFILELINKSTATUS")["FileStatus"]["type"]
        if directory and found != "DIRECTORY":
            raise NotADirectoryError(errno.ENOTDIR, "no directory", path)
        if not directory and found == "DIRECTORY":
            raise IsADirectoryError(errno.EISDIR, "a directory", path)

    def _delete(self, path: str, *, recursive: bool) -> None:
        if not self._json("DELETE", path, "DELETE", recursive=recursive)["boolean"]:
            raise FileNotFoundError(errno.ENOENT, "nothing was deleted", path)

    def symlink(self, target: str, path: str) -> None:
        self._ask("PUT", path, "CREATESYMLINK", destination=target)

    def readlink(self, path: str) -> str:
        return str(self._json("GET", path, "GETLINKTARGET")["Path"])

    # --- attributes ----------------------------------------------------------------------------

    def chmod(self, path: str, mode: int) -> None:
        self._ask("PUT", path, "SETPERMISSION", permission=f"{mode:o}")

    def chown(self, path: str, owner: str | None = None, group: str | None = None) -> None:
        self._ask("PUT", path, "SETOWNER", owner=owner or "", group=group or "")

    def getxattr(self, path: str, name: str) -> bytes:
        found = self._json("GET", path, "GETXATTRS", xattr_name=name, encoding="HEX")
        return bytes.fromhex(found["XAttrs"][0]["value"][2:])

    def setxattr(self, path: str, name: str, value: bytes) -> None:
        text = f"0x{value.hex()}"
        self._ask("PUT", path, "SETXATTR", xattr_name=name, xattr_value=text, flag="CREATE,REPLACE")

    def listxattr(self, path: str) -> list[str]:
        return list(json.loads(self._json("GET", path, "LISTXATTRS")["XAttrNames"]))

    def removexattr(self, path: str, name: str) -> None:
        if name not in self.listxattr(path):
            raise OSError(errno.ENODATA, "no such attribute", path)
        self._ask("PUT", path, "REMOVEXATTR", xattr_name=name)

    def du(self, path: str) -> Any:
        found = self._json("GET", path, "GETCONTENTSUMMARY")["ContentSummary"]
        return ContentSummary(
            found["length"], found["fileCount"], found["directoryCount"], found["spaceConsumed"]
        )
