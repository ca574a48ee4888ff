"""The table of Java exceptions."""

from __future__ import annotations

import json

import pytest

from memfs import errors
from memfs.gateway.hadoop.exceptions import NAME_TOO_LONG, RemoteException, kind_of, refusal_of


@pytest.mark.parametrize("leaf", errors.BY_CODE.values(), ids=lambda leaf: leaf.__name__)
def test_every_error_has_an_answer(leaf: type[errors.MemfsError]) -> None:
    refusal = refusal_of(leaf("reason", path="/x"), "/x")
    assert refusal.status in (400, 403, 404, 500)
    content = json.loads(refusal.text)["RemoteException"]
    assert content == {
        "exception": refusal.kind.name,
        "javaClassName": refusal.kind.java_class,
        "message": refusal.message,
    }
    assert refusal.kind.java_class.endswith(refusal.kind.name)


@pytest.mark.parametrize(
    ("error", "name", "status"),
    [
        (errors.PathNotFoundError, "java.io.FileNotFoundException", 404),
        (errors.PathExistsError, "org.apache.hadoop.fs.FileAlreadyExistsException", 403),
        (errors.AccessDeniedError, "org.apache.hadoop.security.AccessControlException", 403),
        (errors.NotPermittedError, "org.apache.hadoop.security.AccessControlException", 403),
        (errors.UnsupportedError, "java.lang.UnsupportedOperationException", 400),
        (errors.UnavailableError, "org.apache.hadoop.ipc.StandbyException", 403),
        (errors.BusyError, "org.apache.hadoop.ipc.RetriableException", 403),
        (errors.DeadlineError, "org.apache.hadoop.ipc.RetriableException", 403),
        (errors.NoSpaceError, "java.io.IOException", 403),
        (errors.OutcomeUnknownError, "java.io.IOException", 403),
        (errors.ProtocolError, "java.lang.RuntimeException", 500),
    ],
)
def test_classes_and_statuses(error: type[errors.MemfsError], name: str, status: int) -> None:
    assert kind_of(error("x")) == (name, status)


def test_below_a_file_there_is_nothing_for_readers() -> None:
    error = errors.NotDirectoryError("x")
    assert refusal_of(error, "/f/x", reading=True).status == 404
    assert refusal_of(error, "/f/x").kind.name == "ParentNotDirectoryException"


def test_the_inside_stays_inside() -> None:
    refusal = refusal_of(errors.InternalError("secret"), "/x")
    assert "secret" not in refusal.message


def test_nested_java_classes() -> None:
    assert NAME_TOO_LONG.name == "PathComponentTooLongException"
    assert RemoteException(NAME_TOO_LONG, "x", 400).status == 400
