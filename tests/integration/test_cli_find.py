"""find, compared with find(1): the same tree lies under the same path on both sides."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from cli_cluster import Cluster, Command

import memfs

DAY_NS = 86_400 * 10**9
EXPRESSIONS = r"""
-type f
-type d,l
-name *.txt -o -name *.LOG
-iname *.log
-not -name *.txt
! -type d -a ! -type l -a -size -2
( -name a* -o -name b* ) -type f
-type f -size +1
-type f -size 1
-type f -size 1k
-type f -size +1k
-type f -size -2k
-type f -size 700c
-empty
-perm 640
-perm -u+x
-perm /022
-mtime +3
-mtime -3
-mmin -60
-mmin 5
-mmin +5
-mmin -5
-mmin 4.5
-mtime 2
-mtime +1
-mtime 1.5
-mtime +1.5
-mtime -1.5
-mtime .5
-newermt '2 days ago'
-newermt '2020-01-01 12:00'
-newermt @0.5 -type f
-newercm {top}/old.txt -type f
-anewer {top}/old.txt -type f
-cnewer {top}/old.txt -type f
-name [^a]*.txt
-name a[[:digit:]].txt
-name \*
-name 'a\[1\]'
-wholename */sub/*
-newer {top}/old.txt
-newer {top}/link
-newer {top}/missing
-samefile {top}/a1.txt
-samefile {top}/link
-samefile {top}/missing
! -samefile {top}/a1.txt -type f
-maxdepth 1
-mindepth 2
-depth
-name sub -prune -o -type f -print
-regex .*/a[0-9]*.txt
-iregex .*LOG
-path */sub/*
-links 2
-type f -exec echo one {} ;
-type f -exec echo {} +
-name old.txt -exec false ; -o -name a1.txt -print
-type d -exec true ; -print
-name a1.txt -quit
"""


PRINTED = [
    *(r"%p|%f|%h|%P|%H|%d\n", r"%m|%M|%#m|%04m|%5m|%-5m|\n", r"%u %g %U %G %n\n", r"%l|%y|%Y\n"),
    *(r"%5d|%-3d|%+d|% d|%03d|%.2d\n", r"%-10f|%10f|%.2f|%10.1f|\n", r"a\tb\x\101\\%%\n", r"%p\0"),
    *(r"%f\c%p", r"%q%p", "%f", r"no directive\n", "\\"),
]
OF_FILES = [
    *(r"%s|%05s|%-5s|% s|%#s\n", r"%t\n", r"%T@ %T+ %TT %TS %TH:%TM %Tr %TX %Tc %TD %Tx %TZ\n"),
    *(
        r"%Tk %Tl %Tj %TY %TF %TR %Ta %TA %Tb %TB %Th %Td %Tm %Ty %TU %TW %Tw %TI %Tp %Ts\n",
        r"%30t|\n",
    ),
]
"""Directories have no size, links no times of their own."""


@pytest.fixture
def top(cluster: Cluster, tmp_path: Path) -> Path:
    top = tmp_path / "top"
    (top / "sub" / "deeper").mkdir(parents=True)
    for name, size in (("a1.txt", 700), ("b.LOG", 1024), ("sub/a22.txt", 3000), ("sub/none", 0)):
        (top / name).write_bytes(bytes(size))
        (top / name).chmod(0o644)
    (top / "a1.txt").chmod(0o640)
    (top / "sub" / "none").chmod(0o775)
    (top / "old.txt").write_bytes(b"old")
    (top / "link").symlink_to("sub")
    os.link(top / "a1.txt", top / "sub" / "same")
    now = (top / "a1.txt").stat().st_mtime_ns
    os.utime(top / "old.txt", ns=(now, now - 5 * DAY_NS))
    for seconds in (210, 270, 330, 390, 30_000, 140_000, 200_000, 240_000, 300_000):
        aged = top / "sub" / f"{seconds}s"
        aged.touch()
        os.utime(aged, ns=(now - seconds * 10**9,) * 2)
    for name in ("*", "a[1]"):
        (top / name).touch()
    with memfs.connect(cluster.url) as fs:
        fs.makedirs(str(tmp_path))
        fs.put(top, str(top), preserve=True)
        if fs.stat(f"{top}/a1.txt").st_nlink == 1:
            fs.remove(f"{top}/sub/same")
            fs.link(f"{top}/a1.txt", f"{top}/sub/same")
    return top


def test_as_find(cli: Command, top: Path) -> None:
    wrong = []
    for line in EXPRESSIONS.strip().splitlines():
        words = [word.format(top=top) if "{top}" in word else word for word in shlex.split(line)]
        wanted = subprocess.run(["find", str(top), *words], capture_output=True, text=True)
        found = cli("find", str(top), *words)
        ours, theirs = sorted(found.out.split()), sorted(wanted.stdout.split())
        if line.endswith("-quit"):
            theirs = ours if not wanted.stdout and not found.out else theirs
        if (found.status, ours) != (wanted.returncode, theirs):
            wrong.append((line, found, sorted(theirs)))
    assert not wrong, "\n".join(map(str, wrong))


def test_formats(cli: Command, top: Path) -> None:
    (top / "loop").symlink_to("loop")
    (top / "broken").symlink_to("nothing")
    for name in ("loop", "broken"):
        cli.ok("ln", "-s", str((top / name).readlink()), str(top / name))
    environment = {**os.environ, "LC_ALL": "C"}
    wrong = []
    for form, test in [(form, []) for form in PRINTED] + [
        (form, ["-type", "f"]) for form in OF_FILES
    ]:
        for start in (str(top), f"{top}/sub"):
            words = [start, "-depth", "-mindepth", "0", *test, "-printf", form]
            wanted = subprocess.run(
                ["find", *words], capture_output=True, text=True, env=environment
            )
            found = cli("find", *words)
            ours, theirs = (sorted(re.split("[\n\0]", text)) for text in (found.out, wanted.stdout))
            if not form.endswith(("\\n", "\\0")):  # nothing parts what is printed of each
                ours, theirs = sorted(found.out), sorted(wanted.stdout)
            if (found.status, ours) != (wanted.returncode, theirs):
                wrong.append((form, found.out, wanted.stdout))
            if bool(found.err) != bool(wanted.stderr):
                wrong.append((form, found.err, wanted.stderr))
    assert not wrong, "\n".join(map(str, wrong))


def test_deleting(cli: Command, top: Path) -> None:
    for words in (["-name", "*.txt", "-delete"], ["-type", "f", "-delete"], ["-delete"]):
        subprocess.run(["find", str(top), *words], check=True)
        cli.ok("find", str(top), *words)
        if top.exists():
            wanted = subprocess.run(["find", str(top)], capture_output=True, text=True).stdout
            assert sorted(cli.ok("find", str(top))) == sorted(wanted.split())
    assert cli.fails("find", str(top))


def test_output(cli: Command, top: Path) -> None:
    (line,) = cli.ok("find", str(top), "-name", "link", "-ls")
    assert line.split()[-3:] == [f"{top}/link", "->", "sub"] and "lrwxrwxrwx" in line
    (line,) = cli.ok("find", str(top), "-name", "link", "--json")
    assert '"kind":"symlink"' in line
    assert cli("find", str(top), "-name", "sub", "-print0").out == f"{top}/sub\0"
    assert cli("find", str(top), "-nonsense").status == 2
    assert cli("find", "--help").out.startswith("Usage: memfs find")
