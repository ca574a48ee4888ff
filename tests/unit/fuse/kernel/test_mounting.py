"""Flags of mount(2) and lines of mountinfo."""

from pathlib import Path

from memfs.fuse.kernel.mounting import MountEntry, flags_of, is_flag, mounts

TABLE = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
41 27 0:39 / /mnt/a\040b rw,nosuid,nodev shared:7 - fuse.memfs memfs://h:1/ rw,allow_other
42 27 0:40 / /mnt/c ro - fuse.sshfs h:/ rw
"""


def test_mounts_of_memfs_are_found_in_the_table(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(TABLE)
    options = ("rw", "nosuid", "nodev", "allow_other")
    assert mounts(table) == [MountEntry("/mnt/a b", "memfs://h:1/", options, (0, 39))]


def test_words_become_flags_and_the_later_of_two_opposites_counts() -> None:
    assert flags_of(["ro", "nosuid", "nodev"]) == 1 | 2 | 4
    assert flags_of(["nosuid", "nodev", "suid", "noexec", "ro", "rw"]) == 4 | 8


def test_words_of_every_file_system_are_known() -> None:
    assert is_flag("noatime") and is_flag("suid") and not is_flag("timeout")
