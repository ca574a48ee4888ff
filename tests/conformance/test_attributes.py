"""Modes, times, owners, extended attributes; and what they let other users do."""

from __future__ import annotations

import errno

import pytest

from .surface import Feature, needs


@needs(Feature.CHMOD)
def test_chmod_is_seen(surface, top):
    surface.write_bytes(f"{top}/file", b"")
    surface.mkdir(f"{top}/d")
    special = (0o7777,) if Feature.SET_ID in surface.features else (0o1777,)
    for mode in (0o600, 0o755, 0o444, *special, 0o640):
        surface.chmod(f"{top}/file", mode)
        surface.chmod(f"{top}/d", mode)
        assert surface.stat(f"{top}/file").mode == mode
        assert surface.stat(f"{top}/d").mode == mode


@needs(Feature.UTIME)
def test_utime_is_seen(surface, top):
    surface.write_bytes(f"{top}/file", b"")
    surface.utime(f"{top}/file", 1_700_000_000_123_456_789, 1_600_000_000_987_654_321)
    found = surface.stat(f"{top}/file")
    assert found.modified_ns == 1_700_000_000_123_456_789
    assert found.accessed_ns == 1_600_000_000_987_654_321


@needs(Feature.XATTR)
def test_extended_attributes(surface, top):
    path = f"{top}/file"
    surface.write_bytes(path, b"")
    values = {"user.empty": b"", "user.binary": bytes(range(256)), "user.grüße": "世界".encode()}
    for name, value in values.items():
        surface.setxattr(path, name, value)
    assert surface.listxattr(path) == sorted(values, key=str.encode)
    for name, value in values.items():
        assert surface.getxattr(path, name) == value
    surface.setxattr(path, "user.empty", b"changed")
    assert surface.getxattr(path, "user.empty") == b"changed"
    surface.removexattr(path, "user.binary")
    for call in (surface.getxattr, surface.removexattr):
        with pytest.raises(OSError) as caught:
            call(path, "user.binary")
        assert caught.value.errno == errno.ENODATA


@needs(Feature.XATTR)
def test_extended_attributes_of_a_directory_survive_a_rename(surface, top):
    surface.mkdir(f"{top}/d")
    surface.setxattr(f"{top}/d", "user.tag", b"value")
    surface.rename(f"{top}/d", f"{top}/e")
    assert surface.getxattr(f"{top}/e", "user.tag") == b"value"


@pytest.fixture
def ann(surface):
    return surface.as_user("ann", ("ann", "staff"))


@pytest.fixture
def bob(surface):
    return surface.as_user("bob", ("bob", "staff"))


@pytest.fixture
def eve(surface):
    return surface.as_user("eve", ("eve",))


@pytest.fixture
def home(surface, top):
    """A directory of ann, of the group staff."""
    path = f"{top}/home"
    surface.mkdir(path)
    surface.chown(path, "ann", "staff")
    surface.chmod(path, 0o755)
    return path


def denied(call, *arguments):
    with pytest.raises(PermissionError):
        call(*arguments)
    return True


@needs(Feature.USERS, Feature.CHOWN, Feature.CHMOD)
class TestUsers:
    def test_what_one_creates_is_ones_own(self, ann, home):
        ann.write_bytes(f"{home}/file", b"mine")
        ann.mkdir(f"{home}/d")
        for path in ("file", "d"):
            found = ann.stat(f"{home}/{path}")
            assert (found.owner, found.group) == ("ann", "ann")

    def test_mode_bits_decide_about_reading(self, ann, bob, eve, home):
        ann.write_bytes(f"{home}/file", b"mine")
        ann.chown(f"{home}/file", group="staff")
        expected = {0o644: "abe", 0o640: "ab", 0o600: "a", 0o044: "be", 0o004: "e", 0o400: "a"}
        for mode, readers in expected.items():
            ann.chmod(f"{home}/file", mode)
            for name, user in (("a", ann), ("b", bob), ("e", eve)):
                if name in readers:
                    assert user.read_bytes(f"{home}/file") == b"mine"
                else:
                    assert denied(user.read_bytes, f"{home}/file"), (oct(mode), name)

    @needs(Feature.APPEND, Feature.TRUNCATE)
    def test_mode_bits_decide_about_writing(self, ann, bob, home):
        ann.write_bytes(f"{home}/file", b"mine")
        denied(bob.write_bytes, f"{home}/file", b"bob's")
        denied(bob.append, f"{home}/file", b"bob's")
        denied(bob.truncate, f"{home}/file", 0)
        assert ann.read_bytes(f"{home}/file") == b"mine"
        ann.chmod(f"{home}/file", 0o666)
        bob.append(f"{home}/file", b" and bob's")
        assert ann.read_bytes(f"{home}/file") == b"mine and bob's"

    def test_a_directory_guards_its_names(self, ann, bob, home):
        ann.write_bytes(f"{home}/file", b"")
        denied(bob.write_bytes, f"{home}/new", b"")
        denied(bob.mkdir, f"{home}/new")
        denied(bob.remove, f"{home}/file")
        denied(bob.rename, f"{home}/file", f"{home}/other")
        ann.chmod(home, 0o775)
        bob.write_bytes(f"{home}/new", b"")
        bob.rename(f"{home}/new", f"{home}/newer")
        bob.remove(f"{home}/file")
        assert ann.listdir(home) == ["newer"]

    def test_search_and_list_are_two_rights(self, ann, eve, home):
        ann.mkdir(f"{home}/d")
        ann.write_bytes(f"{home}/d/file", b"x")
        ann.chmod(f"{home}/d", 0o711)
        assert eve.read_bytes(f"{home}/d/file") == b"x"
        denied(eve.listdir, f"{home}/d")
        ann.chmod(f"{home}/d", 0o744)
        denied(eve.read_bytes, f"{home}/d/file")

    def test_a_sticky_directory(self, ann, bob, eve, home):
        ann.chmod(home, 0o1777)
        bob.write_bytes(f"{home}/bobs", b"")
        denied(eve.remove, f"{home}/bobs")
        denied(eve.rename, f"{home}/bobs", f"{home}/eves")
        bob.remove(f"{home}/bobs")
        bob.write_bytes(f"{home}/bobs", b"")
        ann.remove(f"{home}/bobs")

    def test_only_the_owner_changes_the_mode(self, ann, bob, home):
        ann.write_bytes(f"{home}/file", b"")
        ann.chmod(f"{home}/file", 0o777)
        denied(bob.chmod, f"{home}/file", 0o700)

    def test_giving_away_is_for_the_superuser(self, surface, ann, home):
        ann.write_bytes(f"{home}/file", b"")
        denied(ann.chown, f"{home}/file", "bob")
        denied(ann.chown, f"{home}/file", None, "wheel")
        ann.chown(f"{home}/file", group="staff")
        surface.chown(f"{home}/file", "bob")
        found = surface.stat(f"{home}/file")
        assert (found.owner, found.group) == ("bob", "staff")

    def test_the_superuser_may_all(self, surface, ann, home):
        ann.write_bytes(f"{home}/file", b"secret")
        ann.chmod(f"{home}/file", 0)
        denied(ann.read_bytes, f"{home}/file")
        assert surface.read_bytes(f"{home}/file") == b"secret"

    @needs(Feature.SET_ID)
    def test_set_gid_directories_hand_on_their_group(self, ann, home):
        ann.chmod(home, 0o2775)
        ann.write_bytes(f"{home}/file", b"")
        assert ann.stat(f"{home}/file").group == "staff"

    def test_content_may_be_changed_where_names_may_not(self, ann, bob, home):
        ann.write_bytes(f"{home}/file", b"ann's")
        ann.chmod(f"{home}/file", 0o666)
        bob.write_bytes(f"{home}/file", b"bob's")
        assert ann.read_bytes(f"{home}/file") == b"bob's"
        assert ann.stat(f"{home}/file").owner == "ann"
