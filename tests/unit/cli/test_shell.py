"""What commands say of an error: the system's words where they fit, else the error's own."""

from __future__ import annotations

import os

import pytest

from memfs import errors
from memfs.cli.shell import reason, subject


@pytest.mark.parametrize(
    "kind",
    [
        errors.AccessDeniedError,
        errors.PathNotFoundError,
        errors.PathExistsError,
        errors.DirectoryNotEmptyError,
        errors.ReadOnlyMountError,
        errors.SymlinkLoopError,
    ],
)
def test_what_the_system_has_words_for(kind: type[errors.RequestError]) -> None:
    assert reason(kind("user=ann, access=WRITE", path="/f")) == os.strerror(kind("").posix)


@pytest.mark.parametrize(
    "kind",
    [
        errors.CrossMountError,
        errors.InvalidTokenError,
        errors.LocksLostError,
        errors.MountBusyError,
        errors.ObjectChangedError,
        errors.OtherClusterError,
        errors.SpaceQuotaError,
        errors.StoreConflictError,
        errors.StoreDeniedError,
        errors.StoreUnsupportedError,
    ],
)
def test_what_it_has_none_for(kind: type[errors.RequestError]) -> None:
    assert reason(kind("the reason", path="/f")) == "the reason"


def test_a_reason_is_one_line_whatever_names_it_holds() -> None:
    error = errors.StoreConflictError("a\nb\x1b[2J: the object was changed", path="/f")
    assert reason(error) == "a?b?[2J: the object was changed"


@pytest.mark.parametrize(
    ("named", "other", "said"),
    [
        ("/d", None, "'/d'"),
        ("/d/below", None, "'/d/below'"),
        ("/there/d", None, "'/d' to '/there/d'"),
        ("/there", None, "'/d' to '/there/d'"),
        ("/d", "/there/d", "'/d' to '/there/d'"),  # rename(2) does not say which
        (None, None, "'/d'"),
    ],
)
def test_an_error_of_a_copy_is_about_the_source_or_its_way_to_the_target(
    named: str | None, other: str | None, said: str
) -> None:
    error = OSError(2, "no such file", named, None, other)
    assert subject(error, "/d", "/there/d") == said


def test_an_error_of_a_single_path_names_it_or_what_is_below() -> None:
    assert subject(OSError(2, "no such file", "/link/x"), "/d") == "'/d'"
    assert subject(OSError(2, "no such file", "/d/x"), "/d/") == "'/d/x'"
