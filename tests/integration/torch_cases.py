"""Walks through PyTorch on memfs: ``python torch_cases.py LOCAL``, with ``MEMFS_URL`` set.

Runs where torch is, and prints a line a case. torch takes seconds to start, so all cases share one
process, and the ranks of distributed ones and the workers of loaders are the only others.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tarfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
import torch.multiprocessing

import memfs
import memfs.torch
from memfs.integrations.training import samples, tfrecord, tfrecords
from memfs.torch import (
    AsyncCheckpointer,
    FileDataset,
    FileStream,
    ShardStream,
    StreamLoader,
    load,
    save,
)

CASES: list[Callable[[memfs.FileSystem, str, str], object]] = []
PATHS = [f"/files/{number}" for number in range(60)]


def case(function: Callable[[memfs.FileSystem, str, str], object]) -> Any:
    """To be run with a file system, an empty directory of it and a local one."""
    CASES.append(function)
    return function


def flat(batches: Any) -> list[bytes]:
    return [item for batch in batches for item in batch]


def contents(numbers: Any = range(60)) -> list[bytes]:
    return [b"content of %d" % number for number in numbers]


# --- datasets -----------------------------------------------------------------------------------


@case
def files_in_batches(fs: memfs.FileSystem, top: str, local: str) -> None:
    dataset = FileDataset(fs, PATHS)
    for workers, method in ((0, None), (2, "fork"), (1, "spawn")):
        loader = torch.utils.data.DataLoader(
            dataset,
            7,
            shuffle=True,
            num_workers=workers,
            multiprocessing_context=method,
            collate_fn=list,
        )
        assert sorted(flat(loader)) == sorted(contents())
    assert dataset[3] == b"content of 3"
    lengths = FileDataset(fs, PATHS, lambda path, content: (path, len(content)))
    assert lengths[10] == ("/files/10", 13)


@case
def what_is_decoded_is_the_nodes_memory(fs: memfs.FileSystem, top: str, local: str) -> None:
    for views in (
        FileDataset(fs, PATHS, lambda _, content: content).__getitems__(range(60)),
        flat(FileStream(fs, PATHS, 7, decode=lambda _, content: content, seed=None)),
    ):
        assert views == contents() and all(view.readonly for view in views)
        held = [torch.frombuffer(view, dtype=torch.uint8).data_ptr() for view in views]
        maps = Path("/proc/self/maps").read_text().splitlines()
        lent = [line.split()[0] for line in maps if "memfd:memfs" in line]
        ranges = [[int(end, 16) for end in each.split("-")] for each in lent]
        assert all(any(start <= at < end for start, end in ranges) for at in held)


@case
def parts_of_files(fs: memfs.FileSystem, top: str, local: str) -> None:
    big = bytes(range(256)) * 20_000
    fs.write_bytes(f"{top}/big", big)
    parts = [(f"{top}/big", at, at + 1000) for at in range(0, 5_000_000, 50_000)]
    dataset = FileDataset(fs, parts)
    loader = torch.utils.data.DataLoader(dataset, 16, collate_fn=list)
    assert flat(loader) == [big[start:stop] for _, start, stop in parts]
    stream = FileStream(fs, parts, 16, seed=None)
    assert flat(StreamLoader(stream, num_workers=2)) == flat(loader)


@case
def streams_have_the_order_of_epoch_and_rank(fs: memfs.FileSystem, top: str, local: str) -> None:
    ranks = [FileStream(fs, PATHS, 4, seed=5, rank=rank, world_size=2) for rank in (0, 1)]
    alone = [flat(stream) for stream in ranks]
    assert sorted(alone[0] + alone[1]) == sorted(contents())
    for workers, options in (
        (0, {}),
        (2, {}),
        (3, {"persistent_workers": True}),
        (1, {"persistent_workers": True, "multiprocessing_context": "spawn"}),
    ):
        loader = StreamLoader(ranks[0], num_workers=workers, **options)
        ranks[0].set_epoch(0)
        loader.load_state_dict({"epoch": 0, "position": 0})
        epochs = [flat(loader) for _ in range(3)]
        assert epochs[0] == alone[0] and len(loader) == 8
        assert len({tuple(each) for each in epochs}) == 3, "each epoch has an order of its own"
        ranks[0].set_epoch(2)
        assert flat(ranks[0]) == epochs[2]
        for epoch in (2, 0, 0, 1):
            ranks[0].set_epoch(epoch)
            assert loader.state_dict()["epoch"] == ranks[0].epoch == epoch
            assert flat(loader) == epochs[epoch], "as loops do with a DistributedSampler"
        assert flat(loader) == epochs[2]


@case
def a_loader_goes_on_in_the_middle(fs: memfs.FileSystem, top: str, local: str) -> None:
    stream = FileStream(fs, PATHS, 4, decode=lambda path, content: str(content, "utf-8"))
    whole = StreamLoader(stream)
    expected = flat(whole) + flat(whole)
    for workers in (0, 2):
        loader = StreamLoader(stream, num_workers=workers)
        loader.load_state_dict({"epoch": 0, "position": 0})
        seen: list[str] = []
        for number, batch in enumerate(loader):
            seen += batch
            if number == 5:
                state = loader.state_dict()
                break
        assert (state["epoch"], state["position"]) == (0, 6)
        again = StreamLoader(FileStream(fs, PATHS, 4, decode=lambda _, c: str(c, "utf-8")))
        for other in (FileStream(fs, PATHS, 5), FileStream(fs, PATHS, 4, seed=1)):
            with raises(ValueError, "another order"):
                StreamLoader(other).load_state_dict(state)
        with raises(ValueError, "batch -1"):
            again.load_state_dict(state | {"position": -1})
        with raises(ValueError, "ahead"):
            FileStream(fs, PATHS, 4, ahead=0)
        again.load_state_dict(state)
        assert seen + flat(again) + flat(again) == expected


@case
def shards_are_dealt_out(fs: memfs.FileSystem, top: str, local: str) -> None:
    records = {}
    for shard in range(6):
        data = b"".join(tfrecord(b"%d of %d" % (number, shard)) for number in range(50))
        records[f"{top}/{shard}.tfrecord"] = data
    fs.write_many(records)
    ranks = [ShardStream(fs, list(records), tfrecords, rank=r, world_size=2) for r in (0, 1)]
    seen = [bytes(record) for stream in ranks for record in stream]
    everything = sorted(b"%d of %d" % (number, shard) for shard in range(6) for number in range(50))
    assert sorted(seen) == everything
    stream = ShardStream(fs, list(records), tfrecords)
    loader = torch.utils.data.DataLoader(stream, None, num_workers=2)
    assert sorted(loader) == everything
    counted = ShardStream(fs, list(records), tfrecords, decode=lambda record: len(record))
    assert sum(counted) == sum(map(len, everything))

    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for number in range(20):
            for extension, content in (("txt", b"text %d" % number), ("cls", b"%d" % (number % 3))):
                member = tarfile.TarInfo(f"{number:03}.{extension}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    fs.write_bytes(f"{top}/shard.tar", tar.getvalue())
    for workers in (0, 1):
        loader = torch.utils.data.DataLoader(
            ShardStream(fs, [f"{top}/shard.tar"], samples), None, num_workers=workers
        )
        found = {name: {k: bytes(v) for k, v in parts.items()} for name, parts in loader}
        assert found["007"] == {"txt": b"text 7", "cls": b"1"} and len(found) == 20


# --- checkpoints --------------------------------------------------------------------------------


def model() -> torch.nn.Module:
    torch.manual_seed(3)
    return torch.nn.Sequential(torch.nn.Linear(200, 300), torch.nn.Linear(300, 10))


def equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    return found.keys() == expected.keys() and all(
        torch.equal(found[name], expected[name]) for name in expected
    )


@case
def saving_and_loading(fs: memfs.FileSystem, top: str, local: str) -> None:
    weights = model().state_dict()
    save(fs, weights, f"{top}/model.pt")
    assert equal(load(fs, f"{top}/model.pt"), weights)
    with fs.open(f"{top}/other.pt", "wb") as file:
        torch.save(weights, file)
    with fs.open(f"{top}/other.pt", "rb") as file:
        assert equal(torch.load(file), weights)


@case
def a_checkpoint_that_cannot_be_saved(fs: memfs.FileSystem, top: str, local: str) -> None:
    """The one before stays."""
    save(fs, {"step": 1}, f"{top}/model.pt")
    for zipped in (True, False):
        state = {"weights": torch.ones(3_000_000), "file": sys.stdout}
        with raises(TypeError):
            save(fs, state, f"{top}/model.pt", _use_new_zipfile_serialization=zipped)
    assert load(fs, f"{top}/model.pt") == {"step": 1} and fs.listdir(top) == ["model.pt"]
    save(fs, {"step": 2}, f"{top}/model.pt", _use_new_zipfile_serialization=False)
    assert load(fs, f"{top}/model.pt") == {"step": 2}


@case
def saving_in_the_background(fs: memfs.FileSystem, top: str, local: str) -> None:
    weights = {"a": torch.zeros(1000), "b": torch.arange(5)}
    expected = {name: each.clone() for name, each in weights.items()}
    with AsyncCheckpointer(fs) as checkpointer:
        for step in range(3):
            stored = checkpointer.save(weights, f"{top}/last.pt")
            for each in weights.values():
                each += 1  # what was given is copied already
            assert stored.result() == fs.stat(f"{top}/last.pt").st_size
            found = load(fs, f"{top}/last.pt")
            assert equal(found, {name: each + step for name, each in expected.items()})
        failing = checkpointer.save(weights, f"{top}/nowhere/last.pt")
        with raises(FileNotFoundError):
            checkpointer.wait()
        assert isinstance(failing.exception(), FileNotFoundError)
    with raises(ValueError, "closed"):
        checkpointer.save(weights, f"{top}/late.pt")
    assert fs.listdir(top) == ["last.pt"]


@case
def what_is_stored_otherwise_gets_no_name(fs: memfs.FileSystem, top: str, local: str) -> None:
    class Damaging:
        """Stores something else than it is given."""

        def __init__(self, added: bytes) -> None:
            self._added = added

        def __getattr__(self, name: str) -> Any:
            return getattr(fs, name)

        @contextlib.contextmanager
        def replacing(self, path: str) -> Iterator[Any]:
            with fs.replacing(path) as file:

                class Changing:
                    raw, flush = file.raw, file.flush

                    @staticmethod
                    def write(content: memoryview, added: bytes = self._added) -> None:
                        file.write(bytes(content[:-1]) + added)

                yield Changing

    for added in (b"x", b"", b"xx"):
        damaging: Any = Damaging(added)
        with raises(memfs.errors.DataLossError), AsyncCheckpointer(damaging) as checkpointer:
            checkpointer.save(model().state_dict(), f"{top}/model.pt")
    assert fs.listdir(top) == []


@contextlib.contextmanager
def raises(kind: type[BaseException], text: str = "") -> Iterator[None]:
    try:
        yield
    except kind as error:
        assert text in str(error), error
        return
    raise AssertionError(f"no {kind.__name__}")


# --- distributed --------------------------------------------------------------------------------


@case
def ranks(fs: memfs.FileSystem, top: str, local: str) -> None:
    """Two processes of a group share epochs and checkpoints."""
    if not hasattr(dcp.filesystem, "FileSystemBase"):
        with raises(ImportError, "torch 2.3 or newer"):
            memfs.torch.CheckpointReader  # noqa: B018
        return
    torch.multiprocessing.start_processes(
        in_group, (top, f"{local}/meeting"), 2, start_method="spawn"
    )
    seen = fs.read_bytes(f"{top}/0") + fs.read_bytes(f"{top}/1")
    assert sorted(seen.splitlines()) == sorted(contents())
    assert {"__0_0.distcp", "__1_0.distcp", ".metadata"} <= set(fs.listdir(f"{top}/step-1"))
    # One process loads what two have saved; torch's own readers take it, here and copied.
    fs.get(f"{top}/step-1", f"{local}/step-1")
    for reader in (
        memfs.torch.CheckpointReader(fs, f"{top}/step-1"),
        dcp.FsspecReader(f"memfs://{top}/step-1"),
        dcp.FileSystemReader(f"{local}/step-1"),
    ):
        state = {"table": torch.zeros(64, 100), "step": 0}
        dcp.load(state, storage_reader=reader)
        assert torch.equal(state["table"], table()) and state["step"] == 7


def in_group(rank: int, top: str, meeting: str) -> None:
    torch.distributed.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=2)
    try:
        with memfs.connect() as fs:
            share(fs, rank, top)
            save_and_load(fs, top)
    finally:
        torch.distributed.destroy_process_group()


def share(fs: memfs.FileSystem, rank: int, top: str) -> None:
    loader = StreamLoader(FileStream(fs, PATHS, 5), num_workers=1)
    fs.write_bytes(f"{top}/{rank}", b"".join(item + b"\n" for item in flat(loader)))


def save_and_load(fs: memfs.FileSystem, top: str) -> None:
    state = {"table": sharded(table()), "step": 7}
    dcp.save(state, storage_writer=memfs.torch.CheckpointWriter(fs, f"{top}/step-1"))
    dcp.async_save(state, storage_writer=memfs.torch.CheckpointWriter(fs, f"{top}/step-2")).result()
    dcp.save(
        state, storage_writer=memfs.torch.CheckpointWriter(fs, f"{top}/step-1", overwrite=True)
    )
    for step in (1, 2):
        state = {"table": sharded(torch.zeros(64, 100)), "step": 0}
        dcp.load(state, storage_reader=memfs.torch.CheckpointReader(fs, f"{top}/step-{step}"))
        assert torch.equal(state["table"].full_tensor(), table()) and state["step"] == 7


def table() -> torch.Tensor:
    return torch.arange(6400.0).reshape(64, 100)


def sharded(content: torch.Tensor) -> Any:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    return distribute_tensor(content, init_device_mesh("cpu", (2,)), [Shard(0)])


def main(local: str, *names: str) -> int:
    """How many cases failed."""
    warnings.filterwarnings("ignore", category=UserWarning, module="torch")
    failed = 0
    with memfs.connect() as fs:
        files = dict(zip(PATHS, contents(), strict=True))
        fs.write_many(files, parents=True)
        for each in CASES:
            if names and each.__name__ not in names:
                continue
            begun = time.monotonic()
            top, here = f"/cases/{each.__name__}", f"{local}/{each.__name__}"
            os.makedirs(here)
            fs.makedirs(top)
            try:
                each(fs, top, here)
            except Exception:
                failed += 1
                print(f"FAILED {each.__name__}\n{traceback.format_exc()}", flush=True)
            else:
                print(f"ok {each.__name__} ({time.monotonic() - begun:.2f} s)", flush=True)
            fs.rmtree(top)
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
