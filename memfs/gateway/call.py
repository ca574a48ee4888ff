"""One operation being carried out: the request, its path and parameters, and the user's client.

Owns the request's time. Everything that an operation asks of the cluster has one deadline, made
when the request came. Transferred bytes are progress: each piece of a body or of a copy has a
budget of its own, and after it the request's time begins again.
"""

from __future__ import annotations

from aiohttp import web

from memfs.client.calls.deadline import Deadline
from memfs.client.calls.wire import wire
from memfs.client.filesystem import AsyncFileSystem
from memfs.client.session.session import Session
from memfs.errors import InvalidPathError, NameTooLongError
from memfs.gateway.auth.authentication import RequestUser
from memfs.gateway.auth.user_sessions import UserSession
from memfs.gateway.hadoop.exceptions import INVALID_PATH, NAME_TOO_LONG, RemoteException
from memfs.gateway.hadoop.parameters import Parameters
from memfs.gateway.shared import Shared


class WebCall:
    """The context of one operation."""

    __slots__ = (
        "deadline",
        "operation",
        "parameters",
        "path",
        "principal",
        "request",
        "shared",
        "user_session",
    )

    def __init__(
        self,
        shared: Shared,
        request: web.BaseRequest,
        operation: str,
        path: str,
        parameters: Parameters,
        principal: RequestUser,
        user_session: UserSession,
        deadline: Deadline,
    ) -> None:
        """``deadline``: of what it asks of the cluster."""
        self.shared = shared
        self.request = request
        self.operation = operation
        self.path = valid(path)
        self.parameters = parameters
        self.principal = principal
        self.user_session = user_session
        self.deadline = deadline

    @property
    def fs(self) -> AsyncFileSystem:
        """The cluster as the user sees it."""
        return self.user_session.fs

    @property
    def session(self) -> Session:
        """What is known of the cluster's members."""
        return self.user_session.session

    def progressed(self) -> Deadline:
        """Start the request's time again: bytes were transferred, or an unfinished change has to be
        undone."""
        self.deadline = self.shared.deadline()
        return self.deadline

    def parameter_path(self, name: str) -> str:
        """A parameter that is a path, normalised."""
        return normal(self.parameters.path(name, self.operation))


def normal(path: str) -> str:
    """``path`` without empty components. Raises RemoteException for ``.`` and ``..``: HDFS."""
    if path == "/" or not path:
        return "/"
    parts = path.split("/")
    if "." in parts or ".." in parts:
        raise RemoteException(INVALID_PATH, f"Invalid path name {path}")
    return "/" + "/".join(filter(None, parts))


def check_new_name(path: str) -> None:
    """Raises RemoteException for a name that no client of Hadoop could read, as HDFS does.

    Java's Path takes what stands before a colon for a scheme.
    """
    if ":" in path:
        raise RemoteException(INVALID_PATH, f"Invalid path name {path}: a name may not hold ':'")


def valid(path: str) -> str:
    """``path`` itself. Raises RemoteException for what cannot be one."""
    try:
        wire(path)
    except NameTooLongError as error:
        raise RemoteException(NAME_TOO_LONG, f"{error.message}: {path[:64]}...") from None
    except InvalidPathError as error:
        raise RemoteException(INVALID_PATH, f"Invalid path name: {error.message}") from None
    return path


def parent(path: str) -> str:
    """The directory of ``path``."""
    return path.rpartition("/")[0] or "/"
