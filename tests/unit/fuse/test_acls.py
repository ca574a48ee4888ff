"""Lists as the kernel carries them, against bytes that ``setfacl`` of Debian's acl 2.3 wrote."""

from __future__ import annotations

import pytest

from memfs.errors import InvalidArgumentError, UnsupportedError
from memfs.fuse.acls import ACCESS, DEFAULT, decode, encode, replacement
from memfs.protocol import messages as m
from memfs.security.acls import parse_entries
from memfs.types import AclEntry
from tests.unit.node.namespace.machine import Machine

USERS = {"ann": 1001, "www-data": 33}
GROUPS = {"staff": 1000, "adm": 4}

WRITTEN = [
    (
        # setfacl -m u:1001:rw,u:33:r,g:1000:rwx,g:4:r FILE, of mode 640
        ACCESS,
        "user::rw-,user:www-data:r--,user:ann:rw-,group::r--,group:adm:r--,group:staff:rwx,"
        "mask::rwx,other::---",
        "0200000001000600ffffffff020004002100000002000600e903000004000400ffffffff0800040004000000"
        "08000700e803000010000700ffffffff20000000ffffffff",
    ),
    (
        # setfacl -d -m u:1001:rwx,g:4:r-x DIRECTORY
        DEFAULT,
        "default:user::rwx,default:user:ann:rwx,default:group::r-x,default:group:adm:r-x,"
        "default:mask::rwx,default:other::r-x",
        "0200000001000700ffffffff02000700e903000004000500ffffffff080005000400000010000700ffffffff"
        "20000500ffffffff",
    ),
    (
        # setfacl -m u:1001:rx DIRECTORY
        ACCESS,
        "user::rwx,user:ann:r-x,group::r-x,mask::r-x,other::r-x",
        "0200000001000700ffffffff02000500e903000004000500ffffffff10000500ffffffff20000500ffffffff",
    ),
]


def user(number: int) -> str:
    return next((name for name, uid in USERS.items() if uid == number), str(number))


def group(number: int) -> str:
    return next((name for name, gid in GROUPS.items() if gid == number), str(number))


def written(name: str, entries: tuple[AclEntry, ...]) -> bytes | None:
    return encode(entries, name, USERS.__getitem__, GROUPS.__getitem__)


@pytest.mark.parametrize(("name", "text", "blob"), WRITTEN)
def test_what_setfacl_writes(name: str, text: str, blob: str) -> None:
    entries = parse_entries(text)
    assert decode(bytes.fromhex(blob), name, user, group) == entries
    assert written(name, entries) == bytes.fromhex(blob)
    assert written(name, tuple(reversed(entries))) == bytes.fromhex(blob), "in the kernel's order"


def test_each_scope_is_an_attribute() -> None:
    both = tuple(parse_entries(WRITTEN[1][1] + "," + WRITTEN[2][1]))
    for name, _, blob in WRITTEN[1:]:
        assert written(name, both) == bytes.fromhex(blob)


def test_mode_bits_alone_are_no_list() -> None:
    assert written(ACCESS, parse_entries("user::rw-,group::r--,other::---")) is None
    assert written(DEFAULT, parse_entries("user::rw-,group::r--,other::---")) is None
    kept = parse_entries("default:user::rwx,default:group::r-x,default:other::---")
    assert written(DEFAULT, kept) is not None


@pytest.mark.parametrize(
    ("blob", "error"),
    [
        (b"", InvalidArgumentError),
        (b"\x02\0\0", InvalidArgumentError),
        (b"\x02\0\0\0" + b"\x01\0\x06\0\xff\xff\xff", InvalidArgumentError),
        (b"\x01\0\0\0", UnsupportedError),
        (b"\x02\0\0\0" + b"\x03\0\x06\0\xff\xff\xff\xff", InvalidArgumentError),
        (b"\x02\0\0\0" + b"\x01\0\x08\0\xff\xff\xff\xff", InvalidArgumentError),
        (b"\x02\0\0\0" + b"\x02\0\x06\0\xff\xff\xff\xff", InvalidArgumentError),
    ],
)
def test_what_is_no_list(blob: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        decode(blob, ACCESS, user, group)


def test_numbers_without_a_name_come_back() -> None:
    blob = bytes.fromhex(WRITTEN[2][2])
    entries = decode(blob, ACCESS, str, str)
    assert entries[1].name == "1001"
    assert encode(entries, ACCESS, int, int) == blob


class Listed:
    """A file in a namespace, set and read through attributes."""

    def __init__(self, path: str) -> None:
        self.machine = Machine()
        self.path = path
        if path == "/d":
            self.machine.mkdir(path, 0o755)
        else:
            self.machine.file(path, mode=0o640)

    @property
    def mode(self) -> int:
        return self.machine.stat(self.path).mode

    def set(self, name: str, blob: bytes | None) -> None:
        inode = self.machine.stat(self.path).inode
        entries = replacement(name, blob, self.mode, user, group)
        change = m.AclChange.SET if entries else m.AclChange.REMOVE_DEFAULT
        self.machine.run(m.ChangeAcl(b"", change, entries, base=inode))

    def get(self, name: str) -> bytes | None:
        return written(name, self.machine.ask(m.GetAcl(self.path.encode())).entries)


def test_setting_and_removing_in_the_namespace() -> None:
    listed = Listed("/f")
    blob = bytes.fromhex(WRITTEN[0][2])
    listed.set(ACCESS, blob)
    assert listed.get(ACCESS) == blob and listed.mode == 0o670
    listed.set(ACCESS, None)
    assert listed.get(ACCESS) is None and listed.mode == 0o670
    listed.set(ACCESS, blob)
    minimal = bytes.fromhex("0200000001000600ffffffff04000400ffffffff20000000ffffffff")
    listed.set(ACCESS, minimal)  # setfacl -b
    assert listed.get(ACCESS) is None and listed.mode == 0o640
    with pytest.raises(InvalidArgumentError):
        listed.set(DEFAULT, bytes.fromhex(WRITTEN[1][2]))
    with pytest.raises(InvalidArgumentError):
        listed.set(ACCESS, blob[:12])


def test_the_two_lists_of_a_directory_do_not_meet() -> None:
    listed = Listed("/d")
    access, default = (bytes.fromhex(WRITTEN[n][2]) for n in (2, 1))
    listed.set(DEFAULT, default)
    listed.set(ACCESS, access)
    assert (listed.get(ACCESS), listed.get(DEFAULT)) == (access, default)
    listed.set(ACCESS, None)
    assert (listed.get(ACCESS), listed.get(DEFAULT)) == (None, default)
    listed.set(ACCESS, access)
    listed.set(DEFAULT, None)
    assert (listed.get(ACCESS), listed.get(DEFAULT)) == (access, None)
    listed.set(DEFAULT, default)
    listed.set(DEFAULT, b"\x02\0\0\0")
    assert listed.get(DEFAULT) is None
