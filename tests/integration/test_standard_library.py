"""The standard library's own users of files, given files of a cluster beside local ones."""

from __future__ import annotations

import bz2
import configparser
import csv
import fileinput
import gzip
import io
import json
import lzma
import pickle
import shutil
import tarfile
import wave
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import memfs
from memfs.testing.processes import Processes

Open = Callable[..., Any]
TEXT = "eins\nzwei\r\ndrei\n" * 1000
DATA = bytes(range(256)) * 4096


@pytest.fixture(scope="module")
def fs() -> Iterator[memfs.FileSystem]:
    with (
        Processes(nodes=2, replication=2, memory="256MiB") as cluster,
        memfs.connect(cluster.url) as fs,
    ):
        yield fs


def compressed(library: Any) -> Callable[[Open], Any]:
    def work(open_file: Open) -> Any:
        with open_file("c", "wb") as raw, library.open(raw, "wb") as file:
            file.write(DATA)
        with open_file("c", "ab") as raw, library.open(raw, "ab") as file:
            file.write(b"appended")
        with open_file("c", "rb") as raw, library.open(raw, "rb") as file:
            file.seek(100_000)
            return file.read() + library.open(raw).read(0)

    return work


def tar(open_file: Open) -> Any:
    for mode in ("w", "w:gz", "w|", "w|xz"):
        with open_file("t", "wb") as raw, tarfile.open(fileobj=raw, mode=mode) as archive:
            for number in range(20):
                info = tarfile.TarInfo(f"m/{number}")
                info.size = number * 1000
                archive.addfile(info, io.BytesIO(DATA))
    with open_file("t", "rb") as raw, tarfile.open(fileobj=raw) as archive:
        return [(each.name, len(archive.extractfile(each).read())) for each in archive]  # type: ignore[union-attr]


def zipped(open_file: Open) -> Any:
    with open_file("z", "wb") as raw, zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", DATA)
    with open_file("z", "r+b") as raw, zipfile.ZipFile(raw, "a") as archive:
        archive.writestr("b", TEXT)
    with open_file("z", "rb") as raw, zipfile.ZipFile(raw) as archive:
        return archive.testzip(), archive.namelist(), archive.read("b")


def copied(open_file: Open) -> Any:
    with open_file("from", "wb") as file:
        file.write(DATA)
    with open_file("from", "rb") as source, open_file("to", "wb") as target:
        shutil.copyfileobj(source, target, 10_000)
    with open_file("to", "rb") as file:
        return file.read() == DATA


def tables(open_file: Open) -> Any:
    with open_file("t.csv", "w", newline="") as file:
        csv.writer(file).writerows([number, f"a,{number}\n"] for number in range(500))
    with open_file("t.csv", newline="") as file:
        return list(csv.reader(file))


def records(open_file: Open) -> Any:
    with open_file("j", "w") as file:
        json.dump({"ü": [1, 2.5, None]}, file)
    with open_file("p", "wb") as file:
        pickle.dump([DATA, TEXT], file)
        pickle.dump("second", file)
    with open_file("j") as file, open_file("p", "rb") as pickled:
        return json.load(file), pickle.load(pickled), pickle.load(pickled)


def settings(open_file: Open) -> Any:
    parser = configparser.ConfigParser()
    parser["a"] = {"key": "value"}
    with open_file("s.ini", "w") as file:
        parser.write(file)
    again = configparser.ConfigParser()
    with open_file("s.ini") as file:
        again.read_file(file)
    return dict(again["a"])


def sound(open_file: Open) -> Any:
    with open_file("w.wav", "wb") as raw, wave.open(raw, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(DATA)
    with open_file("w.wav", "rb") as raw, wave.open(raw) as file:
        return file.getparams(), file.readframes(10)


def lines(open_file: Open) -> Any:
    with open_file("l", "w", newline="") as file:
        file.writelines(TEXT.splitlines(True))
    found: list[Any] = []
    for newline in (None, "", "\n", "\r\n"):
        with open_file("l", newline=newline) as file:
            found += [file.readline(), file.tell(), file.readlines(100), file.newlines]
            found.append(file.read(5))
    with fileinput.input(["l"], openhook=lambda name, mode: open_file(name, mode)) as given:
        found.append(sum(1 for _ in given))
    return found


def layers(open_file: Open) -> Any:
    with open_file("b", "w+b") as file:
        file.write(DATA)
        file.seek(10)
        found = [file.peek(1)[:1], file.read1(5), file.readline(), file.tell()]
        file.truncate(5000)
        found += [file.seek(0, 2), file.seek(-3, 2), file.read(), file.raw.mode, file.seekable()]
        view = bytearray(4)
        file.seek(0)
        found += [file.readinto(view), bytes(view), file.isatty(), file.closed]
    return found


WORK: dict[str, Callable[[Open], Any]] = {
    "gzip": compressed(gzip),
    "bz2": compressed(bz2),
    "lzma": compressed(lzma),
    "tarfile": tar,
    "zipfile": zipped,
    "shutil": copied,
    "csv": tables,
    "json and pickle": records,
    "configparser": settings,
    "wave": sound,
    "lines": lines,
    "layers": layers,
}


@pytest.mark.parametrize("name", WORK)
def test_as_with_local_files(
    name: str, fs: memfs.FileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fs.makedirs("/work", exist_ok=True)

    def in_cluster(file: str, *arguments: Any, **options: Any) -> Any:
        return fs.open(f"/work/{file}", *arguments, **options)

    def here(file: str, *arguments: Any, **options: Any) -> Any:
        if "b" not in str(arguments[:1]):
            options.setdefault("encoding", "utf-8")
        return open(file, *arguments, **options)

    assert WORK[name](in_cluster) == WORK[name](here)
