"""One operation being carried out: the request, its path and parameters, and the user's client."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from memfs import paths
from memfs.client.filesystem import FileSystem
from memfs.client.session import Session
from memfs.errors import InvalidPathError, NameTooLongError
from memfs.gateway.authentication import Principal
from memfs.gateway.exceptions import INVALID_PATH, NAME_TOO_LONG, Refusal
from memfs.gateway.parameters import Parameters
from memfs.gateway.sessions import Seat
from memfs.gateway.shared import Shared


class Call:
    """What an operation works with."""

    __slots__ = (
        "operation",
        "parameters",
        "path",
        "principal",
        "raw",
        "request",
        "seat",
        "shared",
    )

    def __init__(
        self,
        shared: Shared,
        request: web.BaseRequest,
        operation: str,
        path: str,
        parameters: Parameters,
        principal: Principal,
        seat: Seat,
    ) -> None:
        self.shared = shared
        self.request = request
        self.operation = operation
        self.path = path
        self.raw = wire_path(path)
        self.parameters = parameters
        self.principal = principal
        self.seat = seat

    @property
    def fs(self) -> FileSystem:
        """The cluster as the user sees it."""
        return self.seat.fs

    @property
    def session(self) -> Session:
        """For requests that the file system has no method for."""
        return self.seat.session

    async def ask(self, message: Any, path: str = "") -> Any:
        """The primary's reply; ``path`` is the one concerned, if it is not the call's own."""
        return await self.seat.session.ask(message, path or self.path)

    def parameter_path(self, name: str) -> str:
        """A parameter that is a path, normalised."""
        return normal(self.parameters.path(name, self.operation))


def normal(path: str) -> str:
    """``path`` without empty components. Raises Refusal for ``.`` and ``..``, as HDFS does."""
    if path == "/" or not path:
        return "/"
    parts = path.split("/")
    if "." in parts or ".." in parts:
        raise Refusal(INVALID_PATH, f"Invalid path name {path}")
    return "/" + "/".join(filter(None, parts))


def wire_path(path: str) -> bytes:
    """What travels. Raises Refusal for what cannot be a path."""
    try:
        return paths.encode(path)
    except NameTooLongError as error:
        raise Refusal(NAME_TOO_LONG, f"{error.message}: {path[:64]}...") from None
    except InvalidPathError as error:
        raise Refusal(INVALID_PATH, f"Invalid path name: {error.message}") from None


def parent(path: str) -> str:
    """The directory of ``path``."""
    return path.rpartition("/")[0] or "/"
