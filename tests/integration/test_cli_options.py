"""Options that are typed in the first hour, each beside the same line of coreutils."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import time
from pathlib import Path

import pytest
from cli_cluster import COMMAND, Cluster, Command, clean_environment, execute

import memfs

LINES = [
    *("head -n -3 lines", "head -n -0 lines", "head -n -200 lines", "head -c -7 lines"),
    *("head -c -0 lines", "head -c -999 lines", "head -c 5 lines", "head -n 3 -v lines"),
    *(
        "head -q -n1 lines ends",
        "head -n1 lines ends",
        "head -n -1 open ends empty",
        "head -n -2 open",
    ),
    *(
        "cat -n lines",
        "cat -b blanks ends",
        "cat -s blanks",
        "cat -nE blanks open ends",
        "cat -sn blanks",
    ),
    *("cat -E open", "cat -n open ends", "cat lines ends"),
    *(
        "truncate -s 5 lines",
        "truncate -s +5 lines",
        "truncate -s -5 lines",
        "truncate -s <9 lines",
    ),
    *("truncate -s >999 lines", "truncate -s /100 lines", "truncate -s %100 lines"),
    *(
        "truncate -s %0 lines",
        "truncate -r ends lines",
        "truncate -r ends -s +3 lines",
        "truncate lines",
    ),
    *("truncate -r ends -s 3 lines", "truncate -r nothing lines"),
    *(
        "chmod -v 600 lines ends",
        "chmod -c 644 lines ends",
        "chmod -c 600 lines",
        "chmod -f 600 nothing",
    ),
    *(
        "chmod -v u+s lines",
        "touch -h ll",
        "touch -h nothing",
        "touch -ch nothing",
        "chown -f root nothing",
    ),
    *("tail -n +3 lines", "tail -n +0 lines", "tail -n +999 lines", "tail -c +7 lines"),
    *("tail -c +0 lines", "tail -v -n 2 lines", "tail -q -n1 lines ends", "tail -n1 open"),
    *("ls", "ls -A", "ls -a", "ls -r", "ls -ar", "ls -p", "ls -F", "ls -S files", "ls -Sr files"),
    *(
        "ls -t files",
        "ls -tr files",
        "ls -X",
        "ls --group-directories-first",
        "ls -aR d",
        "ls -AR d",
    ),
    *("ls -N", "ls -d d", "ls -L", "ls -pL", "ls -1 d", "ls -rA --group-directories-first"),
    *("rm -d e", "rm -d d", "rm -d lines", "rm -rd d", "rm -fd nothing", "rm -f", "rm"),
    *("ln -s lines made", "ln -s -T lines d", "ln -s lines d", "ln -sn lines ld", "ln -s lines ld"),
    *(
        "ln -sfn lines ld",
        "ln -sfT lines ld",
        "ln -sf lines ld",
        "ln lines made",
        "ln -T lines made",
    ),
    *("ln -f lines ends", "ln -f lines lines", "ln -v lines made", "ln -sv lines made"),
    *("ln -s lines ends d", "ln -s lines ends made", "ln -t d lines ends", "ln -s -t d lines"),
    *("mv -T -t d lines", "cp -T -t d lines", "ln -T -t d lines", "cp -t d lines ends", "cp -t d"),
    *("cp -t nothing lines", "cp -t lines ends", "cp -vf lines ends -t d", "cp -rt d files"),
    *("chmod --reference old lines ends", "chmod --reference=nothing lines", "chmod 600"),
    *("chmod -R --reference old files", "chmod --reference old", "chown --reference=old lines"),
    *("chown --reference nothing lines", "chown --reference old", "chown root"),
    *("ln -t nothing lines", "mv -t d lines ends", "mv -t nothing lines", "mv -T lines d"),
    *("test -e lines", "test -e nothing", "test -f d", "test -d d", "test -d ld", "test -L ld"),
    *("test -h lines", "test -s empty", "test -s lines", "test -r lines", "test -x lines"),
    *("test -x d", "test -k d", "test -u lines", "test -e broken", "test -L broken"),
    *("test lines -nt old", "test old -nt lines", "test old -ot lines", "test nothing -ot lines"),
    *("test lines -ef ll", "test lines -ef ends", "test lines -nt nothing", "test -f lines/"),
]
LINES += """
ls -v versions
ls ll ld broken
ls lines ends old
ls -t lines old
ls -r ends lines files d
ls -1U lines ends
ls -L ll broken
ls -L ld
ls -H ll ld
ls -H broken
ls -F ld ll
ls -p ld
ls -dF ld
ls -dFL ld
ls -gG --time-style=+ ld ll
ls -gGL --time-style=+ ll
ls -gGH --time-style=+ ll
cat -A odd
cat -v odd
cat -e odd
cat -t odd
cat -T odd
cat -nE odd
cat -u odd lines
cat -bsA odd
cat -vET odd
head -z -n 1 odd
tail -zn 1 odd
head -z -n -1 odd
tail -z -n +2 odd
ls -vr versions
ls -va versions
ls -Q
ls -QR d
ls -Qp
ls -s blocks
ls -1s blocks
ls -sF blocks
ls -Qs blocks
ls -sh blocks
ls --color=never
ls --color=never -F d
ls -X versions
ls -vd versions d
readlink ll
readlink ll ld broken
readlink lines
readlink nothing ll
readlink -n ll
readlink -n ll ld
readlink -z ll ld
readlink -v lines
readlink -q lines
readlink -f ll
readlink -f broken
readlink -f nothing
readlink -f nothing/x
readlink -f ld/e
readlink -f lines/x
readlink -f d/
readlink -f nothing/
readlink -f lines/
readlink -e broken
readlink -e ll
readlink -e nothing ll
readlink -m nothing/x/y
readlink -m broken/x
readlink -m lines/x
readlink -ve broken
readlink -fv nothing/x
readlink ld/
readlink -m ld/e/nothing
readlink -f loop
realpath ll
realpath ll broken nothing
realpath nothing/x
realpath -q nothing/x ll
realpath -e broken
realpath -e ll ld
realpath -m nothing/x
realpath -z ll ld
realpath -s ll
realpath -s nothing/x
realpath -s ld/e
realpath lines/x
realpath d
realpath --relative-to d ll
realpath --relative-to=ld/e ll d
realpath --relative-to d d
realpath --relative-to nothing/x ll
realpath -s --relative-to d ld/e
realpath loop
mv -u old lines
mv -u lines old
mv -u lines made
mv -u old lines d
mv -nf old lines
mv -fn old lines
mv -nu lines old
mv -uT files d
mv -u old files
mv -vu lines old
chgrp root lines
chgrp -R root files
chgrp root nothing
chgrp -f root nothing
chgrp --reference old lines
chgrp --reference=nothing lines
chgrp -h root ll
chgrp root
chgrp -h root broken
chgrp root broken
chgrp -R root files nothing
cp -l lines made
cp -l lines ends
cp -lf lines ends
cp -l d made
cp -lr d made
cp -l ll made
cp -lP ll made
cp -la d made
cp -lr files d
cp -lv lines made
cp -ln lines ends
cp -lu lines old
cp -l lines lines
cp -l nothing made
cp --parents d/e/f e
cp --parents lines made
cp -r --parents d/e files
cp --parents -p d/e/f files lines e
cp --parents d/nothing e
""".strip().splitlines()
VERSIONS = [
    *("a1", "a10", "a2", "a02", "a", "a.txt", "a1.txt", "a10.txt", "a2.tar.gz"),
    *("a.b.c", "b-1.2", "b-1.10", "b-1.2~rc", "b-1.2a", ".h1", ".h10", ".h2", "1"),
    *("01", "10", "_", "Z", "z~", "z", "z0", "z0~", "a.1"),
    *("a..b", "a1.b2.c3", "100000000000000000000000", "99999999999999999999999"),
]
FORMATS = [
    *("%a", "%04a", "%#a", "%10s|", "%-10s|", "%010s", "%f", "%#f", "%u %g", "%h", "%F", "%5.3n|"),
    *("%N", "%%", "%y", "%X %Y", "%A", "%20U|", "%-20G|", "%t:%T", "%q"),
]
PRINTED = [r"%n\n", r"%s\t%a\n", r"\x41\101\\%n", r"a%nb", r"\q%n\n", "no end"]


def tree(top: Path) -> None:
    (top / "d" / "e").mkdir(parents=True)
    (top / "e").mkdir()
    (top / "files").mkdir()
    (top / ".hidden").write_text("")
    (top / "d" / ".dot").write_text("")
    (top / "d" / "e" / "f").write_text("")
    (top / "lines").write_text("".join(f"line {number}\n" for number in range(40)))
    (top / "ends").write_text("one\ntwo\n")
    (top / "open").write_text("one\ntwo\nno end")
    (top / "empty").write_text("")
    (top / "blanks").write_text("\n\n\na\n\n\nb\n\n")
    odd = bytes(range(256)) + b"a\r\n\r\r\nb\rc\r\n" + "ü\t€".encode() + b"\n\n\n\0tail\r"
    (top / "odd").write_bytes(odd)
    (top / "lines").chmod(0o644)
    (top / "ends").chmod(0o644)
    (top / "a.tar").write_text("")
    (top / "b.c").write_text("")
    (top / "it's").write_text("")
    (top / "two words").write_text("")
    (top / "old").write_text("")
    for number, name in enumerate("cab"):
        (top / "files" / name).write_bytes(bytes(100 * number + 1))
        os.utime(top / "files" / name, (number, 1_000_000_000 - number))
    os.utime(top / "old", (1, 1))
    (top / "ld").symlink_to("d")
    (top / "ll").symlink_to("lines")
    (top / "broken").symlink_to("nothing")
    (top / "loop").symlink_to("loop")
    (top / "versions").mkdir()
    for name in VERSIONS:
        (top / "versions" / name).write_bytes(b"")
    (top / "blocks").mkdir()
    for name, pages in (("none", 0), ("one", 1), ("many", 300)):
        (top / "blocks" / name).write_bytes(bytes(4096 * pages))


@pytest.fixture
def top(cluster: Cluster, tmp_path: Path) -> Path:
    top = tmp_path / "t"
    tree(top)
    later = time.time_ns() + 2 * 10**9  # relatime: reading leaves that as it is
    for path in (top, *top.rglob("*")):
        os.utime(path, ns=(later, path.lstat().st_mtime_ns), follow_symlinks=False)
    with memfs.connect(cluster.url) as fs:
        fs.makedirs(str(tmp_path), exist_ok=True)
        fs.put(top, str(top), preserve=True)
    return top


def placed(top: Path, words: list[str], command: str) -> list[str]:
    """Names as paths below ``top``; options and numbers as they are, and what a link says."""
    kept = (
        words[:-1] if command == "ln" and "s" in words[0].lstrip("-") and "-t" not in words else []
    )
    names = {each.split("/")[0] for each in os.listdir(top)} | {"made", "nothing"}
    return [
        each if each in kept or each.split("/")[0] not in names else f"{top}/{each}"
        for each in words
    ]


@pytest.mark.parametrize("line", LINES)
def test_as_coreutils(cli: Command, top: Path, line: str) -> None:
    command, *words = line.split()
    words = placed(top, words, command)
    if command == "ls" and not any(each.startswith("/") for each in words):
        words.append(str(top))
    program = "/usr/bin/test" if command == "test" else command
    wanted = subprocess.run(
        [program, *words], capture_output=True, env={**os.environ, "LC_ALL": "C"}
    )
    found = cli(command, *words)
    theirs = wanted.stdout.decode("utf-8", "replace")  # as what is captured is read
    theirs = without_totals(theirs) if command == "ls" else theirs
    assert (found.status > 0, found.out) == (wanted.returncode > 0, theirs), found.err
    assert bool(found.err) == bool(wanted.stderr), found.err
    if command in ("truncate", "chmod"):
        shown = [f"{top}/lines", f"{top}/ends"]
        theirs = subprocess.run(["stat", "-c", "%s %a", *shown], capture_output=True, text=True)
        assert cli("stat", "-c", "%s %a", *shown).out == theirs.stdout
    names = {str(top), *(str(each) for each in top.rglob("*"))}
    assert set(cli.ok("find", str(top))) == names


@pytest.mark.parametrize("flags", [["--parents"], ["--parents", "-p"], ["-r", "--parents"]])
def test_parents_of_what_is_fetched(
    cli: Command, top: Path, tmp_path: Path, flags: list[str]
) -> None:
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
    (top / "d").chmod(0o710)
    cli.ok("chmod", "710", f"{top}/d")
    names = ["d/e/f", "lines", *(["files"] if "-r" in flags else [])]
    subprocess.run(["cp", *flags, *names, str(tmp_path / "theirs")], cwd=top, check=True)
    cli.ok("get", *flags, *(f"{top}/{name}" for name in names), str(tmp_path / "ours"))
    ours = modes(tmp_path / "ours" / top.relative_to("/"))
    assert ours == modes(tmp_path / "theirs")


def modes(top: Path) -> dict[str, str]:
    """Of all below a directory."""
    return {str(path.relative_to(top)): oct(path.stat().st_mode) for path in top.rglob("*")}


def without_totals(listing: str) -> str:
    """What ls says of the disk beneath is not there."""
    return "".join(line for line in listing.splitlines(True) if not line.startswith("total "))


QUESTIONS = """
cp -i lines ends
cp -i lines made
cp -i lines ends d
cp -ri files d
cp -ni lines ends
cp -in lines ends
cp -iu lines old
cp -iu old lines
mv -i lines ends
mv -i lines made
mv -ni lines ends
mv -in lines ends
mv -if lines ends
mv -fi lines ends
mv -iu old lines
mv -iu lines old
mv -iv lines ends
"""


@pytest.mark.parametrize("line", QUESTIONS.strip().splitlines())
def test_questions(
    cli: Command, cluster: Cluster, top: Path, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    command, *words = line.split()
    words = placed(top, words, command)
    environment = {**os.environ, "LC_ALL": "C"}
    for answer in ("n", "", "yes"):
        given = f"{answer}\n" * 3
        wanted = subprocess.run(
            [command, *words], capture_output=True, text=True, env=environment, input=given
        )
        monkeypatch.setattr("sys.stdin", io.StringIO(given))
        found = cli(command, *words)
        assert (found.status, found.out) == (wanted.returncode, wanted.stdout), found.err
        assert questions(found.err) == questions(wanted.stderr)
        with memfs.connect(cluster.url) as fs:
            for name in ("lines", "ends", "old", "made", "d/lines", "d/ends", "d/files/a"):
                path = top / name
                ours = fs.read_bytes(str(path)) if fs.exists(str(path)) else None
                assert ours == (path.read_bytes() if path.exists() else None), name


@pytest.mark.parametrize("line", ["mv -i lines ends", "cp -i lines ends", "rm -i lines"])
@pytest.mark.parametrize("given", ["<&-", "</dev/null", "<GARBAGE"])
def test_no_answer_means_no(cluster: Cluster, top: Path, line: str, given: str) -> None:
    """Also from an input that is closed, or is no text."""
    (top / "garbage").write_bytes(b"\xff\xfe\n")
    given = given.replace("GARBAGE", f"{top}/garbage")
    command, *words = line.split()
    rest = " ".join(placed(top, words, command))
    environment = clean_environment(MEMFS_URL=cluster.url, LC_ALL="C.UTF-8")
    with memfs.connect(cluster.url) as fs:
        before = {name: fs.read_bytes(f"{top}/{name}") for name in ("lines", "ends")}
        script = f"{' '.join(COMMAND)} {command} {rest} {given}"
        done = subprocess.run(["sh", "-c", script], capture_output=True, env=environment, text=True)
        subprocess.run(["sh", "-c", f"{command} {rest} {given}"], capture_output=True)
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr.startswith("memfs: ") and done.stderr.count("memfs: ") == 1, done.stderr
        for name, content in before.items():
            assert fs.read_bytes(f"{top}/{name}") == content == (top / name).read_bytes()


TOO_LARGE = [
    "truncate -s 99999999999999999999 lines",
    "truncate -s +9223372036854775807 lines",
    "find lines -printf %99999999999d",
    "stat --printf %99999999999n lines",
    "stat -c %.99999999999n lines",
    f"df -B {'9' * 5000}",
    f"stat -c %{'9' * 5000}n lines",
]


@pytest.mark.parametrize("line", TOO_LARGE, ids=lambda line: line[:30])
def test_numbers_that_are_too_large_are_told(cli: Command, top: Path, line: str) -> None:
    """One line, not a traceback, and no attempt to fill the memory."""
    command, *words = line.split()
    found = cli(command, *placed(top, words, command))
    assert found.status in (1, 2) and not found.out
    assert found.err.startswith("memfs: ") and len(found.err) < 6000, found.err


def questions(said: str) -> list[str]:
    """What is asked, whoever asks, and whether a file is writable for who asks."""
    return sorted(re.findall(r"overwrite '([^']*)'\?", said))


TIME_STYLES = [
    "full-iso",
    "long-iso",
    "iso",
    "locale",
    "+%F",
    "+%s.%N %% %j",
    "+%Y\n%m-%d",
    "posix-iso",
]


@pytest.mark.parametrize("option", ["-l", "-lrt", "-lQ", "-o"])
def test_time_styles(cli: Command, top: Path, option: str) -> None:
    environment = {**os.environ, "LC_ALL": "C"}
    for style in TIME_STYLES:
        for name in ("files", "blocks"):
            words = [option, f"--time-style={style}", str(top / name)]
            wanted = subprocess.run(["ls", *words], capture_output=True, text=True, env=environment)
            assert cli("ls", *words).out == without_totals(wanted.stdout), style
    assert cli("ls", "-l", "--time-style=nonsense").status == 2


def test_colours_without_a_word_about_when(cli: Command, top: Path) -> None:
    assert cli("ls", "--color", f"{top}/d").out == cli("ls", "--color=always", f"{top}/d").out
    assert "\x1b[" in cli("ls", "-F", "--color", f"{top}/d").out
    assert cli("ls", "--", "--color").status == 1


SIZES = [0, 1, 1023, 1024, 1025, 999_999, 1 << 20, (1 << 20) + 1, 5 << 30]
UNITS = [
    *("1", "512", "1K", "K", "k", "KB", "kB", "1kB", "KiB"),
    *("M", "1M", "2M", "MB", "1000", "1024", "1000000", "G", "10G"),
    *("1MiB", "3KB"),
]


@pytest.mark.parametrize("unit", UNITS)
def test_units_of_sizes(cli: Command, cluster: Cluster, top: Path, unit: str) -> None:
    """du and df with the same unit: each size as du(1) has it, the title as df(1) has it."""
    local = top / "sizes"
    local.mkdir()
    for size in SIZES:
        with (local / str(size)).open("wb") as file:
            file.truncate(size)
    with memfs.connect(cluster.url) as fs:
        fs.mkdir(str(local))
        for size in SIZES:
            fs.write_bytes(f"{local}/{size}", b"")
            fs.truncate(f"{local}/{size}", size)
    paths = [f"{local}/{size}" for size in SIZES]
    theirs = subprocess.run(
        ["du", "-B", unit, "--apparent-size", *paths], capture_output=True, text=True, check=True
    )
    assert cli("du", "-B", unit, *paths).out == theirs.stdout
    title = subprocess.run(["df", "-B", unit, "/"], capture_output=True, text=True, check=True)
    header, row = cli.ok("df", "-B", unit)
    assert header.split()[1] == title.stdout.split()[1]
    assert row.split()[1].endswith(title.stdout.splitlines()[1].split()[1].lstrip("0123456789"))


def test_what_is_no_unit(cli: Command) -> None:
    for unit in ("", "0", "x", "-1", "1X", "K1", "0K"):
        assert subprocess.run(["df", "-B", unit], capture_output=True).returncode == 1, unit
        assert cli("df", "-B", unit).status == 2, unit
    assert cli("df", "-k").out.split()[1] == "1K-blocks"


@pytest.mark.parametrize("form", FORMATS)
def test_formats_of_stat(cli: Command, top: Path, form: str) -> None:
    for name in ("lines", "d", "ll", "it's"):
        if name == "d" and form in ("%10s|", "%-10s|", "%010s"):
            continue  # a directory has no size of its own here
        if name == "ll" and form in ("%y", "%X %Y"):
            continue
        path = str(top / name)
        wanted = subprocess.run(["stat", "-c", form, path], capture_output=True, text=True)
        assert cli("stat", "-c", form, path).out == wanted.stdout, name


@pytest.mark.parametrize("form", PRINTED)
def test_printf_of_stat(cli: Command, top: Path, form: str) -> None:
    paths = [str(top / "lines"), str(top / "ends")]
    wanted = subprocess.run(["stat", "--printf", form, *paths], capture_output=True, text=True)
    assert cli("stat", "--printf", form, *paths).out == wanted.stdout


@pytest.mark.parametrize(
    "form", [r"\200\377\0\400\777\xff|", r"\303\274", r"\045n|%%n|\\n|\e\"", "a\\"]
)
def test_printf_writes_bytes(cluster: Cluster, top: Path, form: str) -> None:
    path = str(top / "lines")
    for command in (["stat", "--printf", form, path], ["find", path, "-printf", form]):
        if command[0] == "stat" or not {"x", "e"} & set(form):  # find knows neither
            wanted = subprocess.run(command, capture_output=True)
            assert execute(cluster.url, command).stdout == wanted.stdout
    odd = os.fsdecode(b"\xff|%n")
    wanted = subprocess.run(["stat", "-c", odd, path], capture_output=True)
    assert execute(cluster.url, ["stat", "-c", odd, path]).stdout == wanted.stdout


NAMES = [
    "it's",
    "plain",
    "two words",
    "a\nb",
    "q\"d'",
    "#x",
    "$x",
    "é",
    "back\\slash",
    "-dash",
    "~",
]


def test_names_in_quotes(cli: Command, cluster: Cluster, tmp_path: Path) -> None:
    """What an error says of a name is as coreutils quote it."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    for name in NAMES:
        path = f"{tmp_path}/nothing/{name}"
        for command in (["rmdir"], ["rm"], ["stat", "-c", "%n"]):
            wanted = subprocess.run(
                [*command, path], capture_output=True, text=True, env=environment
            ).stderr
            said = cli(*command, path).err
            between = said.removeprefix("memfs: ")
            expected = wanted.partition(": ")[2]
            assert between == expected.replace("cannot statx", "cannot stat"), name


@pytest.mark.parametrize("options", [[], ["-l"], ["-1"], ["-N"], ["-C"], ["-a"], ["-p"]])
def test_names_on_a_terminal(cluster: Cluster, tmp_path: Path, options: list[str]) -> None:
    for name in NAMES:
        (tmp_path / "t" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "t" / name).write_bytes(b"")
    with memfs.connect(cluster.url) as fs:
        fs.makedirs(str(tmp_path), exist_ok=True)
        fs.put(tmp_path / "t", f"{tmp_path}/t", preserve=True)
    environment = clean_environment(
        MEMFS_CLIENT_ENDPOINTS=cluster.url, LC_ALL="C.UTF-8", COLUMNS="80"
    )
    ours = on_a_terminal([*COMMAND, "ls", *options, f"{tmp_path}/t"], environment)
    theirs = on_a_terminal(["ls", *options, f"{tmp_path}/t"], environment)
    if options == ["-l"]:
        ours, theirs = (shown_names(each) for each in (ours, theirs))
    assert sorted(ours.split()) == sorted(theirs.split())
    if options == ["-1"]:
        assert sorted(ours.splitlines()) == sorted(theirs.splitlines())


def shown_names(listing: str) -> str:
    return "\n".join(line.split(None, 8)[-1] for line in listing.splitlines() if ":" in line)


def on_a_terminal(command: list[str], environment: dict[str, str]) -> str:
    ours, theirs = pty.openpty()
    done = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    pieces = []
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:
            break
        if not piece:
            break
        pieces.append(piece)
    done.wait(60)
    os.close(ours)
    return b"".join(pieces).decode().replace("\r\n", "\n")
