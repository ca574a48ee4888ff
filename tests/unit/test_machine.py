"""What is read from the machine."""

from __future__ import annotations

from pathlib import Path

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


def test_cgroup_limit_above_the_ram_does_not_count(tmp_path: Path) -> None:
    files = {"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}
    assert machine.usable_memory(fake_root(tmp_path, **files)) == 1000 * 1024


def test_login() -> None:
    assert machine.login_name()
    assert machine.login_groups()
    assert machine.runtime_directory().startswith("/")
    assert machine.state_directory().startswith("/")
