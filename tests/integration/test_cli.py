"""The ``memfs`` command against a real cluster of three processes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from urllib.request import urlopen

import pytest
from cli_cluster import COMMAND, Cluster, Command, execute, start

import memfs
from memfs.client.transfer.copying import ProgressEvent
from tests.support.patience import PATIENCE_SECONDS

MIB = 1 << 20


def store(cli: Command, tmp_path: Path, path: str, content: bytes | str) -> None:
    source = tmp_path / "content"
    source.write_bytes(content.encode() if isinstance(content, str) else content)
    cli.ok("put", str(source), path)


# --- the cluster ---------------------------------------------------------------------------------


def test_status(cli: Command) -> None:
    waited = cli("cluster", "wait", "--nodes=3")  # it is up before all copies are there, and tells
    assert waited.status == 0, waited
    text = "\n".join(cli.ok("cluster", "status"))
    assert "healthy" in text and "3 of 3 alive, 3 in sync" in text
    (line,) = cli.ok("cluster", "status", "--json")
    found = json.loads(line)
    assert found["healthy"] is True and len(found["nodes"]) == 3
    assert sum(node["primary"] for node in found["nodes"]) == 1
    assert all(node["limit"] == 512 * MIB for node in found["nodes"])


def test_nodes(cli: Command) -> None:
    header, *rows = cli.ok("cluster", "nodes")
    assert header.split()[:3] == ["NODE", "MEMBER", "ADDRESS"]
    assert {row.split()[0] for row in rows} == {"node-1", "node-2", "node-3"}
    names = [json.loads(line)["name"] for line in cli.ok("cluster", "nodes", "--json")]
    assert sorted(names) == ["node-1", "node-2", "node-3"]


def test_monitoring(cluster: Cluster) -> None:
    for port in range(cluster.port + 1000, cluster.port + 1003):
        with urlopen(f"http://127.0.0.1:{port}/readyz") as answer:
            assert answer.status == 200
        with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            text = answer.read().decode()
        assert "memfs_members 3.0" in text and "memfs_in_sync 1.0" in text


def test_url_before_and_after_the_command(
    cluster: Cluster, cli: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MEMFS_URL")
    cli.ok("--url", cluster.url, "ls", "/")
    cli.ok("ls", "--url", cluster.url, "/")
    cli.ok("ls", cluster.url + "/")


def test_nobody_there(cli: Command) -> None:
    (line,) = cli.fails("--url", "memfs://127.0.0.1:9", "ls")
    assert line.startswith("memfs: ") and "127.0.0.1:9" in line


def test_nobody_answers_in_time(cli: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"memfs://127.0.0.1:{silent.getsockname()[1]}"
        (line,) = cli.fails("--url", url, "ls", "--timeout", "300ms")
    assert f"{url[8:]} did not answer within 0.3 s" in line


def test_a_file_that_another_writer_holds(cluster: Cluster, cli: Command, home: str) -> None:
    with memfs.connect(cluster.url) as fs:
        file = fs.open(f"{home}/log", "wb")
        file.write(b"flushed")
        file.flush()
        with (
            memfs.connect(cluster.url) as other,
            pytest.raises(memfs.errors.LeaseHeldError) as caught,
        ):
            other.open(f"{home}/log", "ab")
        assert f"process {os.getpid()} on " in str(caught.value)
        assert cli.ok("recover-lease", f"{home}/log") == [f"{home}/log: free, 7 bytes"]
        with memfs.connect(cluster.url) as other, other.open(f"{home}/log", "ab") as again:
            again.write(b" and more")
        with pytest.raises(memfs.errors.LeaseLostError):
            file.write(b"late")
            file.close()
    assert cli("cat", f"{home}/log").out == "flushed and more"
    assert "No such file" in cli.fails("recover-lease", f"{home}/gone")[0]


def test_put_and_cp_can_take_over_what_another_writes(
    cluster: Cluster, cli: Command, home: str, tmp_path: Path
) -> None:
    (tmp_path / "new").write_text("new")
    cli.ok("put", str(tmp_path / "new"), f"{home}/new")
    for command in (["put", str(tmp_path / "new")], ["cp", f"{home}/new"]):
        with memfs.connect(cluster.url) as fs:
            file = fs.open(f"{home}/log", "wb")
            assert "another writer" in cli.fails(*command, f"{home}/log")[0]
            cli.ok(*command, "--recover", f"{home}/log")
            with pytest.raises(OSError):
                file.write(b"late")
                file.close()
        assert cli("cat", f"{home}/log").out == "new"


# --- looking -------------------------------------------------------------------------------------


def test_ls(cli: Command, home: str, tmp_path: Path) -> None:
    store(cli, tmp_path, f"{home}/b", "12345")
    cli.ok("mkdir", f"{home}/d")
    store(cli, tmp_path, f"{home}/d/x", "1")
    store(cli, tmp_path, f"{home}/.hidden", "")
    store(cli, tmp_path, f"{home}/a", "1")
    assert cli.ok("ls", home) == ["a", "b", "d"]
    assert cli.ok("ls", "-A", home) == [".hidden", "a", "b", "d"]
    assert cli.ok("ls", "-r", home) == ["d", "b", "a"]
    assert cli.ok("ls", "-S", home)[0] == "b"
    cli.ok("touch", "-d", "2001-01-01", f"{home}/d")
    assert cli.ok("ls", "-t", home)[-1] == "d"
    assert cli.ok("ls", "-R", home) == [f"{home}:", "a", "b", "d", "", f"{home}/d:", "x"]
    assert cli.ok("ls", "-d", home) == [home]
    assert cli.ok("ls", f"{home}/a", f"{home}/d") == [f"{home}/a", "", f"{home}/d:", "x"]
    long = cli.ok("ls", "-lh", home)
    assert long[0].startswith("-rw-r--r-- 1 ") and long[0].endswith(" a")
    assert long[2].startswith("drwxr-xr-x 2 ")
    names = [json.loads(line)["path"] for line in cli.ok("ls", "--json", home)]
    assert names == [f"{home}/a", f"{home}/b", f"{home}/d"]


def test_one_error_does_not_stop_the_rest(cli: Command, home: str, tmp_path: Path) -> None:
    store(cli, tmp_path, f"{home}/a", "text\n")
    found = cli("cat", "/gone", f"{home}/a", home)
    assert found.status == 1 and found.out == "text\n"
    assert found.err.splitlines() == [
        "memfs: cannot open '/gone': No such file or directory",
        f"memfs: cannot open '{home}': Is a directory",
    ]


def test_patterns(cli: Command, home: str, tmp_path: Path) -> None:
    for name in ("a1", "a2", "b1", "odd[1]"):
        store(cli, tmp_path, f"{home}/{name}", name)
    assert cli.ok("ls", f"{home}/a*") == [f"{home}/a1", f"{home}/a2"]
    assert cli.ok("cat", f"{home}/?1") == ["a1b1"]
    assert cli.ok("cat", f"{home}/odd[1]") == ["odd[1]"]
    assert cli.fails("ls", f"{home}/z*") == [
        f"memfs: cannot access '{home}/z*': No such file or directory"
    ]
    cli.ok("rm", f"{home}/a*")
    assert cli.ok("ls", home) == ["b1", "odd[1]"]
    cli.ok("rm", "-f", f"{home}/z*")


def test_tree_and_find(cli: Command, home: str, tmp_path: Path) -> None:
    cli.ok("mkdir", "-p", f"{home}/d/e")
    store(cli, tmp_path, f"{home}/d/a.txt", "1")
    store(cli, tmp_path, f"{home}/b.TXT", "")
    assert cli.ok("tree", home) == [
        home,
        "├── b.TXT",
        "└── d",
        "    ├── a.txt",
        "    └── e",
        "",
        "2 directories, 2 files",
    ]
    assert cli.ok("tree", "-L", "1", "-d", home)[:2] == [home, "└── d"]
    assert cli.ok("find", home, "-name", "*.txt") == [f"{home}/d/a.txt"]
    assert cli.ok("find", home, "-iname", "*.txt") == [f"{home}/b.TXT", f"{home}/d/a.txt"]
    assert cli.ok("find", home, "-type", "d", "-mindepth", "1", "-maxdepth", "1") == [f"{home}/d"]
    assert cli.ok("find", home, "-empty") == [f"{home}/b.TXT", f"{home}/d/e"]
    assert cli.ok("find", home, "-size", "+0", "-type", "f", "-mmin", "-5") == [f"{home}/d/a.txt"]
    assert cli("find", home, "-type", "f", "-print0").out.split("\0")[:-1] == [
        f"{home}/b.TXT",
        f"{home}/d/a.txt",
    ]


def test_usage(cli: Command, home: str, tmp_path: Path) -> None:
    cli.ok("mkdir", f"{home}/d")
    store(cli, tmp_path, f"{home}/d/a", bytes(2048))
    assert cli.ok("du", home) == [f"2048\t{home}/d", f"2048\t{home}"]
    assert cli.ok("du", "-sh", home) == [f"2.0K\t{home}"]
    assert cli.ok("du", "-a", home)[0] == f"2048\t{home}/d/a"
    store(cli, tmp_path, f"{home}/b", bytes(1000))
    assert cli.ok("du", "-sc", f"{home}/d", f"{home}/b")[-1] == "3048\ttotal"
    cli.ok("rm", f"{home}/b")
    assert cli.ok("du", "-s", "--replicated", home) == [f"4096\t{home}"]
    header, row = cli.ok("df", "-h")
    assert header.split()[0] == "Filesystem" and row.split()[1] == "1.5G"
    found = json.loads(cli.ok("df", "--json")[0])
    assert found["capacity"] == 3 * 512 * MIB and found["replication"] == 2


def test_du_of_a_tree_with_closed_parts(cli, home):
    """As du(1): what is closed is named once, and all else counts."""
    for path, size in (("open/a", 10), ("open/shut/b", 100), ("open/shut/deep/c", 200), ("d", 1)):
        cli.ok("mkdir", "-p", f"{home}/{path}".rpartition("/")[0])
        cli.ok("truncate", "-s", str(size), f"{home}/{path}")
    cli.ok("chmod", "700", f"{home}/open/shut")
    closed = f"memfs: cannot read directory '{home}/open/shut': Permission denied"
    for flags, shown in (
        (("-s",), [f"11\t{home}"]),
        ((), [f"0\t{home}/open/shut", f"10\t{home}/open", f"11\t{home}"]),
    ):
        found = cli("du", "--user", "eve", *flags, home)
        assert (found.status, found.lines, found.err.splitlines()) == (1, shown, [closed])
    told = json.loads(cli("du", "--user", "eve", "-s", "--json", home).lines[0])
    assert told == {"path": home, "length": 11, "files": 2, "directories": 3, "space": 22}
    assert cli.ok("du", "-s", home) == [f"311\t{home}"]


def test_stat(cli: Command, home: str, tmp_path: Path) -> None:
    store(cli, tmp_path, f"{home}/a", "12345")
    cli.ok("ln", "-s", "a", f"{home}/l")
    assert cli.ok("stat", "-c", "%n %s %a %F %r", f"{home}/a") == [f"{home}/a 5 644 regular file 2"]
    assert cli.ok("stat", "-c", "%F", f"{home}/l") == ["symbolic link"]
    assert cli.ok("stat", "-L", "-c", "%F", f"{home}/l") == ["regular file"]
    text = "\n".join(cli.ok("stat", "--blocks", f"{home}/a"))
    assert "Copies: 2" in text and text.count("node-") == 2
    (block,) = json.loads(cli.ok("stat", "--blocks", "--json", f"{home}/a")[0])["blocks"]
    assert block["length"] == 5 and len(block["nodes"]) == 2
    assert cli.fails("stat", "/gone") == ["memfs: cannot stat '/gone': No such file or directory"]


# --- content -------------------------------------------------------------------------------------


def test_head_and_tail(cli: Command, home: str, tmp_path: Path) -> None:
    text = "".join(f"{number}\n" for number in range(1, 30_001))
    store(cli, tmp_path, f"{home}/n", text)
    assert cli.ok("head", f"{home}/n") == [str(number) for number in range(1, 11)]
    assert cli.ok("head", "-n", "2", f"{home}/n") == ["1", "2"]
    assert cli("head", "-c", "5", f"{home}/n").out == "1\n2\n3"
    assert cli("head", "-n", "99999", f"{home}/n").out == text
    assert cli.ok("tail", "-n", "2", f"{home}/n") == ["29999", "30000"]
    assert cli("tail", "-n", "20000", f"{home}/n").out == text[text.index("10001\n") :]
    assert cli("tail", "-n", "99999", f"{home}/n").out == text
    assert cli.ok("tail", "-n", "+29999", f"{home}/n") == ["29999", "30000"]
    assert cli.ok("tail", "-n", "0", f"{home}/n") == []
    assert cli("tail", "-c", "3", f"{home}/n").out == "00\n"
    assert cli("tail", "-c", "+168890", f"{home}/n").out == text[168_889:]
    store(cli, tmp_path, f"{home}/m", "x\ny")
    assert cli("tail", "-n", "1", f"{home}/m").out == "y"
    assert cli("head", "-n", "1", f"{home}/m", f"{home}/n").out == (
        f"==> {home}/m <==\nx\n\n==> {home}/n <==\n1\n"
    )


def test_tail_follows(cluster: Cluster, cli: Command, home: str) -> None:
    with memfs.connect(cluster.url) as fs, fs.open(f"{home}/log", "wb") as log:
        log.write(b"one\n")
        log.flush()
        process = start(cluster.url, "tail", "-f", f"{home}/log", stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"one\n"
            log.write(b"two\n")
            log.flush()
            assert process.stdout.readline() == b"two\n"
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_SECONDS) == 130
            assert process.stdout is not None
            process.stdout.close()


@pytest.mark.parametrize(("option", "wanted"), [("-f", b"old goes on\n"), ("-F", b"new\n")])
def test_tail_and_a_renamed_log(cluster: Cluster, home: str, option: str, wanted: bytes) -> None:
    with memfs.connect(cluster.url) as fs, fs.open(f"{home}/log", "wb") as log:
        log.write(b"one\n")
        log.flush()
        follow = start(cluster.url, "tail", option, f"{home}/log", stdout=-1, stderr=-1)
        try:
            assert follow.stdout is not None and follow.stderr is not None
            assert follow.stdout.readline() == b"one\n"
            fs.rename(f"{home}/log", f"{home}/log.1")
            if option == "-F":
                assert b"become inaccessible" in follow.stderr.readline()
            fs.write_bytes(f"{home}/log", b"new\n")
            log.write(b"old goes on\n")
            log.flush()
            assert follow.stdout.readline() == wanted
        finally:
            follow.send_signal(signal.SIGINT)
            assert follow.wait(PATIENCE_SECONDS) == 130
            follow.communicate()


def test_touch_and_truncate(cli: Command, home: str) -> None:
    path = f"{home}/a"
    cli.ok("touch", "-c", path)
    assert cli.ok("ls", home) == []
    cli.ok("touch", path)
    cli.ok("touch", "-d", "@1000000000", path)
    assert cli.ok("stat", "-c", "%Y %s", path) == ["1000000000 0"]
    cli.ok("touch", "-r", path, f"{home}/b")
    assert cli.ok("stat", "-c", "%Y", f"{home}/b") == ["1000000000"]
    for size, wanted in (("1K", 1024), ("+10", 1034), ("-1000", 34), ("-99", 0), ("7", 7)):
        cli.ok("truncate", f"--size={size}", path)
        assert cli.ok("stat", "-c", "%s", path) == [str(wanted)]
    assert cli("cat", path).out == "\0" * 7
    cli.ok("truncate", "-s", "3", f"{home}/new")
    assert cli("cat", f"{home}/new").out == "\0" * 3


# --- changes of the tree -------------------------------------------------------------------------


def test_directories(cli: Command, home: str) -> None:
    cli.ok("mkdir", "-p", "-m", "700", f"{home}/a/b")
    cli.ok("mkdir", "-p", f"{home}/a/b")
    assert cli.ok("stat", "-c", "%a", f"{home}/a/b") == ["700"]
    assert cli.fails("mkdir", f"{home}/a") == [
        f"memfs: cannot create directory '{home}/a': File exists"
    ]
    assert cli.fails("rmdir", f"{home}/a") == [
        f"memfs: failed to remove '{home}/a': Directory not empty"
    ]
    cli.ok("rmdir", f"{home}/a/b", f"{home}/a")
    assert cli.ok("ls", home) == []


def test_rm(cli: Command, home: str, tmp_path: Path) -> None:
    cli.ok("mkdir", "-p", f"{home}/d/e")
    store(cli, tmp_path, f"{home}/d/a", "1")
    assert cli.fails("rm", f"{home}/d") == [f"memfs: cannot remove '{home}/d': Is a directory"]
    assert cli.fails("rm", f"{home}/z") == [
        f"memfs: cannot remove '{home}/z': No such file or directory"
    ]
    cli.ok("rm", "-f", f"{home}/z")
    cli.ok("rm", "-r", f"{home}/d")
    assert cli.ok("ls", home) == []
    assert "dangerous" in cli.fails("rm", "-rf", "/")[0]
    assert cli("rm").status == 2


def test_mv(cli: Command, home: str, tmp_path: Path) -> None:
    store(cli, tmp_path, f"{home}/a", "a")
    store(cli, tmp_path, f"{home}/b", "b")
    cli.ok("mkdir", f"{home}/d")
    cli.ok("mv", "-n", f"{home}/a", f"{home}/b")
    assert cli("cat", f"{home}/b").out == "b"
    cli.ok("mv", f"{home}/a", f"{home}/b")
    assert cli("cat", f"{home}/b").out == "a"
    cli.ok("mv", f"{home}/b", f"{home}/d")
    assert cli.ok("ls", f"{home}/d") == ["b"]
    cli.ok("mv", "-T", f"{home}/d", f"{home}/e")
    assert cli.ok("find", home, "-type", "f") == [f"{home}/e/b"]
    assert cli.fails("mv", f"{home}/e/b", f"{home}/e", f"{home}/nodir") == [
        f"memfs: target '{home}/nodir' is not a directory"
    ]
    assert cli("mv", f"{home}/e").status == 2


def test_cp(cli: Command, home: str, tmp_path: Path) -> None:
    cli.ok("mkdir", "-p", f"{home}/d/e")
    store(cli, tmp_path, f"{home}/d/a", "a")
    store(cli, tmp_path, f"{home}/d/e/b", os.urandom(300_000))
    cli.ok("ln", "-s", "a", f"{home}/d/l")
    cli.ok("chmod", "750", f"{home}/d/a")
    cli.ok("touch", "-d", "@5", f"{home}/d/a")
    assert cli.fails("cp", f"{home}/d", f"{home}/x") == [
        f"memfs: -r not specified; omitting directory '{home}/d'"
    ]
    cli.ok("cp", "-rp", f"{home}/d", f"{home}/x")
    assert cli.ok("ls", "-R", f"{home}/x")[1:] == ["a", "e", "l", "", f"{home}/x/e:", "b"]
    assert cli.ok("stat", "-c", "%a %Y", f"{home}/x/a") == ["750 5"]
    assert cli.ok("stat", "-c", "%F", f"{home}/x/l") == ["symbolic link"]
    cli.ok("get", f"{home}/d/e/b", str(tmp_path / "one"))
    cli.ok("get", f"{home}/x/e/b", str(tmp_path / "two"))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    cli.ok("cp", f"{home}/d/a", f"{home}/d/e")
    assert cli.ok("ls", f"{home}/d/e") == ["a", "b"]
    assert "into itself" in cli.fails("cp", "-r", f"{home}/d", f"{home}/d/e")[0]


def test_links(cli: Command, home: str, tmp_path: Path) -> None:
    store(cli, tmp_path, f"{home}/a", "a")
    cli.ok("ln", f"{home}/a", f"{home}/hard")
    cli.ok("ln", "-s", "a", f"{home}/soft")
    assert cli.ok("stat", "-c", "%h", f"{home}/a") == ["2"]
    assert cli("cat", f"{home}/soft").out == "a"
    assert cli.ok("ls", "-l", f"{home}/soft")[0].endswith(f"{home}/soft -> a")
    assert cli.fails("ln", "-s", "b", f"{home}/soft") == [
        f"memfs: cannot create link '{home}/soft': File exists"
    ]
    cli.ok("ln", "-sf", "b", f"{home}/soft")
    assert cli.fails("cat", f"{home}/soft") == [
        f"memfs: cannot open '{home}/soft': No such file or directory"
    ]
    assert cli.ok("ls", f"{home}/soft") == [f"{home}/soft"]


def test_attributes(cli: Command, home: str, tmp_path: Path) -> None:
    cli.ok("mkdir", f"{home}/d")
    store(cli, tmp_path, f"{home}/d/a", "a")
    cli.ok("chmod", "-R", "u=rwX,go=", f"{home}/d")
    assert cli.ok("stat", "-c", "%a", f"{home}/d", f"{home}/d/a") == ["700", "600"]
    cli.ok("chmod", "-w", f"{home}/d/a")
    assert cli.ok("stat", "-c", "%a", f"{home}/d/a") == ["400"]
    cli.ok("chown", "-R", "ada:users", f"{home}/d")
    assert cli.ok("stat", "-c", "%U %G", f"{home}/d/a") == ["ada users"]
    cli.ok("chown", ":staff", f"{home}/d/a")
    assert cli.ok("stat", "-c", "%U %G", f"{home}/d/a") == ["ada staff"]
    cli.ok("xattr", "set", "user.k", "v w", f"{home}/d/a")
    assert cli.ok("xattr", "list", f"{home}/d/a") == ["user.k"]
    assert cli("xattr", "get", "user.k", f"{home}/d/a").out == "v w"
    cli.ok("xattr", "rm", "user.k", f"{home}/d/a")
    assert cli.fails("xattr", "get", "user.k", f"{home}/d/a") == [
        f"memfs: cannot read attributes of '{home}/d/a': No data available"
    ]


def test_access_control_lists(cli: Command, home: str, tmp_path: Path) -> None:
    cli.ok("mkdir", "-m", "750", f"{home}/d")
    store(cli, tmp_path, f"{home}/d/a", "a")
    cli.ok("chmod", "640", f"{home}/d/a")
    cli.ok("chown", "-R", "ada:users", f"{home}/d")
    cli.ok("setfacl", "-R", "-m", "u:bob:rwx,d:g:dev:r-x", f"{home}/d")
    cli.ok("chmod", "640", f"{home}/d/a")
    assert cli.ok("getfacl", "-R", f"{home}/d") == [
        f"# file: {home}/d",
        "# owner: ada",
        "# group: users",
        "user::rwx",
        "user:bob:rwx",
        "group::r-x",
        "mask::rwx",
        "other::---",
        "default:user::rwx",
        "default:group::r-x",
        "default:group:dev:r-x",
        "default:mask::r-x",
        "default:other::---",
        "",
        f"# file: {home}/d/a",
        "# owner: ada",
        "# group: users",
        "user::rw-",
        "user:bob:rwx\t#effective:r--",
        "group::r--",
        "mask::r--",
        "other::---",
        "",
    ]
    assert cli.ok("ls", "-l", f"{home}/d")[-1].startswith("-rw-r-----+ ")
    assert cli.ok("stat", "-c", "%A", f"{home}/d") == ["drwxrwx---+"]
    cli.ok("setfacl", "-x", "u:bob", "-k", f"{home}/d")
    cli.ok("setfacl", "--set", "u::rw,g::-,o::-,u:eve:r", f"{home}/d/a")
    assert cli.ok("getfacl", f"{home}/d/a")[3:5] == ["user::rw-", "user:eve:r--"]
    cli.ok("setfacl", "-R", "-b", f"{home}/d")
    assert cli.ok("stat", "-c", "%A", f"{home}/d", f"{home}/d/a") == ["drwxr-x---", "-rw-------"]
    assert cli("setfacl", f"{home}/d").status == 2
    assert cli("setfacl", "-m", "u:bob", f"{home}/d").status == 2


def test_quotas(cli: Command, home: str, tmp_path: Path) -> None:
    cli.ok("mkdir", f"{home}/d")
    cli.ok("quota", "set", "--names", "2", "--space", "1MiB", f"{home}/d")
    cli.ok("touch", f"{home}/d/a")
    assert cli.ok("quota", "show", f"{home}/d") == [
        "names  limit  space    limit  path",
        f"    2      2      0  1048576  {home}/d",
    ]
    assert cli.fails("mkdir", f"{home}/d/b") == [
        f"memfs: cannot create directory '{home}/d/b': "
        "quota of 2 names: 2 are used, 1 more are wanted"
    ]
    cli.ok("quota", "clear", "--names", f"{home}/d")
    assert json.loads(cli.ok("quota", "show", "--json", f"{home}/d")[0]) == {
        "path": f"{home}/d",
        "names_quota": -1,
        "space_quota": MIB,
        "names": 2,
        "space": 0,
    }
    assert cli("quota", "set", f"{home}/d").status == 2
    assert cli("quota", "set", "--names", "3", f"{home}/d/a").status == 1


def test_another_user(cli: Command, home: str, tmp_path: Path) -> None:
    store(cli, tmp_path, f"{home}/a", "secret")
    cli.ok("chmod", "600", f"{home}/a")
    assert cli.fails("--user", "eve", "cat", f"{home}/a") == [
        f"memfs: cannot open '{home}/a': Permission denied"
    ]
    assert cli.fails("rm", "--user", "eve", f"{home}/a") == [
        f"memfs: cannot remove '{home}/a': Permission denied"
    ]
    cli.ok("mkdir", "-p", f"{home}/t/open/shut/in it")
    cli.ok("chmod", "777", f"{home}/t", f"{home}/t/open")
    denied = f"memfs: cannot remove '{home}/t/open/shut': Permission denied"
    assert cli.fails("--user", "eve", "rm", "-r", f"{home}/t/open") == [denied]
    cli.ok("mkdir", "-m", "1777", f"{home}/tmp")
    cli.ok("--user", "eve", "touch", f"{home}/tmp/hers")
    assert cli.ok("stat", "-c", "%U", f"{home}/tmp/hers") == ["eve"]


# --- put and get ---------------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A local tree: many small files, a large one, a link, an empty directory."""
    top = tmp_path / "source"
    for number in range(300):
        path = top / f"d{number % 7}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(number * 13))
    (top / "large").write_bytes(os.urandom(20 * MIB + 7))
    (top / "empty").mkdir()
    (top / "link").symlink_to("large")
    (top / "d1" / "f1").chmod(0o700)
    os.utime(top / "large", ns=(0, 1_234_567_890_000_000_001))
    return top


def same(one: Path, other: Path) -> bool:
    done = subprocess.run(["diff", "-r", "--no-dereference", one, other], capture_output=True)
    assert done.stdout == b""
    return done.returncode == 0


def test_trees_there_and_back(cli: Command, home: str, source: Path, tmp_path: Path) -> None:
    cli.ok("put", "-r", str(source), home)
    assert cli.ok("ls", home) == ["source"]
    assert cli.ok("find", home, "-type", "f", "-name", "*part*") == []
    cli.ok("get", "-r", f"{home}/source", str(tmp_path / "back"))
    assert same(source, tmp_path / "back")
    assert (tmp_path / "back" / "d1" / "f1").stat().st_mode & 0o777 == 0o700
    cli.ok("put", "-rp", str(source), f"{home}/exact")
    cli.ok("get", "-rp", f"{home}/exact", str(tmp_path / "exact"))
    assert same(source, tmp_path / "exact")
    assert (tmp_path / "exact" / "large").stat().st_mtime_ns == 1_234_567_890_000_000_001


def test_the_same_from_python(cluster: Cluster, home: str, source: Path, tmp_path: Path) -> None:
    events: list[ProgressEvent] = []
    with memfs.connect(cluster.url) as fs:
        done = fs.put(source, f"{home}/tree", replication=1, progress=events.append)
        assert (done.files, done.failures) == (302, ()) and events[-1].bytes == done.bytes
        assert fs.stat(f"{home}/tree/large").replication == 1
        assert fs.get(f"{home}/tree", tmp_path / "back").bytes == done.bytes
    assert same(source, tmp_path / "back")


def test_where_things_go(cli: Command, home: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    (tmp_path / "dir").mkdir()
    cli.ok("put", str(tmp_path / "a"), f"{home}/renamed")
    cli.ok("put", str(tmp_path / "a"), str(tmp_path / "b"), home)
    assert cli.ok("ls", home) == ["a", "b", "renamed"]
    cli.ok("get", f"{home}/a", f"{home}/b", str(tmp_path / "dir"))
    assert sorted(os.listdir(tmp_path / "dir")) == ["a", "b"]
    for arguments in (
        ("put", str(tmp_path / "a"), str(tmp_path / "b"), f"{home}/x"),
        ("put", str(tmp_path / "a"), f"{home}/x/"),
        ("get", f"{home}/a", f"{home}/b", str(tmp_path / "x")),
    ):
        assert "is not a directory" in cli.fails(*arguments)[0]
    assert cli("put", str(tmp_path / "a")).status == 2
    assert "omitting directory" in cli.fails("put", str(tmp_path / "dir"), home)[0]
    assert "omitting directory" in cli.fails("get", home, str(tmp_path))[0]


def test_failures_of_single_files(cli: Command, home: str, tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    (top / "good").write_text("x")
    os.mkfifo(top / "pipe")
    assert cli.fails("put", "-r", str(top), "/gone/x", home) == [
        f"memfs: cannot put '{top}/pipe': not a file, directory or symbolic link",
        "memfs: cannot put '/gone/x': No such file or directory",
    ]
    assert cli.ok("ls", f"{home}/top") == ["good"]
    assert cli.fails("get", "/gone", str(tmp_path)) == [
        "memfs: cannot get '/gone': No such file or directory"
    ]


def test_get_into_the_current_directory(
    cli: Command, home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(cli, tmp_path, f"{home}/here", "x")
    monkeypatch.chdir(tmp_path)
    cli.ok("get", f"{home}/here")
    assert (tmp_path / "here").read_text() == "x"


def test_pipes_in_constant_memory(cluster: Cluster, cli: Command, home: str) -> None:
    pieces, piece = 200, os.urandom(MIB)
    sent, got = hashlib.sha256(), hashlib.sha256()
    writer = start(cluster.url, "put", "-", f"{home}/big", stdin=subprocess.PIPE)
    assert writer.stdin is not None
    for _ in range(pieces):
        writer.stdin.write(piece)
        sent.update(piece)
    assert _private_memory(writer.pid) < 150 * MIB
    writer.stdin.close()
    assert writer.wait(PATIENCE_SECONDS) == 0
    reader = start(cluster.url, "get", f"{home}/big", "-", stdout=subprocess.PIPE)
    assert reader.stdout is not None
    for _ in range(pieces - 1):
        got.update(reader.stdout.read(MIB))
    assert _private_memory(reader.pid) < 150 * MIB
    got.update(reader.stdout.read())
    assert reader.wait(PATIENCE_SECONDS) == 0 and got.digest() == sent.digest()
    reader.stdout.close()


@pytest.mark.parametrize("local", ["true", "false"], ids=["lent by nodes", "through sockets"])
def test_what_goes_through_pipes(cluster: Cluster, home: str, local: str, tmp_path: Path) -> None:
    """Of a file with holes, and with a block that is shorter than it counts."""
    config = tmp_path / "memfs.toml"
    config.write_text(f"[client]\nlocal_descriptors = {local}\n")
    content = os.urandom(9 * MIB) + bytes(8 * MIB) + os.urandom(6 * MIB + 5) + bytes(MIB)
    with memfs.connect(cluster.url) as fs, fs.open(f"{home}/file", "wb") as file:
        file.write(content[: 9 * MIB])
        file.seek(17 * MIB)
        file.write(content[17 * MIB : -MIB])
        file.truncate(len(content))
    for arguments, wanted in [
        (["cat"], content),
        (["head", "-c", f"{18 * MIB + 1}"], content[: 18 * MIB + 1]),
        (["tail", "-c", f"{15 * MIB + 3}"], content[-15 * MIB - 3 :]),
    ]:
        assert through_pipe(cluster, config, *arguments, f"{home}/file") == wanted
    assert through_pipe(cluster, config, "get", f"{home}/file", "-") == content


def through_pipe(cluster: Cluster, config: Path, *arguments: str) -> bytes:
    """What a command writes, with settings of its own."""
    done = execute(cluster.url, ["--config", str(config), *arguments])
    assert done.returncode == 0, done.stderr
    return done.stdout


def _private_memory(pid: int) -> int:
    """Bytes of memory that are the process's own: blocks mapped from a node are the node's."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("RssAnon:")[2].split()[0]) * 1024


def test_output_that_nobody_reads(cluster: Cluster, cli: Command, home: str) -> None:
    cli.ok("truncate", "-s", "20M", f"{home}/big")
    process = start(cluster.url, "cat", f"{home}/big", stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read(1)
    process.stdout.close()
    assert process.wait(PATIENCE_SECONDS) == 141


def test_an_interrupted_put_leaves_nothing(cluster: Cluster, cli: Command, home: str) -> None:
    process = start(
        cluster.url, "put", "-", f"{home}/never", stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None and process.stderr is not None
    process.stdin.write(bytes(40 * MIB))
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_SECONDS) == 130
    assert process.stderr.read().strip() == b""
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    process.stderr.close()
    assert cli.ok("ls", "-A", home) == []


def test_what_refuses_the_standard_input_is_named(cluster: Cluster, home: str) -> None:
    done = execute(cluster.url, ["put", "-", f"{home}/missing/a"], b"from a pipe\n")
    text = f"memfs: cannot put '{home}/missing/a': No such file or directory\n"
    assert (done.returncode, done.stderr.decode()) == (1, text)


def test_as_a_process(cluster: Cluster, home: str) -> None:
    done = execute(cluster.url, ["put", "-", f"{home}/a"], b"from a pipe\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    done = execute(cluster.url, ["cat", f"{home}/a", "/gone"])
    assert (done.returncode, done.stdout) == (1, b"from a pipe\n")
    assert done.stderr == b"memfs: cannot open '/gone': No such file or directory\n"


# --- the rest ------------------------------------------------------------------------------------


def test_fsck_of_a_healthy_cluster(cli: Command, home: str, source: Path) -> None:
    cli.ok("put", "-r", str(source), home)
    for arguments in ((), ("--verify",)):
        assert cli.ok("fsck", *arguments)[-1].endswith("healthy")
    (line,) = cli.ok("fsck", "--json", home)
    found = json.loads(line)
    assert found["files"] == 301 and found["lost"] == found["corrupt"] == 0
    assert cli.ok("fsck", f"{home}/source/large")[0].startswith("1 file, 6 blocks")
    assert "superuser" in cli.fails("--user", "eve", "fsck")[0]


def test_bench_leaves_nothing(cli: Command, home: str) -> None:
    rows = cli.ok("bench", "--size", "8MiB", "--files", "50", "--directory", home)
    assert len(rows) == 8 and "iB/s" in rows[1]
    assert cli.ok("ls", "-A", home) == []


def test_completion_of_paths(cluster: Cluster, cli: Command, home: str) -> None:
    cli.ok("mkdir", f"{home}/directory")
    cli.ok("touch", f"{home}/dir-file")
    environment = {
        **os.environ,
        "MEMFS_URL": cluster.url,
        "_MEMFS_COMPLETE": "bash_complete",
        "COMP_WORDS": f"memfs ls {home}/dir",
        "COMP_CWORD": "2",
    }
    done = subprocess.run(
        COMMAND, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )
    assert done.stdout.splitlines() == [f"plain,{home}/dir-file", f"plain,{home}/directory/"]
