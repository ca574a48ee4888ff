"""The words of refusals are HDFS's: who, what, and the inode that refuses."""

from __future__ import annotations

from typing import Any

import pytest

from memfs.errors import AccessDeniedError, NotPermittedError
from memfs.protocol import messages as m
from memfs.types import AclEntry, AclKind

from ..machine import Machine

CLOSED = '"/open/closed":root:root:drwx------'
KEPT = '"/free/within/kept":alice:root:drwxr-x---'


@pytest.fixture(scope="module")
def machine() -> Machine:
    """A tree that keeps much from bob."""
    machine = Machine(open_to_all=False)
    for path, mode in {
        "/open": 0o755,
        "/open/closed": 0o700,
        "/open/closed/below": 0o755,
        "/shown": 0o744,
        "/tmp": 0o1777,
        "/tmp/own": 0o755,
        "/free": 0o777,
        "/free/within": 0o777,
        "/free/within/kept": 0o750,
        "/listed": 0o755,
    }.items():
        machine.mkdir(path)
        machine.run(m.SetAttributes(path.encode(), mode=mode))
    machine.run(m.SetAttributes(b"/free/within/kept", owner="alice"))
    machine.run(m.MakeSymlink(b"/free/link", b"../open/./closed"))
    machine.run(m.MakeSymlink(b"/free/rooted", b"/open/closed/"))
    machine.file("/tmp/mine")
    machine.file("/tmp/own/yours")
    machine.file("/open/file", mode=0o640)
    machine.file("/free/within/kept/file")
    machine.file("/open/closed/below/file")
    entry = AclEntry(AclKind.USER, "bob", 0)
    machine.run(m.ChangeAcl(b"/listed", m.AclChange.MODIFY, (entry,)))
    return machine


def said(machine: Machine, request: Any) -> None:
    if m.BY_REQUEST[type(request)].command:
        machine.run(request, "bob")
    else:
        machine.ask(request, "bob")


@pytest.mark.parametrize(
    ("refused", "access", "inode"),
    [
        (m.Lookup(b"/open/closed/below/x"), "EXECUTE", CLOSED),
        (m.Lookup(b"/open/../../open/./closed//x"), "EXECUTE", CLOSED),
        (m.Lookup(b"/free/link/below"), "EXECUTE", CLOSED),
        (m.Lookup(b"/free/within/../rooted/below"), "EXECUTE", CLOSED),
        (m.Lookup(b"/shown/x"), "EXECUTE", '"/shown":root:root:drwxr--r--'),
        (m.List(b"/open/closed"), "READ", CLOSED),
        (m.List(b"/free/link"), "READ", CLOSED),
        (m.Access(b"/open/closed", 0o5), "READ_EXECUTE", CLOSED),
        (m.Access(b"/open/file", 0o1), "EXECUTE", '"/open/file":root:root:-rw-r-----'),
        (m.Access(b"/listed", 0o7), "ALL", '"/listed":root:root:drwxr-xr-x+'),
        (m.GetBlocks(b"/open/file"), "READ", '"/open/file":root:root:-rw-r-----'),
        (m.Summarise(b"/free"), "READ_EXECUTE", KEPT),
        (m.Create(b"/new"), "WRITE", '"/":root:wheel:drwxr-xr-x'),
        (m.Create(b"/shown/new"), "EXECUTE", '"/shown":root:root:drwxr--r--'),
        (m.MakeDirectory(b"/open/a/b", parents=True), "WRITE", '"/open":root:root:drwxr-xr-x'),
        (m.Unlink(b"/open/file"), "WRITE", '"/open":root:root:drwxr-xr-x'),
        (m.AcquireLease(b"/open/file"), "WRITE", '"/open/file":root:root:-rw-r-----'),
        (m.RemoveDirectory(b"/free/within", recursive=True), "ALL", KEPT),
        (m.Rename(b"/free/link", b"/open/x"), "WRITE", '"/open":root:root:drwxr-xr-x'),
        (m.SetAttributes(b"/open/file", now=True), "WRITE", '"/open/file":root:root:-rw-r-----'),
    ],
    ids=str,
)
def test_a_denied_access_names_what_refuses(
    machine: Machine, refused: Any, access: str, inode: str
) -> None:
    with pytest.raises(AccessDeniedError) as caught:
        said(machine, refused)
    assert caught.value.message == f"Permission denied: user=bob, access={access}, inode={inode}"


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (
            m.SetAttributes(b"/tmp/own", mode=0o777),
            "Permission denied. user=bob is not the owner of inode=/tmp/own",
        ),
        (
            m.ChangeAcl(b"/open", m.AclChange.REMOVE_ALL),
            "Permission denied. user=bob is not the owner of inode=/open",
        ),
        (
            m.Unlink(b"/tmp/mine"),
            'Permission denied by sticky bit: user=bob, path="/tmp/mine":root:root:-rw-r--r--, '
            'parent="/tmp":root:root:drwxrwxrwt',
        ),
        (
            m.SetQuota(b"/open", 1),
            "Access denied for user bob. Superuser privilege is required",
        ),
    ],
    ids=str,
)
def test_what_is_not_permitted_says_for_whom_it_is(
    machine: Machine, refused: Any, message: str
) -> None:
    with pytest.raises(NotPermittedError) as caught:
        said(machine, refused)
    assert caught.value.message == message


def test_giving_away_is_for_superusers(machine: Machine) -> None:
    machine.file("/free/own", user="bob")
    for change, reason in (
        ({"owner": "alice"}, "is not a super user (non-super user cannot change owner)."),
        ({"group": "artists"}, "does not belong to artists"),
    ):
        with pytest.raises(NotPermittedError) as caught:
            machine.run(m.SetAttributes(b"/free/own", **change), "bob")  # type: ignore[arg-type]
        assert caught.value.message == f"User bob {reason}"


@pytest.mark.parametrize("below", [b"", b"file"])
def test_above_a_handle_the_highest_directory_is_named_by_number(
    machine: Machine, below: bytes
) -> None:
    """It has no path that was walked, and looking for its name would cost a look at all names."""
    inode, closed = machine.stat("/open/closed/below").inode, machine.stat("/open/closed").inode
    with pytest.raises(AccessDeniedError) as caught:
        machine.ask(m.Lookup(below, base=inode), "bob")
    assert caught.value.message.endswith(
        f'access=EXECUTE, inode="/.reserved/.inodes/{closed}":root:root:drwx------'
    )


def test_a_handle_that_refuses_itself_is_named_by_number(machine: Machine) -> None:
    inode = machine.stat("/open/file").inode
    with pytest.raises(AccessDeniedError, match=f'"/.reserved/.inodes/{inode}":root:root:-rw-r'):
        machine.ask(m.GetBlocks(b"", base=inode), "bob")
    free, kept = machine.stat("/free").inode, machine.stat("/free/within/kept").inode
    with pytest.raises(AccessDeniedError, match=f'"/.reserved/.inodes/{kept}":alice:root:'):
        machine.ask(m.Lookup(b"within/kept/file", base=free), "bob")
