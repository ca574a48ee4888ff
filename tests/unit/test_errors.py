"""The error tree: codes, builtins, travel."""

from __future__ import annotations

import errno
import pickle
import re

import pytest

from memfs import errors
from memfs.errors import BY_CODE, InternalError, MemfsError, from_wire


def every(cls: type[MemfsError] = MemfsError) -> list[type[MemfsError]]:
    children = [child for child in cls.__subclasses__() if child.__module__ == errors.__name__]
    return [cls, *(each for child in children for each in every(child))]


LEAVES = [cls for cls in every() if cls.code]


def test_codes_are_stable() -> None:
    assert {cls.code: cls.__name__ for cls in LEAVES} == {
        1: "UnavailableError",
        2: "NotPrimaryError",
        3: "StaleEpochError",
        4: "BusyError",
        5: "BlockNotFoundError",
        6: "CorruptBlockError",
        7: "DeadlineError",
        8: "UploadLostError",
        9: "CapabilityError",
        20: "OutcomeUnknownError",
        21: "NoSpaceError",
        22: "DataLossError",
        23: "StoreUnreachableError",
        24: "IntegrityError",
        100: "PathNotFoundError",
        101: "PathExistsError",
        102: "NotDirectoryError",
        103: "IsDirectoryError",
        104: "DirectoryNotEmptyError",
        105: "AccessDeniedError",
        106: "NotPermittedError",
        107: "InvalidArgumentError",
        108: "InvalidPathError",
        109: "NameTooLongError",
        110: "SymlinkLoopError",
        111: "TooManyLinksError",
        113: "NoAttributeError",
        114: "LeaseHeldError",
        115: "LeaseLostError",
        116: "FileTooLargeError",
        117: "StaleHandleError",
        118: "UnsupportedError",
        119: "ConfigError",
        120: "NameQuotaError",
        121: "SpaceQuotaError",
        122: "InvalidTokenError",
        123: "OtherClusterError",
        124: "WouldBlockError",
        125: "LockDeadlockError",
        126: "NoLocksError",
        127: "LocksLostError",
        128: "StoreDeniedError",
        129: "ObjectMissingError",
        130: "ObjectChangedError",
        131: "StoreConflictError",
        132: "StoreUnsupportedError",
        140: "TreeTooLargeError",
        141: "UnmovableError",
        142: "AttributeTooLargeError",
        133: "MountBusyError",
        134: "ReadOnlyMountError",
        135: "CrossMountError",
        136: "StoreMissingError",
        200: "InternalError",
        201: "ProtocolError",
    }


def test_the_docstring_shows_the_whole_tree() -> None:
    named = set(re.findall(r"\w+Error", errors.__doc__ or ""))
    assert named >= {cls.__name__ for cls in every()}


@pytest.mark.parametrize("cls", LEAVES)
def test_ranges_say_whose_fault(cls: type[MemfsError]) -> None:
    kind = {0: errors.ClusterError, 1: errors.RequestError, 2: InternalError}[cls.code // 100]
    assert issubclass(cls, kind)


@pytest.mark.parametrize("cls", LEAVES)
def test_wire_round_trip(cls: type[MemfsError]) -> None:
    made = from_wire(cls.code, "what happened", "/a")
    assert type(made) is cls
    assert (made.message, made.filename, made.errno) == ("what happened", "/a", cls.posix)
    assert str(made) == "/a: what happened"


@pytest.mark.parametrize("cls", LEAVES)
def test_pickle_round_trip(cls: type[MemfsError]) -> None:
    copy = pickle.loads(pickle.dumps(cls("text", path="/a")))
    assert (type(copy), copy.message, copy.filename) == (cls, "text", "/a")


def test_unknown_codes_are_internal() -> None:
    made = from_wire(999, "new thing")
    assert type(made) is InternalError and "999" in made.message
    assert 999 not in BY_CODE


@pytest.mark.parametrize(
    ("cls", "builtin", "number"),
    [
        (errors.PathNotFoundError, FileNotFoundError, errno.ENOENT),
        (errors.PathExistsError, FileExistsError, errno.EEXIST),
        (errors.NotDirectoryError, NotADirectoryError, errno.ENOTDIR),
        (errors.IsDirectoryError, IsADirectoryError, errno.EISDIR),
        (errors.AccessDeniedError, PermissionError, errno.EACCES),
        (errors.NotPermittedError, PermissionError, errno.EPERM),
        (errors.InvalidArgumentError, ValueError, errno.EINVAL),
        (errors.AttributeTooLargeError, ValueError, errno.E2BIG),
        (errors.UnavailableError, ConnectionError, errno.EHOSTUNREACH),
        (errors.DeadlineError, TimeoutError, errno.ETIMEDOUT),
        (errors.OutcomeUnknownError, TimeoutError, errno.ETIMEDOUT),
        (errors.NoSpaceError, OSError, errno.ENOSPC),
    ],
)
def test_builtins(cls: type[MemfsError], builtin: type, number: int) -> None:
    with pytest.raises(builtin) as caught:
        raise cls("x")
    assert isinstance(caught.value, OSError) and caught.value.errno == number


def test_only_errors_that_changed_nothing_are_retryable() -> None:
    retryable = {cls.__name__ for cls in LEAVES if cls.retryable}
    assert retryable == {BY_CODE[code].__name__ for code in range(1, 10)}


def test_text_without_a_message_names_the_class() -> None:
    assert str(errors.BusyError()) == "BusyError"
