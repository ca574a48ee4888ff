"""Three nodes on this machine hold a tree of small files and one large file, two copies of each.

Run it with ``make demo``. It starts a cluster with ``memfs dev``, stores this Python's standard
library and a generated file of 1 GiB, reads everything back, compares SHA-256 hashes, and shows
where the blocks lie. Everything it does with memfs is the public API and the ``memfs`` command.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import memfs
from memfs.testing.ports import free_port

NODES = 3
MIB = 1024 * 1024
BLOCK = 4 * MIB
LARGE_BLOCKS = 256  # 1 GiB
BATCH = 500  # small files read in one call

MEMFS = [sys.executable, "-P", "-m", "memfs.cli"]  # the same as the command `memfs`


def main() -> None:
    """Store, read back, compare, show."""
    print("A cluster on this machine")
    with cluster() as url, memfs.connect(url, replication=2) as fs:
        print("\nEvery block on two nodes; times include reading local files and hashing")
        library = hashes_of(standard_library())
        store_library(fs, library)
        large = store_large(fs)
        check_library(fs, library)
        check_large(fs, large)
        show_placement(fs, library)
        print(flush=True)
        subprocess.run([*MEMFS, "cluster", "status", "--url", url], check=True)
    print("\nAll nodes stopped. Every file came back as it went in.")


# --- the cluster ---------------------------------------------------------------------------------


@contextmanager
def cluster() -> Iterator[str]:
    """Run ``memfs dev`` while the body runs; yield the cluster's URL."""
    port = free_port(NODES)
    command = [*MEMFS, "dev", "--nodes", str(NODES), "--port", str(port), "--memory", "2GiB"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = process.stdout.readline()  # it says so when all nodes are up
            if not ready:
                sys.exit("the cluster did not start")
            print(f"  {ready.rstrip()}")
            yield f"memfs://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGINT)
    if process.returncode != 0:
        sys.exit(f"the cluster ended with exit code {process.returncode}")


# --- (a) thousands of small files ----------------------------------------------------------------


def standard_library() -> Path:
    """Return the directory of this Python's standard library."""
    return Path(sysconfig.get_path("stdlib"))


def hashes_of(top: Path) -> dict[str, str]:
    """Return the SHA-256 of each file below ``top``, by relative path; not what pip installed."""
    hashes = {}
    for directory, names, files in os.walk(top):
        if "site-packages" in names:
            names.remove("site-packages")
        for name in files:
            path = Path(directory, name)
            hashes[str(path.relative_to(top))] = sha256(path.read_bytes())
    return hashes


def sha256(content: bytes) -> str:
    """Return the hash as hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def store_library(fs: memfs.FileSystem, library: dict[str, str]) -> None:
    """Copy the tree into the cluster."""
    started = time.perf_counter()
    fs.mkdir("/python")
    for entry in sorted(standard_library().iterdir()):
        if entry.name != "site-packages":
            fs.put(entry, f"/python/{entry.name}")
    report(
        f"stored {standard_library()} in /python", started, fs.du("/python").length, len(library)
    )


def check_library(fs: memfs.FileSystem, library: dict[str, str]) -> None:
    """Read all the small files, in batches, and compare them."""
    started, names, total = time.perf_counter(), list(library), 0
    for first in range(0, len(names), BATCH):
        batch = names[first : first + BATCH]
        contents = fs.read_many([f"/python/{name}" for name in batch])
        for name, content in zip(batch, contents, strict=True):
            if sha256(content) != library[name]:
                sys.exit(f"/python/{name} differs from what was stored")
            total += len(content)
    report("read /python back, every hash the same", started, total, len(names))


# --- (b) one large file --------------------------------------------------------------------------


def store_large(fs: memfs.FileSystem) -> str:
    """Write 1 GiB in blocks, no two of them alike; return the hash of it all."""
    started, digest = time.perf_counter(), hashlib.sha256()
    with fs.open("/large", "wb") as file:
        for block in generated():
            digest.update(block)
            file.write(block)
    report("stored /large", started, fs.stat("/large").st_size)
    return digest.hexdigest()


def generated() -> Iterator[memoryview]:
    """Yield noise in blocks of 4 MiB, the same in every run: a pool, each use of it numbered."""
    pool = memoryview(bytearray(random.Random("memfs").randbytes(64 * MIB)))
    for number in range(LARGE_BLOCKS):
        start = number * BLOCK % len(pool)
        block = pool[start : start + BLOCK]
        block[:8] = number.to_bytes(8)
        yield block


def check_large(fs: memfs.FileSystem, expected: str) -> None:
    """Read the file into one reused buffer and compare its hash."""
    started, digest, total = time.perf_counter(), hashlib.sha256(), 0
    buffer = memoryview(bytearray(BLOCK))
    with fs.open("/large", "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            total += count
    if digest.hexdigest() != expected:
        sys.exit("/large differs from what was stored")
    report("read /large back, the same hash", started, total)


# --- what is where -------------------------------------------------------------------------------


def show_placement(fs: memfs.FileSystem, library: dict[str, str]) -> None:
    """Count the copies of blocks on each node."""
    large, small = Counter[str](), Counter[str]()
    for block in fs.block_locations("/large"):
        large.update(block.nodes)
    for name in library:
        for block in fs.block_locations(f"/python/{name}"):
            small.update(block.nodes)
    print("\nCopies of blocks on each node")
    print(f"  {'node':<12}{'/large':>10}{'/python':>10}")
    for node in sorted(large | small):
        print(f"  {node:<12}{large[node]:>10,}{small[node]:>10,}")


def report(what: str, started: float, size: int, files: int = 1) -> None:
    """Print what was done and how fast it went, hashing and local files included."""
    seconds = time.perf_counter() - started
    rates = f"{size / seconds / 1e6:,.0f} MB/s"
    if files > 1:
        rates = f"{files:,} files, {files / seconds:,.0f} files/s, {rates}"
    print(f"  {what}\n    {size / 1e6:,.0f} MB in {seconds:.1f} s: {rates}")


if __name__ == "__main__":
    main()
