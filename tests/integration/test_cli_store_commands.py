"""An operator's commands on a mounted store, one after the other."""

from __future__ import annotations

from pathlib import Path

from cli_cluster import Cluster, Command


def test_the_life_of_a_mount(cli: Command, cluster: Cluster, tmp_path: Path) -> None:
    store = tmp_path / "bucket"
    store.mkdir()
    (store / "old").write_bytes(b"old")
    cli.ok("mount", "/bucket", f"file://{store}")
    assert any("/bucket" in line for line in cli.ok("mount"))
    cli.ok("load", "--metadata-only", "/bucket")
    cli("load", "/bucket")
    assert cli.ok("cat", "/bucket/old") == ["old"]
    cli.ok("pin", "/bucket/old", "--ttl", "1h")
    cli.ok("pin", "--unpin", "/bucket/old")
    (store / "behind").write_bytes(b"made behind the cluster's back")
    cli.ok("sync-metadata", "/bucket")
    assert cli.ok("ls", "/bucket") == ["behind", "old"]
    cli.ok("cp", "/bucket/old", "/bucket/new")
    cli.ok("persist", "/bucket")
    assert (store / "new").read_bytes() == b"old"
    cli.ok("free", "/bucket")
    assert cli.ok("cat", "/bucket/new") == ["old"]
    cli.ok("mount", "/bucket", "--update", "--quota", "64MiB")
    assert any("quota=64 MiB" in line for line in cli.ok("mount"))
    how = ["--read-only", "--shared", "--sync-interval", "5s"]
    cli.ok("mount", "/bucket/", "--update", *how)
    cli.ok("mount", "/bucket", "--update", "--policy", "lru")
    (line,) = [line for line in cli.ok("mount") if "/bucket" in line]
    for kept in ("read-only", "shared", "lru", "sync-interval=5.0 s", "64 MiB"):
        assert kept in line, "what is not given stays"
    assert "Read-only" in cli.fails("cp", "/bucket/old", "/bucket/other")[0]
    cli.ok("mount", "/bucket", "--update", "--read-write", "--private")
    (line,) = [line for line in cli.ok("mount") if "/bucket" in line]
    assert "read-only" not in line and "shared" not in line and "lru" in line
    cli.ok("unmount", "/bucket")
    assert not any("/bucket" in line for line in cli.ok("mount"))
    left = sorted(each.name for each in store.iterdir() if not each.name.startswith("."))
    assert left == ["behind", "new", "old"]
    for wrong in ("load", "free", "persist", "pin", "sync-metadata", "unmount"):
        assert cli.fails(wrong, "/absent")[0].startswith("memfs: "), wrong
    assert cli.fails("unmount", "/bucket")[0].startswith("memfs: ")
