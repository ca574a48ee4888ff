"""What mount(8) says to mount.memfs."""

import pytest

from memfs.cli.fuse.mount_helper import arguments
from memfs.errors import ConfigError


def test_source_directory_and_options_are_passed_on() -> None:
    given = ["memfs://a:1,b:1/data", "/mnt", "-sv", "-o", "rw,_netdev", "-t", "memfs"]
    assert arguments(given) == [
        *("fuse", "mount", "-o", "rw,_netdev", "--", "memfs://a:1,b:1/data", "/mnt")
    ]


def test_a_rehearsal_mounts_nothing() -> None:
    assert arguments(["memfs://a:1/", "/mnt", "-f"]) == ["fuse", "list"]


@pytest.mark.parametrize("given", [[], ["/mnt"], ["a", "b", "c"], ["a", "b", "-o"]])
def test_mistakes_are_answered_with_the_usage(given: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"usage: mount\.memfs SOURCE DIRECTORY"):
        arguments(given)
