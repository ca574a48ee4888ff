"""What commands print for people: each is read here once."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click
import pytest
from cli_cluster import Cluster, Command

import memfs
from memfs.cli import main

_SIZE = r"\s+\d+(\.\d)?[KMG]?"
PRINTED = {
    "ls -l /top": r"-rw-r--r-- 1 \S+ \S+ +7 \w{3} +\d+ \d\d:\d\d file\n"
    r"lrwxrwxrwx 1 .* link -> file\ndrwxr-xr-x 2 .* sub\n",
    "ls -iF /top": r" *\d+ file\n *\d+ link@\n *\d+ sub/\n",
    "tree /top": r"/top\n├── file\n├── link -> file\n└── sub\n\n1 directory, 2 files\n",
    "find /top -name f*": r"/top/file\n",
    "stat /top/file": r"  File: /top/file\n  Size: 7 +Inode: 0x\w+   Links: 1\n"
    r"Access: \(0644/-rw-r--r--\)  Owner: \S+   Group: \S+\n(Modify|Change): \d{4}-.*\n.*\n"
    r"Copies: 2   Block: 4(\.0)? MiB   Group: 16 blocks\n",
    "stat --blocks /top/file": r"(.*\n)+Block  Offset  Length  CRC32C    Nodes\n"
    r" +0 +0 +7  [0-9a-f]{8}  node-\d node-\d\n",
    "test -f /top/file": r"",
    "checksum /top/file": r"[0-9a-f]{8}  /top/file\n",
    "setrep 2 /top/file": r"",
    "du /top": r"0\t/top/sub\n7\t/top\n",
    "df -h": rf"Filesystem +Size +Used +Avail +Use% +Files +Copies\nmemfs://\S+({_SIZE}){{3}}"
    r" +\d+% +\d+ +2\n",
    "cat /top/file": r"content",
    "head -c 3 /top/file": r"con",
    "tail -c 3 /top/file": r"ent",
    "touch /top/new": r"",
    "truncate -s 3 /top/new": r"",
    "cp -v /top/file /top/copy": r"'/top/file' -> '/top/copy'\n",
    "mv -v /top/copy /top/moved": r"renamed '/top/copy' -> '/top/moved'\n",
    "ln -s file /top/again": r"",
    "rm -v /top/again": r"removed '/top/again'\n",
    "mkdir -v /top/made": r"created directory '/top/made'\n",
    "rmdir -v /top/made": r"removed directory '/top/made'\n",
    "chmod 600 /top/new": r"",
    "chown :staff /top/new": r"",
    "chgrp staff /top/new": r"",
    "readlink /top/link": r"file\n",
    "realpath /top/link": r"/top/file\n",
    "ls -sQv --time-style=long-iso -l /top": r"1 -rw-r--r-- 1 \S+ \S+ +7 [-\d]{10} \d\d:\d\d "
    r'"file"\n'
    r'0 lrwxrwxrwx 1 .* "link" -> "file"\n(.*\n)*0 drwxr-xr-x 2 .* "sub"\n',
    "find /top -name f* -printf %f:%s:%m\\n": r"file:7:644\n",
    "df -k": r"Filesystem +1K-blocks +Used +Avail +Use% +Files +Copies\n"
    r"memfs://\S+( +\d+){3} +\d+% +\d+ +2\n",
    "xattr set user.origin here /top/file": r"",
    "xattr list /top/file": r"user.origin\n",
    "xattr get user.origin /top/file": r"here",
    "xattr rm user.origin /top/file": r"",
    "setfacl -m u:ann:rw /top/file": r"",
    "getfacl /top/file": r"# file: /top/file\n# owner: \S+\n# group: \S+\nuser::rw-\nuser:ann:rw-\n"
    r"group::r--\nmask::rw-\nother::r--\n\n",
    "quota set --names 100 /top": r"",
    "quota show /top": r"names  limit  space  limit  path\n +\d+ +100 +\d+ +-  /top\n",
    "quota clear /top": r"",
    "user list": r"",
    "group add staff ann bob": r"",
    "group list": r"ann  staff\nbob  staff\n",
    "group remove staff ann bob": r"",
    "cluster limits set inodes 1M --of ann": r"",
    "cluster limits": r"LIMIT +NODE +USED +FOR ALL +FOR ONE +HEAVIEST\n(\w+ +node-\d .*\n){20,}"
    r"set: inodes 1048576 for ann\n",
    "cluster limits clear inodes --of ann": r"",
    "cluster status": r"(.*\n)*.*healthy.*\n(.*\n)+",
    "cluster nodes": r"NODE +MEMBER +ADDRESS.*\n(node-\d .*\n){3}",
    "cluster wait": r"(.*\n)*",
    "fsck": r"(.*\n)*.*healthy.*\n|(.*\n)*.*0 .*\n",
    "config client": r"\[client\]\n(\w+ = .*\n)+",
    "completion bash": r"(.*\n)*.*_MEMFS_COMPLETE(.*\n)*",
}
ELSEWHERE = {
    *(
        "dev",
        "node",
        "gateway",
        "put",
        "get",
        "sync",
        "bench",
        "recover-lease",
        "cluster hand-over",
    ),
    *("tensorflow-hook install", "tensorflow-hook remove", "tensorflow-hook status"),
    *("fuse mount", "fuse umount", "fuse list"),
    *("mount", "unmount", "load", "free", "pin", "persist", "sync-metadata"),
    *("keygen", "sign", "verify", "certs create-ca", "certs create-node", "certs create-client"),
    *("user add", "user remove", "token get", "token renew", "token cancel"),
    *("cluster force-recover", "cluster decommission", "cluster weight", "cluster rebalance"),
}
"""Read by tests of their own: they serve, take long, or change the cluster."""
NOT_FOR_PEOPLE = re.compile(
    r"<(built-in|bound|function|memfs|class)|object at 0x|\bNone\b|\w+\(.*="
)


@pytest.fixture
def top(cli: Command, cluster: Cluster) -> None:
    with memfs.connect(cluster.url) as fs:
        fs.makedirs("/top/sub", exist_ok=True)
        fs.write_bytes("/top/file", b"content")
        if not fs.lexists("/top/link"):
            fs.symlink("file", "/top/link")
    cli("cluster", "wait")


def test_what_people_read(cli: Command, top: None) -> None:
    wrong = []
    for line, wanted in PRINTED.items():
        found = cli(*line.split())
        if found.status or found.err or NOT_FOR_PEOPLE.search(found.out):
            wrong.append((line, found))
        elif not re.fullmatch(wanted, found.out):
            wrong.append((line, found.out))
    assert not wrong, "\n".join(map(str, wrong))


def test_every_command_is_read() -> None:
    context = click.Context(main.memfs)
    read = [line.split() for line in PRINTED]
    for name in main.memfs.list_commands(context):
        command = main.memfs.get_command(context, name)
        inner = command.list_commands(context) if isinstance(command, click.Group) else [""]
        for each in inner:
            words = [name, each] if each else [name]
            known = any(line[: len(words)] == words for line in read)
            assert known or " ".join(words) in ELSEWHERE, words


def test_those_elsewhere_have_a_test() -> None:
    written = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    for name in ELSEWHERE:
        assert re.search(rf'"{name.split()[-1]}"', written), name


FIELDS = (
    *(
        "ls /top",
        "stat --blocks /top/file",
        "find /top",
        "tree /top",
        "du /top",
        "df",
        "df --nodes",
        "getfacl /top",
    ),
    *(
        "checksum /top/file",
        "mkdir /top/n",
        "rm -r /top/n",
        "cp /top/file /top/g",
        "cluster status",
    ),
    *("cluster nodes", "cluster wait", "fsck", "bench --size 1MiB --files 10"),
    *("sync --dry-run . memfs:/top/here",),
)


def names_of(value: Any) -> set[str]:
    """The fields of an object and of all in it."""
    if isinstance(value, list):
        return {name for each in value for name in names_of(each)}
    if isinstance(value, dict):
        return set(value) | names_of(list(value.values()))
    return set()


def test_every_field_is_documented(
    cli: Command, top: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "reference" / "output.md").read_text()
    known = set(re.findall(r"`([\w-]+)`", page))
    for line in FIELDS:
        words = line.split()
        at = 2 if words[0] == "cluster" else 1
        found = cli(*words[:at], "--json", *words[at:])
        assert found.out, (line, found)
        printed = {name for text in found.out.splitlines() for name in names_of(json.loads(text))}
        assert printed - known == set(), line
