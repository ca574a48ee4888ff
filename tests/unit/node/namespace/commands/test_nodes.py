"""Special files: what they are, who may make them, and what cannot be done with them."""

from __future__ import annotations

from typing import Any

import pytest

from memfs.errors import (
    AccessDeniedError,
    InvalidArgumentError,
    NotDirectoryError,
    NotPermittedError,
    PathExistsError,
    PathNotFoundError,
)
from memfs.protocol import messages as m
from memfs.types import AclEntry, FileKind

from ..machine import Machine

FIFO, CHARACTER, BLOCK, SOCKET = (kind for kind in FileKind if kind.special)


@pytest.fixture
def machine() -> Machine:
    return Machine()


def make(machine: Machine, path: str, kind: int = FIFO, user: str = "root", **options: Any) -> Any:
    return machine.run(m.MakeNode(path.encode(), int(kind), **options), user).attributes


@pytest.mark.parametrize("kind", [FIFO, CHARACTER, BLOCK, SOCKET])
def test_it_is_a_name_with_attributes(machine: Machine, kind: FileKind) -> None:
    device = (8 << 20) - 1 if kind in (CHARACTER, BLOCK) else 0
    made = make(machine, "/n", kind, mode=0o640, device=device)
    assert machine.stat("/n") == made
    assert (made.kind, made.mode, made.links, made.size, made.device) == (kind, 0o640, 1, 0, device)
    assert machine.ask(m.List(b"/")).entries[0].attributes == made
    assert machine.du("/") == (0, 1, 1, 0)
    copy = machine.copy()
    assert copy.stat("/n") == made


def test_names_are_made_moved_and_removed(machine: Machine) -> None:
    make(machine, "/n")
    machine.mkdir("/d")
    machine.run(m.MakeLink(b"/n", b"/d/m"))
    assert machine.stat("/d/m").links == 2
    machine.run(m.Rename(b"/n", b"/d/n"))
    machine.run(m.Rename(b"/d/n", b"/d/m"))
    machine.run(m.SetAttributes(b"/d/m", mode=0o4711, owner="alice", modified_ns=5))
    assert machine.stat("/d/m").mode == 0o4711
    machine.run(m.SetAttributes(b"/d/m", group="people"), "alice")
    assert machine.stat("/d/m").mode == 0o711, "set-id bits go with a change of hands"
    machine.run(m.Unlink(b"/d/m"))
    machine.run(m.Unlink(b"/d/n"))
    assert machine.names("/d") == []
    machine.file("/f")
    make(machine, "/n")
    machine.run(m.Rename(b"/f", b"/n"))
    assert machine.stat("/n").kind == FileKind.FILE


def test_devices_are_for_superusers(machine: Machine) -> None:
    make(machine, "/n", user="alice")
    make(machine, "/s", SOCKET, user="alice")
    for kind in (CHARACTER, BLOCK):
        with pytest.raises(NotPermittedError):
            make(machine, "/dev", kind, user="alice", device=1)
        make(machine, f"/{kind}", kind, user="admin", device=1)
    made = make(machine, "/of-alice", owner="alice", group="people")
    assert (made.owner, made.group) == ("alice", "people")


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (m.MakeNode(b"/n", FIFO), PathExistsError),
        (m.MakeNode(b"/x/", FIFO), PathNotFoundError),
        (m.MakeNode(b"/missing/x", FIFO), PathNotFoundError),
        (m.MakeNode(b"/n/x", FIFO), NotDirectoryError),
        (m.MakeNode(b"/x", FileKind.FILE), InvalidArgumentError),
        (m.MakeNode(b"/x", 3), InvalidArgumentError),
        (m.MakeNode(b"/x", 99), InvalidArgumentError),
        (m.MakeNode(b"/x", FIFO, device=1), InvalidArgumentError),
        (m.MakeNode(b"/x", BLOCK, device=1 << 32), InvalidArgumentError),
        (m.MakeNode(b"/x", FIFO, 0o10000), InvalidArgumentError),
        (m.Create(b"/n"), InvalidArgumentError),
        (m.AcquireLease(b"/n"), InvalidArgumentError),
        (m.CreateDraft(b"/n"), InvalidArgumentError),
        (m.SetAttributes(b"/n", replication=3), InvalidArgumentError),
        (m.SetXattr(b"/n", "user.a", b""), NotPermittedError),
        (m.Concat(b"/n", (b"/f",)), InvalidArgumentError),
        (m.Concat(b"/f", (b"/n",)), InvalidArgumentError),
        (m.RemoveDirectory(b"/n"), NotDirectoryError),
    ],
)
def test_what_is_refused(machine: Machine, request_: Any, error: type[Exception]) -> None:
    make(machine, "/n")
    machine.file("/f")
    with pytest.raises(error):
        machine.run(request_)


def test_they_have_no_content(machine: Machine) -> None:
    make(machine, "/n")
    for question in (m.GetBlocks(b"/n"), m.ReadLink(b"/n")):
        with pytest.raises(InvalidArgumentError):
            machine.ask(question)
    assert machine.ask(m.ReadFiles((b"/n",), 10)).files[0].code == InvalidArgumentError.code
    inode = machine.run(m.ReserveInodes(1)).inodes[0]
    put = machine.run(m.PutFiles((m.NewFile(b"/n", inode, 0, ()),))).results[0]
    assert put.code == InvalidArgumentError.code


def test_permissions_are_those_of_files(machine: Machine) -> None:
    make(machine, "/n", mode=0o600)
    with pytest.raises(AccessDeniedError):
        machine.ask(m.Access(b"/n", 4), "alice")
    machine.run(m.ChangeAcl(b"/n", m.AclChange.MODIFY, (AclEntry(0, "alice", 6),)))
    machine.ask(m.Access(b"/n", 6), "alice")


def test_a_default_list_is_inherited(machine: Machine) -> None:
    machine.mkdir("/d")
    entries = (AclEntry(0, "alice", 7, True),)
    machine.run(m.ChangeAcl(b"/d", m.AclChange.MODIFY, entries))
    made = make(machine, "/d/n", mode=0o600, unmasked=0o666)
    assert made.acl and made.mode == 0o664
