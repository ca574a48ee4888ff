"""Extended attributes."""

from __future__ import annotations

from typing import Any

import pytest

from memfs import limits
from memfs.errors import (
    AccessDeniedError,
    AttributeTooLargeError,
    InvalidArgumentError,
    MemfsError,
    NameTooLongError,
    NoAttributeError,
    NoSpaceError,
    NotPermittedError,
    PathExistsError,
    UnsupportedError,
)
from memfs.node.namespace.commands.xattrs import parted
from memfs.protocol import messages as m
from memfs.protocol.records import decode, encode
from memfs.types import XattrMode

from ..machine import Machine
from ..test_unlinked import Opened, publish
from ..test_unlinked import put as put_file


@pytest.fixture
def machine() -> Machine:
    machine = Machine()
    machine.file("/f", user="alice", mode=0o644)
    machine.mkdir("/d", 0o777, "alice")
    machine.run(m.MakeSymlink(b"/s", b"f"))
    return machine


def put(machine: Machine, name: str, value: bytes = b"", user: str = "alice", **more: Any) -> None:
    machine.run(m.SetXattr(more.pop("path", b"/f"), name, value, **more), user)


def get(
    machine: Machine, *names: str, user: str = "alice", path: bytes = b"/f"
) -> dict[str, bytes]:
    return dict(machine.query(m.GetXattrs(path, names), user).xattrs)


def test_they_are_set_read_replaced_and_removed(machine: Machine) -> None:
    put(machine, "user.b", b"2")
    put(machine, "user.a", b"1")
    assert list(get(machine).items()) == [("user.a", b"1"), ("user.b", b"2")]
    put(machine, "user.b", b"\0")
    assert get(machine, "user.b") == {"user.b": b"\0"}
    machine.run(m.RemoveXattr(b"/s", "user.a"), "alice")
    machine.run(m.RemoveXattr(b"/f", "user.b"), "alice")
    assert get(machine) == {}
    assert not len(machine.namespace.volume.tree.xattrs)
    assert machine.stat("/f").change == machine.namespace.applied


def test_modes(machine: Machine) -> None:
    with pytest.raises(NoAttributeError):
        put(machine, "user.a", b"1", mode=XattrMode.REPLACE)
    put(machine, "user.a", b"1", mode=XattrMode.CREATE)
    with pytest.raises(PathExistsError):
        put(machine, "user.a", b"2", mode=XattrMode.CREATE)
    put(machine, "user.a", b"3", mode=XattrMode.REPLACE)
    with pytest.raises(InvalidArgumentError):
        put(machine, "user.a", mode=3)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("user.", b"", InvalidArgumentError),
        ("user.a\0b", b"", InvalidArgumentError),
        ("a", b"", UnsupportedError),
        ("", b"", UnsupportedError),
        ("system.posix_acl_access", b"", UnsupportedError),
        ("trusted.a", b"", NotPermittedError),
        ("user." + "x" * 251, b"", NameTooLongError),
        ("user.a", b"x" * (limits.XATTR_VALUE_BYTES + 1), AttributeTooLargeError),
    ],
)
def test_what_cannot_be_set(
    machine: Machine, name: str, value: bytes, error: type[MemfsError]
) -> None:
    with pytest.raises(error):
        put(machine, name, value)


def test_what_is_missing_is_an_error(machine: Machine) -> None:
    put(machine, "user.a")
    with pytest.raises(NoAttributeError):
        get(machine, "user.a", "user.b")
    with pytest.raises(NoAttributeError):
        machine.run(m.RemoveXattr(b"/f", "user.b"), "alice")


def test_trusted_ones_are_the_superusers(machine: Machine) -> None:
    put(machine, "trusted.a", b"1", "root")
    put(machine, "user.a", b"2", "alice")
    assert get(machine) == {"user.a": b"2"}
    assert get(machine, user="root") == {"trusted.a": b"1", "user.a": b"2"}
    with pytest.raises(NoAttributeError):
        get(machine, "trusted.a")
    with pytest.raises(NotPermittedError):
        machine.run(m.RemoveXattr(b"/f", "trusted.a"), "alice")


def test_symlinks_have_none_of_the_users(machine: Machine) -> None:
    with pytest.raises(NotPermittedError):
        put(machine, "user.a", user="root", path=b"/s", follow=False)
    put(machine, "trusted.a", user="root", path=b"/s", follow=False)
    assert get(machine, user="root") == {}
    machine.run(m.Unlink(b"/s"))
    assert not len(machine.namespace.volume.tree.xattrs)


def test_those_of_a_sticky_directory_are_its_owners(machine: Machine) -> None:
    put(machine, "user.a", user="bob", path=b"/d")
    machine.run(m.SetAttributes(b"/d", mode=0o1777))
    with pytest.raises(NotPermittedError):
        put(machine, "user.a", user="bob", path=b"/d")
    put(machine, "user.a", user="alice", path=b"/d")


@pytest.mark.parametrize("size", [0, 1, 1000, limits.XATTR_VALUE_BYTES])
def test_as_many_as_fit_can_all_be_read_at_once(machine: Machine, size: int) -> None:
    count = 0
    try:
        while True:
            put(machine, f"user.{count}", b"x" * size)
            count += 1
    except NoSpaceError:
        pass
    found = machine.query(m.GetXattrs(b"/f"), "alice")
    assert len(found.xattrs) == count >= 10
    put(machine, "user.0", b"x" * size)
    names = machine.ask(m.GetXattrs(b"/f", values=False), "alice")
    assert [each.name for each in names.xattrs] == [each.name for each in found.xattrs]
    record, values = parted(found)
    assert decode(m.XattrsReply, encode(record)) == record
    apart = count * size > limits.XATTRS_IN_RECORD_BYTES
    assert values == ([each.value for each in found.xattrs] if apart else [])
    assert sum(map(len, values)) <= limits.XATTRS_TOTAL_BYTES


def test_few_values_travel_in_the_record(machine: Machine) -> None:
    put(machine, "user.a", b"1")
    put(machine, "user.b", b"2" * (limits.XATTRS_IN_RECORD_BYTES - 1))
    found = machine.query(m.GetXattrs(b"/f"), "alice")
    assert parted(found) == (found, [])
    put(machine, "user.c", b"3")
    record, values = parted(machine.query(m.GetXattrs(b"/f"), "alice"))
    assert record.lengths == (1, limits.XATTRS_IN_RECORD_BYTES - 1, 1) == tuple(map(len, values))
    assert [each.value for each in record.xattrs] == [b""] * 3


def test_names_are_known_to_whom_values_are_not(machine: Machine) -> None:
    """As listxattr(2) on Linux, and LISTXATTRS of HDFS."""
    put(machine, "user.a", b"1")
    put(machine, "trusted.a", b"1", "root")
    machine.run(m.SetAttributes(b"/f", mode=0o600))
    names = machine.ask(m.GetXattrs(b"/f", values=False), "bob")
    assert names == m.XattrsReply((m.Xattr("user.a", b""),))
    with pytest.raises(AccessDeniedError):
        get(machine, user="bob")
    with pytest.raises(AccessDeniedError):
        get(machine, "user.a", user="bob")
    machine.run(m.SetAttributes(b"/", mode=0o700))
    with pytest.raises(AccessDeniedError):
        machine.ask(m.GetXattrs(b"/f", values=False), "bob")


def test_what_all_of_them_take_is_bounded(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = machine.namespace.volume.tree.xattrs
    put(machine, "user.a", b"x" * 100)
    one = held.bytes
    assert one == limits.XATTR_OVERHEAD_BYTES + 6 + 100
    monkeypatch.setattr(limits, "XATTRS_CLUSTER_BYTES", 2 * one)
    put(machine, "user.a", b"x" * 100, path=b"/d")
    with pytest.raises(NoSpaceError, match=f"all files together have {2 * one} bytes of extended"):
        put(machine, "user.b")
    with pytest.raises(NoSpaceError):
        put(machine, "user.a", b"x" * 101)
    put(machine, "user.a", b"y" * 100)
    machine.run(m.Unlink(b"/f"))
    assert held.bytes == one
    machine.file("/f", user="alice")
    put(machine, "user.a", b"x" * 100)


def test_what_one_owner_has_of_them_is_bounded(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = machine.namespace.volume.tree.xattrs
    machine.file("/bobs", user="bob", mode=0o666)
    put(machine, "user.a", b"x" * 100)
    one = held.bytes
    monkeypatch.setattr(limits, "XATTRS_BYTES_PER_OWNER", 2 * one)
    put(machine, "user.a", b"x" * 100, path=b"/d")
    with pytest.raises(
        NoSpaceError, match=rf"files of alice have {2 * one} bytes .* {2 * one} are"
    ):
        put(machine, "user.b")
    with pytest.raises(NoSpaceError, match="files of alice"):
        put(machine, "user.a", b"x" * 101)
    put(machine, "user.a", b"x" * 100, user="bob", path=b"/bobs")
    put(machine, "user.b", b"x" * 100, path=b"/bobs")  # it counts as bob's, whose file it is
    with pytest.raises(NoSpaceError, match="files of bob"):
        put(machine, "user.c", path=b"/bobs")
    assert held.most == 2 * one
    machine.run(m.RemoveXattr(b"/d", "user.a"), "alice")
    put(machine, "user.b", b"x" * 100)


def test_they_go_to_the_new_owner_with_their_file(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(machine, "user.a", b"x" * 100)
    one = machine.namespace.volume.tree.xattrs.bytes
    monkeypatch.setattr(limits, "XATTRS_BYTES_PER_OWNER", one)
    machine.run(m.SetAttributes(b"/f", owner="bob"))
    put(machine, "user.a", b"x" * 100, path=b"/d")
    with pytest.raises(NoSpaceError, match="files of bob"):
        put(machine, "user.b", user="bob")
    copy = machine.copy().namespace
    copy.check_invariants()
    assert copy.volume.tree.xattrs.most == one


def test_replaced_files_that_are_open_do_not_multiply_them(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.opens = Opened()
    put(machine, "user.a", b"x" * 100)
    one = machine.namespace.volume.tree.xattrs.bytes
    monkeypatch.setattr(limits, "XATTRS_BYTES_PER_OWNER", one)
    put_file(machine, b"/f")
    publish(machine, b"/f")
    machine.opens.open(machine.stat("/f").inode)
    with pytest.raises(NoSpaceError, match="files of alice"):
        publish(machine, b"/f")
    (inode,) = machine.run(m.ReserveInodes(1)).inodes
    (result,) = machine.run(m.PutFiles((m.NewFile(b"/f", inode, 0, ()),))).results
    assert "files of alice" in result.message
    monkeypatch.setattr(limits, "XATTRS_BYTES_PER_OWNER", 2 * one)
    publish(machine, b"/f")
    assert machine.namespace.volume.tree.xattrs.bytes == 2 * one
    machine.namespace.check_invariants()
