"""What is read from the machine."""

from __future__ import annotations

import ctypes
import gc
import mmap
import re
import subprocess
from pathlib import Path

import pytest

from memfs import machine


def fake_root(tmp_path: Path, **files: str) -> Path:
    for name, text in {"proc/meminfo": "MemTotal:  1000 kB\n", **files}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_memory_is_the_ram(tmp_path: Path) -> None:
    assert machine.usable_memory(fake_root(tmp_path)) == 1000 * 1024


def test_cgroup_two_limits_of_all_levels(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/a/b\n",
        "sys/fs/cgroup/a/b/memory.max": "max\n",
        "sys/fs/cgroup/a/memory.max": "5000\n",
    }
    assert machine.usable_memory(fake_root(tmp_path, **files)) == 5000


def test_cgroup_one(tmp_path: Path) -> None:
    files = {"sys/fs/cgroup/memory/memory.limit_in_bytes": "7000\n"}
    assert machine.usable_memory(fake_root(tmp_path, **files)) == 7000


def test_cgroup_one_limits_of_all_levels(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "9:cpu,cpuacct:/x\n4:memory:/a/b\n0::/\n",
        "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "5000\n",
        "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": "9223372036854771712\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    }
    assert machine.usable_memory(fake_root(tmp_path, **files)) == 5000


def test_cgroup_limit_above_the_ram_does_not_count(tmp_path: Path) -> None:
    files = {"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}
    assert machine.usable_memory(fake_root(tmp_path, **files)) == 1000 * 1024


def test_login() -> None:
    assert machine.login_name()
    assert machine.login_groups() == machine.groups_of(machine.login_name())
    assert machine.runtime_directory().startswith("/")
    assert machine.state_directory().startswith("/")


def test_groups_of_others_are_those_of_their_accounts() -> None:
    assert machine.account_groups("root")[0] == "root"
    assert machine.account_groups("a stranger") == machine.account_groups("\0") == ()
    daemon = subprocess.run(["id", "-Gn", "daemon"], capture_output=True, text=True, check=True)
    assert set(machine.groups_of("daemon")) == set(daemon.stdout.split())


def test_mappings(tmp_path: Path) -> None:
    assert machine.mapping_limit(fake_root(tmp_path)) == 65_530
    root = fake_root(tmp_path, **{"proc/sys/vm/max_map_count": "262144\n"})
    assert machine.mapping_limit(root) == 262_144


def test_the_footprint_in_a_container(tmp_path: Path) -> None:
    files = {
        "proc/self/status": "VmRSS:\t90 kB\nRssAnon:\t     70 kB\nRssShmem:\t5 kB\n",
        "proc/self/cgroup": "0::/a/b\n",
        "sys/fs/cgroup/a/b/memory.max": "9000\n",
        "sys/fs/cgroup/a/b/memory.stat": "anon 100\nfile 5000\nshmem 30\nkernel 7\nsock 1\n",
        "sys/fs/cgroup/a/memory.max": "5000\n",
        "sys/fs/cgroup/a/memory.stat": "anon 4000\nshmem 300\n",
    }
    found = machine.footprint(fake_root(tmp_path, **files))
    assert found == (70 * 1024, 4300, 5000, 5 * 1024), "of the cgroup that is nearest to its limit"


def test_the_footprint_in_a_container_of_version_one(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "7000\n",
        "sys/fs/cgroup/memory/memory.stat": "rss 1\ntotal_rss 50\ntotal_shmem 6\ntotal_cache 9\n",
    }
    assert machine.footprint(fake_root(tmp_path, **files)) == (0, 56, 7000, 0)


def test_the_footprint_in_a_group_of_version_one_below_others(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "5:pids:/p\n4:memory,hugetlb:/a/b\n0::/\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "9000\n",
        "sys/fs/cgroup/memory/a/memory.stat": "rss 1\ntotal_rss 8000\ntotal_shmem 500\n",
        "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": "7000\n",
        "sys/fs/cgroup/memory/a/b/memory.stat": "total_rss 50\ntotal_shmem 6\n",
    }
    assert machine.footprint(fake_root(tmp_path, **files)) == (0, 8500, 9000, 0)


def test_the_footprint_without_a_limit(tmp_path: Path) -> None:
    files = {"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}
    assert machine.footprint(fake_root(tmp_path, **files)) == machine.Footprint()


def test_the_footprint_grows_with_the_heap() -> None:
    machine.tame_malloc()
    gc.collect()  # what other tests left must not go meanwhile
    machine.trim_malloc()
    before = machine.footprint().anonymous
    heap = bytearray(b"x") * (64 << 20)
    held = machine.footprint().anonymous
    del heap
    machine.trim_malloc()
    assert held - before > 60 << 20
    assert machine.footprint().anonymous - before < 32 << 20


def _flags(address: int) -> list[str]:
    """What the kernel says of the mapping that has an address in it."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if found := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = int(found[1], 16) <= address < int(found[2], 16)
        elif inside and line.startswith("VmFlags:"):
            return line.split()[1:]
    raise AssertionError("no such mapping")


@pytest.mark.skipif(
    not Path("/sys/kernel/mm/transparent_hugepage/enabled").exists(), reason="no large pages"
)
@pytest.mark.parametrize("length", [64 << 20, (64 << 20) + 5, 5, 0])
def test_large_pages_are_asked_for_where_memory_has_room_for_them(length: int) -> None:
    memory = memoryview(bytearray(length))
    machine.use_large_pages(memory)
    memory[:] = b"x" * length
    assert memory == b"x" * length
    if length > 5:
        middle = ctypes.addressof(ctypes.c_ubyte.from_buffer(memory, length // 2))
        assert "hg" in _flags(middle)


def test_domains_of_a_group_of_version_two(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/a/b\n",
        "sys/fs/cgroup/a/b/memory.max": "max\n",
        "sys/fs/cgroup/a/memory.max": "5000\n",
    }
    assert machine.memory_domains(fake_root(tmp_path, **files)) == (
        ("machine", 1000 * 1024),
        (" 2:/a/b", machine.NO_LIMIT),
        (" 2:/a", 5000),
        (" 2:/", machine.NO_LIMIT),
        (" 1:/", machine.NO_LIMIT),
    )


def test_a_container_that_sees_its_own_group_as_the_top_is_no_other_one(tmp_path: Path) -> None:
    """The list of the process has the host's path, and the mount begins at its group."""
    both = []
    for name in ("one", "two"):
        files = {
            "proc/self/cgroup": f"4:memory:/docker/{name}\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "7000\n",
        }
        root = tmp_path / name
        root.mkdir()
        both.append(set(machine.memory_domains(fake_root(root, **files))))
    assert (" 1:/docker/one", 7000) in both[0]
    assert (" 1:/docker/two", 7000) in both[1]
    shared = both[0] & both[1]
    assert all(limit > 7000 for _, limit in shared), shared


def test_containers_with_namespaces_of_their_own_are_no_other_one(tmp_path: Path) -> None:
    both = []
    for name in ("one", "two"):
        root = fake_root(
            tmp_path / name,
            **{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "7000\n"},
        )
        (root / "proc/self/ns").mkdir()
        (root / "proc/self/ns/cgroup").symlink_to(f"cgroup:[{name}]")
        both.append(set(machine.memory_domains(root)))
    assert {name for name, _ in both[0] & both[1]} == {"machine"}


def test_the_footprint_has_shared_memory_that_was_touched() -> None:
    before = machine.footprint().mapped
    size = 32 << 20
    with mmap.mmap(-1, size) as memory:
        memory.write(bytes(size))
        assert machine.footprint().mapped - before >= size
    assert machine.footprint().mapped - before < size


def test_a_file_in_the_place_of_a_directory_is_called_one(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for path in (file, file / "below"):
        with pytest.raises(NotADirectoryError):
            machine.make_private_directory(path)
    machine.make_private_directory(tmp_path / "a" / "b")
    machine.make_private_directory(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
