"""Access control lists and quotas: what they say, and what they let others do."""

from __future__ import annotations

import pytest

from .surface import Feature, needs

BASE = ["user::rw-", "group::r--", "other::r--"]


def denied(call, *arguments):
    with pytest.raises(PermissionError):
        call(*arguments)
    return True


@needs(Feature.ACL)
def test_a_list_and_the_mode_bits_are_one(surface, top):
    path = f"{top}/file"
    surface.write_bytes(path, b"")
    assert surface.acl(path) == BASE
    surface.modify_acl(path, "user:ann:rwx,group:staff:r-x")
    assert surface.acl(path) == [
        "user::rw-",
        "user:ann:rwx",
        "group::r--",
        "group:staff:r-x",
        "mask::rwx",
        "other::r--",
    ]
    assert surface.stat(path).mode == 0o674
    surface.remove_acl_entries(path, "user:ann")
    assert surface.acl(path)[3:] == ["mask::r-x", "other::r--"]
    surface.remove_acl(path)
    assert (surface.acl(path), surface.stat(path).mode) == (BASE, 0o644)


@needs(Feature.ACL, Feature.CHMOD)
def test_chmod_sets_the_mask(surface, top):
    path = f"{top}/file"
    surface.write_bytes(path, b"")
    surface.set_acl(path, "user::rwx,user:ann:rwx,group::r-x,other::---")
    surface.chmod(path, 0o640)
    assert surface.acl(path) == [
        "user::rw-",
        "user:ann:rwx",
        "group::r-x",
        "mask::r--",
        "other::---",
    ]


@needs(Feature.ACL)
def test_what_is_made_inherits(surface, top):
    surface.mkdir(f"{top}/d")
    surface.modify_acl(f"{top}/d", "default:user:ann:rwx,default:other::---")
    surface.write_bytes(f"{top}/d/file", b"x")
    surface.mkdir(f"{top}/d/e")
    surface.makedirs(f"{top}/d/f/g")
    copied = surface.name == "cli"  # it puts a local file of mode 0o644
    assert surface.acl(f"{top}/d/file") == [
        "user::rw-",
        "user:ann:rwx",
        "group::r-x",
        "mask::r--" if copied else "mask::rw-",
        "other::---",
    ]
    access = ["user::rwx", "user:ann:rwx", "group::r-x", "mask::rwx", "other::---"]
    for name in ("e", "f", "f/g"):
        default = [f"default:{entry}" for entry in access]
        assert surface.acl(f"{top}/d/{name}") == access + default
    surface.remove_default_acl(f"{top}/d")
    surface.write_bytes(f"{top}/d/later", b"x")
    assert surface.acl(f"{top}/d/later") == BASE
    surface.write_bytes(f"{top}/d/file", b"replaced")
    assert "user:ann:rwx" in surface.acl(f"{top}/d/file")


@needs(Feature.ACL)
def test_lists_that_cannot_be(surface, top):
    surface.write_bytes(f"{top}/file", b"")
    surface.mkdir(f"{top}/d")
    for path, entries in (
        ("file", "default:user:ann:rwx"),
        ("d", ",".join(f"user:u{number}:r--" for number in range(40))),
    ):
        with pytest.raises(OSError):
            surface.modify_acl(f"{top}/{path}", entries)
    with pytest.raises(OSError):
        surface.set_acl(f"{top}/d", "user:ann:rwx")
    with pytest.raises(FileNotFoundError):
        surface.modify_acl(f"{top}/missing", "user:ann:rwx")
    assert surface.acl(f"{top}/file") == BASE


@needs(Feature.ACL, Feature.USERS, Feature.CHMOD, Feature.CHOWN)
def test_a_list_decides(surface, top):
    ann = surface.as_user("ann", ("ann",))
    bob = surface.as_user("bob", ("bob", "staff"))
    eve = surface.as_user("eve", ("eve",))
    home = f"{top}/home"
    surface.mkdir(home)
    surface.chown(home, "ann")
    ann.write_bytes(f"{home}/file", b"ann's")
    ann.chmod(f"{home}/file", 0o600)
    denied(bob.read_bytes, f"{home}/file")
    ann.modify_acl(f"{home}/file", "group:staff:rw-")
    assert bob.read_bytes(f"{home}/file") == b"ann's"
    bob.write_bytes(f"{home}/file", b"bob's")
    denied(eve.read_bytes, f"{home}/file")
    denied(bob.modify_acl, f"{home}/file", "user:bob:rwx")
    ann.modify_acl(f"{home}/file", "user:bob:---")
    denied(bob.read_bytes, f"{home}/file")
    ann.modify_acl(home, "user:eve:---,user:bob:rwx")
    denied(eve.stat, f"{home}/file")
    bob.mkdir(f"{home}/bobs")
    ann.chmod(home, 0o700)
    denied(bob.mkdir, f"{home}/more")


@needs(Feature.QUOTA)
def test_a_quota_of_names(surface, top):
    surface.mkdir(f"{top}/d")
    surface.set_quota(f"{top}/d", names=3)
    assert surface.get_quota(f"{top}/d") == (3, -1, 1, 0)
    surface.write_bytes(f"{top}/d/1", b"")
    surface.mkdir(f"{top}/d/2")
    for refused in (
        lambda: surface.mkdir(f"{top}/d/3"),
        lambda: surface.makedirs(f"{top}/d/2/3/4"),
        lambda: surface.write_bytes(f"{top}/d/2/3", b"x"),
        lambda: surface.symlink("x", f"{top}/d/3"),
        lambda: surface.link(f"{top}/d/1", f"{top}/d/3"),
        lambda: surface.rename(top + "/out", f"{top}/d/3"),
    ):
        if not surface.exists(f"{top}/out"):
            surface.write_bytes(f"{top}/out", b"")
        with pytest.raises(OSError):
            refused()
    assert surface.listdir(f"{top}/d") == ["1", "2"]
    surface.rename(f"{top}/out", f"{top}/d/1")
    surface.set_quota(f"{top}/d", names=-1)
    surface.mkdir(f"{top}/d/3")


@needs(Feature.QUOTA)
def test_a_quota_of_space(surface, top):
    surface.mkdir(f"{top}/d")
    surface.write_bytes(f"{top}/d/before", b"b" * 1000)
    space = surface.get_quota(f"{top}/d").space
    copies = space // 1000
    assert space == copies * 1000
    surface.set_quota(f"{top}/d", space=copies * 10_000)
    surface.write_bytes(f"{top}/d/more", b"m" * 9000)
    for path, size in (("more", 9001), ("new", 1), ("before", 2000)):
        with pytest.raises(OSError):
            surface.write_bytes(f"{top}/d/{path}", b"x" * size)
    assert surface.read_bytes(f"{top}/d/before") == b"b" * 1000
    assert surface.read_bytes(f"{top}/d/more") == b"m" * 9000
    surface.write_bytes(f"{top}/d/more", b"n" * 9000)
    assert surface.get_quota(f"{top}/d")[:2] == (-1, copies * 10_000)


@needs(Feature.QUOTA, Feature.OPEN)
def test_a_write_over_the_quota_leaves_what_was_flushed(surface, top):
    surface.mkdir(f"{top}/d")
    block = surface.block_size
    surface.set_quota(f"{top}/d", space=100 * block)
    copies = 1
    file = surface.open(f"{top}/d/file", "wb")
    file.write(b"1" * block)
    file.flush()
    copies = surface.get_quota(f"{top}/d").space // block
    surface.set_quota(f"{top}/d", space=2 * block * copies)
    file.write(b"2" * 3 * block)
    with pytest.raises(OSError):
        file.flush()
    with pytest.raises(OSError):
        file.close()
    assert surface.read_bytes(f"{top}/d/file") == b"1" * block
    with surface.open(f"{top}/d/file", "ab") as again:
        again.write(b"3" * block)
    assert surface.read_bytes(f"{top}/d/file") == b"1" * block + b"3" * block
