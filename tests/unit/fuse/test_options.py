"""What -o takes."""

import pytest

from memfs.errors import ConfigError
from memfs.fuse.options import MountOptions, describe, flags, parse


def test_nothing_is_needed() -> None:
    assert parse(()) == MountOptions(words=("nosuid", "nodev"))


def test_options_are_words_and_values_in_one_text_or_several() -> None:
    found = parse(("ro, nowait", "timeout=2m,readahead=1MiB,attr_timeout=1.5s"))
    assert found.nowait and found.timeout == 120 and found.readahead == 1 << 20
    assert found.attr_timeout == 1.5 and found.words == ("nosuid", "nodev", "ro")


def test_what_fstab_says_to_others_is_passed_over() -> None:
    assert parse(("defaults,_netdev,nofail,x-systemd.automount,comment=a",)) == parse(())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("colour", "no such option; there are allow_other, nowait"),
        ("nowait=yes", "takes no value"),
        ("timeout", "needs a value"),
        ("timeout=", "needs a value"),
        ("timeout=soon", "-o timeout=soon: "),
    ],
)
def test_mistakes_are_named(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse((text,))


def test_every_option_is_described() -> None:
    assert all(text.endswith(".") for _, _, text in describe())


def test_a_mount_that_is_to_get_other_flags_says_so() -> None:
    assert flags(("ro,timeout=5",)) is None
    told = "rw,nosuid,relatime,user_id=0,group_id=0,default_permissions,allow_other,timeout=5"
    assert flags((told, "remount,ro")) == ["nosuid", "nodev", "rw", "nosuid", "relatime", "ro"]
    with pytest.raises(ConfigError, match="no such option"):
        flags(("remount,wrong",))
