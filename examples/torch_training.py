"""Trains a small model from files on memfs, and goes on where it was each time it is run.

    memfs dev --nodes 3 &
    python examples/torch_training.py

``torchrun --nproc-per-node 2 examples/torch_training.py`` trains with two processes: they share
each epoch, and each of them keeps its place. The samples may lie in a bucket, and the checkpoints
go to one: ``memfs mount`` both and name the directories: ``--samples``, ``--checkpoints``.
"""

import argparse
import io
import os

import torch

import memfs
from memfs.torch import AsyncCheckpointer, FileStream, StreamLoader, load

TOP = "/examples/torch"
STEPS = 20
"""Of one run; an epoch has 32."""


def make_samples(fs: memfs.FileSystem, directory: str) -> None:
    """512 small files: a tensor, and which of two kinds it is of."""
    samples = {}
    for number in range(512):
        kind = number % 2
        content = io.BytesIO()
        torch.save((torch.randn(16) + kind, kind), content)
        samples[f"{directory}/{number:04}.pt"] = content.getvalue()
    fs.write_many(samples, parents=True)


def decode(path: str, content: memoryview) -> tuple[torch.Tensor, int]:
    return torch.load(io.BytesIO(content))


def collate(batch: list[tuple[torch.Tensor, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.stack([tensor for tensor, _ in batch]), torch.tensor([kind for _, kind in batch])


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a small model from files on memfs.")
    parser.add_argument("--samples", default=f"{TOP}/samples", help="directory; made if need be")
    parser.add_argument("--checkpoints", default=TOP, help="directory [default: %(default)s]")
    chosen = parser.parse_args()
    if "RANK" in os.environ:
        torch.distributed.init_process_group("gloo")
    rank = int(os.environ.get("RANK", "0"))
    checkpoint = f"{chosen.checkpoints}/checkpoint-{rank}.pt"
    with memfs.connect() as fs, AsyncCheckpointer(fs) as checkpointer:
        if not fs.isdir(chosen.samples) and rank == 0:
            make_samples(fs, chosen.samples)
        if torch.distributed.is_initialized():
            torch.distributed.barrier()
        paths = sorted(entry.path for entry in fs.scandir(chosen.samples))
        model = torch.nn.Linear(16, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        loader = StreamLoader(FileStream(fs, paths, 16, decode=decode), num_workers=2)
        step = 0
        if fs.exists(checkpoint):
            state = load(fs, checkpoint)
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            loader.load_state_dict(state["loader"])
            step = state["step"]
            print(f"goes on after step {step}")
        last = step + STEPS
        while step < last:
            for batch in loader:
                inputs, kinds = collate(batch)
                loss = torch.nn.functional.cross_entropy(model(inputs), kinds)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                step += 1
                if step % 10 == 0:
                    state = {
                        "model": model.state_dict(),
                        "optimizer": optimizer.state_dict(),
                        "loader": loader.state_dict(),
                        "step": step,
                    }
                    checkpointer.save(state, checkpoint)  # is stored while the training goes on
                if step == last:
                    break
        print(f"step {step}: loss {loss.item():.3f}")
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
