"""Mounting: the commands, what they say when something is wrong, and how a mount ends."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_cluster import Cluster, Command, clean_environment

from memfs import limits
from memfs.fuse.kernel.mounting import mounts
from memfs.machine import module_command
from memfs.testing.ports import free_port
from memfs.testing.processes import Processes
from tests.support.debian import program
from tests.support.mounts import Mounted, end, fuse, mounted, need_mounts
from tests.support.patience import PATIENCE_SECONDS


@pytest.fixture(autouse=True)
def root() -> None:
    need_mounts()


@pytest.fixture
def here(cluster: Cluster, tmp_path: Path) -> Iterator[Mounted]:
    with mounted(cluster.url, tmp_path) as found:
        yield found


def test_a_mount_is_a_directory_until_it_is_unmounted(here: Mounted, cluster: Cluster) -> None:
    (here.root / "hello").write_text("there")
    assert (here.root / "hello").read_text() == "there"
    listed = fuse("list").stdout
    assert f"{cluster.url}/ on {here.root} (" in listed
    assert fuse("umount", str(here.root)).returncode == 0
    assert list(here.root.iterdir()) == []
    assert str(here.root) not in fuse("list").stdout
    assert here.story() == ""


def test_a_part_of_the_tree_can_be_mounted(cluster: Cluster, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir(), second.mkdir()
    with mounted(cluster.url, first) as whole:
        (whole.root / "part" / "deep").mkdir(parents=True)
        with mounted(cluster.url, second, source="/part") as part:
            (part.root / "deep" / "file").write_text("seen")
            assert (whole.root / "part/deep/file").read_text() == "seen"
            assert os.stat(part.root).st_ino == os.stat(whole.root / "part").st_ino
            assert sorted(os.listdir(part.root / "..")) == sorted(os.listdir(second))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["/nowhere"], "No such file or directory"),
        (["/absent", "{directory}"], "/absent: no such file or directory"),
        (["{directory}", "-o", "colour=red"], "-o colour=red: no such option"),
        (["{directory}", "-o", "timeout=soon"], "-o timeout=soon: "),
        (["{directory}", "-o", "nowait=1"], "-o nowait takes no value"),
    ],
)
def test_what_is_wrong_is_said_to_who_mounts(
    arguments: list[str], said: str, cluster: Cluster, tmp_path: Path
) -> None:
    words = [word.format(directory=tmp_path) for word in arguments]
    done = fuse("mount", f"--log-file={tmp_path}/log", *words, url=cluster.url)
    assert done.returncode in (1, 2) and said in done.stderr, done
    assert not any(each.directory == str(tmp_path) for each in mounts())


def test_a_cluster_that_is_not_there_is_said_too(tmp_path: Path) -> None:
    done = fuse(
        "mount",
        f"--log-file={tmp_path}/log",
        "-o",
        "timeout=1",
        str(tmp_path),
        url="memfs://127.0.0.1:9",
    )
    assert done.returncode == 1 and "127.0.0.1:9" in done.stderr


def test_who_is_no_mount_cannot_be_unmounted(tmp_path: Path) -> None:
    done = fuse("umount", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == f"memfs: {tmp_path}: not a mount point\n"


def test_a_mount_in_use_says_so_and_can_be_detached(here: Mounted) -> None:
    with (here.root / "open").open("w") as file:
        done = fuse("umount", str(here.root))
        assert done.returncode == 1 and "in use" in done.stderr
        assert fuse("umount", "--lazy", str(here.root)).returncode == 0
        file.write("still")
    assert not any(each.directory == str(here.root) for each in mounts())


def test_sigterm_publishes_and_unmounts(here: Mounted, cli: Command) -> None:
    (keeper,) = here.processes("keep")
    descriptor = os.open(here.root / "half", os.O_CREAT | os.O_WRONLY)
    try:
        os.write(descriptor, b"written")
        os.kill(keeper, signal.SIGTERM)
        until = time.monotonic() + PATIENCE_SECONDS
        while here.processes("work") and time.monotonic() < until:
            time.sleep(0.05)
        with pytest.raises(OSError):
            os.write(descriptor, b"more")
    finally:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    assert not any(each.directory == str(here.root) for each in mounts())
    assert cli.ok("cat", "/half") == ["written"]


def test_a_killed_worker_is_replaced_and_nobody_notices(here: Mounted) -> None:
    (here.root / "before").write_text("1")
    (worker,) = here.processes("work")
    with (here.root / "open").open("w") as file:
        os.kill(worker, signal.SIGKILL)
        assert (here.root / "before").read_text() == "1"
        file.write("after")
    assert (here.root / "open").read_text() == "after"
    assert here.processes("work") != [worker]


def test_a_mount_is_watched(cluster: Cluster, tmp_path: Path) -> None:
    port = free_port(1)
    with mounted(cluster.url, tmp_path, monitoring_port=port) as here:
        (here.root / "seen").write_text("x")
        with pytest.raises(OSError, match="No data"):
            os.getxattr(here.root / "seen", "user.absent")

        def told(path: str) -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                found: bytes = answer.read()
            return found.decode()

        assert told("/readyz") == "ready\n"
        shown = told("/metrics")
        assert re.search(r'memfs_operations_total{kind="create",result="ok"} [1-9]', shown)
        assert re.search(r'memfs_operations_total{kind="getxattr",result="ENODATA"} [1-9]', shown)
        assert re.search(r"memfs_mount_known_inodes [1-9]", shown)
        (worker,) = here.processes("work")
        os.kill(worker, signal.SIGKILL)
        assert (here.root / "seen").read_text() == "x"
        assert told("/readyz") == "ready\n", "the next worker is watched too"


def test_mount_and_fstab_find_the_helper(cluster: Cluster, tmp_path: Path) -> None:
    directory = tmp_path / "mount"
    directory.mkdir()
    helper = Path(sys.executable).parent / "mount.memfs"
    done = subprocess.run(
        [str(helper), cluster.url + "/", str(directory), "-sn", "-o", "rw,noexec,_netdev,x-a=b"],
        capture_output=True,
        text=True,
        check=False,
    )
    here = Mounted(directory, tmp_path / "log")
    try:
        assert done.returncode == 0, done.stderr
        (found,) = [each for each in mounts() if each.directory == str(directory)]
        assert "noexec" in found.options
    finally:
        end(here)


def test_times_out_of_range_become_the_nearest(here: Mounted) -> None:
    path, billion = here.root / "file", 1_000_000_000
    path.touch()
    for seconds, kept in (
        (253_402_300_799, limits.TIME_NS_MAX),  # the last second of the year 9999
        (-62_135_596_800, limits.TIME_NS_MIN),  # the first of the year 1
        (-86_401, -86_401 * billion + 5),
    ):
        os.utime(path, ns=(seconds * billion + 5, seconds * billion + 5))
        assert (path.stat().st_atime_ns, path.stat().st_mtime_ns) == (kept, kept)


def test_a_mount_is_mounted_again_with_other_flags(here: Mounted, tmp_path: Path) -> None:
    """As mount(8) calls the helper, with all that the table of mounts says; and by the command."""
    (here.root / "before").write_text("here")
    helper = Path(sys.executable).parent / "mount.memfs"
    (found,) = [each for each in mounts() if each.directory == str(here.root)]
    assert "rw" in found.options and "nosuid" in found.options
    told = ",".join([*found.options, "remount", "ro", "noexec"])
    command = [str(helper), found.source, str(here.root), "-o", told]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    with pytest.raises(OSError, match="Read-only file system"):
        (here.root / "after").touch()
    assert (here.root / "before").read_text() == "here"
    (found,) = [each for each in mounts() if each.directory == str(here.root)]
    assert {"ro", "noexec", "nosuid", "nodev"} <= set(found.options)
    assert fuse("mount", "-o", "remount,rw", str(here.root)).returncode == 0
    (here.root / "after").touch()
    for wrong, said in ((tmp_path, "not a mount of memfs"), (tmp_path / "none", "No such file")):
        refused = fuse("mount", "-o", "remount,rw", str(wrong))
        assert refused.returncode != 0 and said in refused.stderr
        assert "Traceback" not in refused.stderr
    refused = fuse("mount", "-o", "remount,wrong", str(here.root))
    assert refused.returncode != 0 and "no such option" in refused.stderr


def test_mount_8_mounts_again_through_the_helper(here: Mounted) -> None:
    """In mount namespaces of their own, where the helper lies where mount(8) looks for it."""
    helper = shlex.quote(str(Path(sys.executable).parent / "mount.memfs"))
    where = shlex.quote(str(here.root))
    script = f"""set -e
    d=$(mktemp -d) && mount -t tmpfs none "$d" && cp -a /sbin/. "$d"
    ln -sf {helper} "$d/mount.fuse.memfs" && mount --bind "$d" /sbin
    mount -o remount,ro {where}
    touch {where}/new 2>&1 | grep -o 'Read-only file system'
    mount -o remount,rw {where}
    touch {where}/new"""
    done = subprocess.run(
        ["unshare", "--mount", "bash", "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "Read-only file system\n"), done.stderr


NOBODY = """
set -e
mknod -m 666 "$DIRECTORY/fuse" c 10 229 # some machines keep theirs for root
mount --bind "$DIRECTORY/fuse" /dev/fuse
install -m 4755 "$(command -v fusermount3)" "$DIRECTORY" # and their programs without set-uid bits
export PATH="$DIRECTORY:$PATH"
# To reach this interpreter, which may lie in root's home; no other privilege is left.
nobody() {
    setpriv --reuid="$USER" --regid="$GROUP" --clear-groups --inh-caps=+dac_read_search \
        --ambient-caps=+dac_read_search "$@"
}
nobody $MEMFS fuse mount --log-file="$DIRECTORY/log" "$DIRECTORY/mount"
nobody sh -c 'echo x > "$DIRECTORY/mount/theirs/file"; stat -c %U "$DIRECTORY/mount/theirs/file"'
ls "$DIRECTORY/mount" 2>&1 | grep -o 'Permission denied'
nobody $MEMFS fuse umount "$DIRECTORY/mount"
"""


def test_others_than_root_mount_through_fusermount3(cli: Command, cluster: Cluster) -> None:
    """Their mount is for them alone, root excluded."""
    program("fusermount3", "fuse3")
    nobody = pwd.getpwnam("nobody")
    cli.ok("mkdir", "/theirs")
    cli.ok("chown", "nobody", "/theirs")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        here = Mounted(Path(name, "mount"), Path(name, "log"))
        here.root.mkdir()
        for each in (Path(name), here.root):
            os.chown(each, nobody.pw_uid, nobody.pw_gid)
        environment = clean_environment(
            MEMFS_URL=cluster.url,
            MEMFS=shlex.join(module_command("memfs.cli")),
            DIRECTORY=name,
            USER=str(nobody.pw_uid),
            GROUP=str(nobody.pw_gid),
        )
        try:
            done = subprocess.run(
                ["unshare", "--mount", "sh", "-c", NOBODY],
                env=environment,
                capture_output=True,
                text=True,
                timeout=PATIENCE_SECONDS,
                check=False,
            )
            assert done.returncode == 0, done.stderr + here.story()
            assert done.stdout == "nobody\nPermission denied\n"
            assert cli.ok("cat", "/theirs/file") == ["x"]
        finally:
            end(here)


def test_a_change_through_a_mount_costs_no_look_at_its_directory(tmp_path: Path) -> None:
    """Commands tell what became of it: one request for a rename or an unlink, and no more."""
    (tmp_path / "mounted").mkdir()
    flags = ["--log-level=warning"]
    with (
        Processes(1, memory="256MiB", flags=flags, monitoring=True) as processes,
        mounted(processes.url, tmp_path / "mounted") as here,
    ):

        def lookups() -> float:
            address = processes.monitoring_url("node-1") + "/metrics"
            with urllib.request.urlopen(address, timeout=10) as answer:
                text: str = answer.read().decode()
            found = re.search(r'memfs_operations_total{kind="Lookup",result="ok"} (\S+)', text)
            return float(found[1]) if found else 0.0

        directory = here.root / "many"
        directory.mkdir()
        (directory / "first").touch()
        before, times = lookups(), 50
        for number in range(times):
            (directory / f"a{number}").write_bytes(b"x")
            (directory / f"a{number}").rename(directory / f"b{number}")
            (directory / f"b{number}").unlink()
        assert lookups() - before < times / 2, "they cost 3 each before"
        assert os.listdir(directory) == ["first"]
