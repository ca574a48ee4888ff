"""The table of Java's exception classes and HTTP statuses for each error. Hadoop's client makes the
exception again from the class name, so the names are part of the protocol. Must not know HTTP or
operations. Invariant: every error of memfs has an entry, and no answer reveals more than the
error's message.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from memfs import errors
from memfs.gateway.hadoop.shapes import remote_exception


class JavaException(NamedTuple):
    """A Java exception class and the status it travels with."""

    java_class: str
    status: int = 403  # whatever is an IOException and nothing better known

    @property
    def name(self) -> str:
        """The class without its package (and without the class around it)."""
        return self.java_class.rpartition(".")[2].rpartition("$")[2]


_FS = "org.apache.hadoop.fs."
_HDFS = "org.apache.hadoop.hdfs."

IO: Final = JavaException("java.io.IOException")
FILE_NOT_FOUND: Final = JavaException("java.io.FileNotFoundException", 404)
ILLEGAL_ARGUMENT: Final = JavaException("java.lang.IllegalArgumentException", 400)
HADOOP_ILLEGAL_ARGUMENT: Final = JavaException(
    "org.apache.hadoop.HadoopIllegalArgumentException", 400
)
UNSUPPORTED: Final = JavaException("java.lang.UnsupportedOperationException", 400)
SECURITY: Final = JavaException("java.lang.SecurityException")
RUNTIME: Final = JavaException("java.lang.RuntimeException", 500)
INVALID_PATH: Final = JavaException(_FS + "InvalidPathException", 400)
EXISTS: Final = JavaException(_FS + "FileAlreadyExistsException")
PARENT_NOT_DIRECTORY: Final = JavaException(_FS + "ParentNotDirectoryException")
NOT_EMPTY: Final = JavaException(_FS + "PathIsNotEmptyDirectoryException")
ACCESS_CONTROL: Final = JavaException("org.apache.hadoop.security.AccessControlException")
AUTHORIZATION: Final = JavaException("org.apache.hadoop.security.authorize.AuthorizationException")
INVALID_TOKEN: Final = JavaException("org.apache.hadoop.security.token.SecretManager$InvalidToken")
UNAUTHENTICATED: Final = JavaException(
    "org.apache.hadoop.security.authentication.client.AuthenticationException", 401
)
ACL: Final = JavaException(_HDFS + "protocol.AclException")
SNAPSHOT: Final = JavaException(_HDFS + "protocol.SnapshotException")
BEING_CREATED: Final = JavaException(_HDFS + "protocol.AlreadyBeingCreatedException")
XATTR_NOT_FOUND: Final = JavaException(_HDFS + "protocol.XAttrNotFoundException")
NAME_QUOTA: Final = JavaException(_HDFS + "protocol.NSQuotaExceededException")
SPACE_QUOTA: Final = JavaException(_HDFS + "protocol.DSQuotaExceededException")
NOT_DIRECTORY: Final = JavaException(_FS + "PathIsNotDirectoryException")
NAME_TOO_LONG: Final = JavaException(
    _HDFS + "protocol.FSLimitException$PathComponentTooLongException"
)
LEASE_EXPIRED: Final = JavaException(_HDFS + "server.namenode.LeaseExpiredException")
RETRIABLE: Final = JavaException("org.apache.hadoop.ipc.RetriableException")
STANDBY: Final = JavaException("org.apache.hadoop.ipc.StandbyException")

_TABLE: Final[dict[type[errors.MemfsError], JavaException]] = {
    errors.PathNotFoundError: FILE_NOT_FOUND,
    errors.PathExistsError: EXISTS,
    errors.NotDirectoryError: PARENT_NOT_DIRECTORY,
    errors.IsDirectoryError: FILE_NOT_FOUND,
    errors.DirectoryNotEmptyError: NOT_EMPTY,
    errors.AccessDeniedError: ACCESS_CONTROL,
    errors.NotPermittedError: ACCESS_CONTROL,
    errors.InvalidArgumentError: HADOOP_ILLEGAL_ARGUMENT,
    errors.InvalidPathError: INVALID_PATH,
    errors.NameTooLongError: NAME_TOO_LONG,
    errors.NameQuotaError: NAME_QUOTA,
    errors.SpaceQuotaError: SPACE_QUOTA,
    errors.InvalidTokenError: INVALID_TOKEN,
    errors.NoAttributeError: XATTR_NOT_FOUND,
    errors.LeaseHeldError: BEING_CREATED,
    errors.LeaseLostError: LEASE_EXPIRED,
    errors.StaleHandleError: LEASE_EXPIRED,
    errors.UnsupportedError: UNSUPPORTED,
    errors.OtherClusterError: RETRIABLE,
    errors.UnavailableError: STANDBY,
    errors.RetryableError: RETRIABLE,
    errors.InternalError: RUNTIME,
    errors.MemfsError: IO,
}


class RemoteException(Exception):
    """An answer that is an exception: raised by operations, sent as JSON."""

    def __init__(self, kind: JavaException, message: str, status: int = 0) -> None:
        """``status`` 0: the kind's own."""
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.status = status or kind.status

    @property
    def text(self) -> str:
        """The body, as JSON."""
        return remote_exception(self.kind.name, self.kind.java_class, self.message)


def kind_of(error: errors.MemfsError) -> JavaException:
    """The entry of the error's class, or of the nearest class above it."""
    known = _TABLE.get(type(error))
    return known or next(_TABLE[cls] for cls in type(error).__mro__ if cls in _TABLE)


def refusal_of(error: errors.MemfsError, path: str, *, reading: bool = False) -> RemoteException:
    """The answer for an error of memfs that no operation has mapped itself. ``reading``: a path
    below a file is reported as missing, as HDFS does for operations that only read.
    """
    if isinstance(error, errors.PathNotFoundError) or (
        reading and isinstance(error, errors.NotDirectoryError)
    ):
        return RemoteException(FILE_NOT_FOUND, f"File does not exist: {path}")
    kind = kind_of(error)
    if isinstance(error, errors.IsDirectoryError):
        return RemoteException(kind, f"Path is not a file: {path}")
    if isinstance(error, errors.NotDirectoryError):
        return RemoteException(kind, f"Parent path is not a directory: {path}")
    if isinstance(error, errors.DirectoryNotEmptyError):
        return RemoteException(kind, f"{path} is non empty")
    if isinstance(error, PermissionError):  # says itself which inode refuses
        return RemoteException(kind, error.message)
    if isinstance(error, errors.NoAttributeError):
        return RemoteException(kind, "At least one of the attributes provided was not found.")
    if isinstance(error, errors.InternalError):
        return RemoteException(kind, "an internal error, see the gateway's log")
    return RemoteException(kind, str(error))
