"""Reads, writes and saves while nodes are killed: says where it is by local files.

It makes a file ``reading``, ``writing`` or ``saving`` and then waits for ``killed-`` and that name,
when a node has been killed. What it reads in the end must be what it wrote.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import tensorflow as tf

import memfs.tensorflow  # noqa: F401

gfile = tf.io.gfile
PIECE = 1 << 20
CONTENT = [bytes([number]) * PIECE for number in range(48)]


def killed(name: str) -> bool:
    return Path(f"killed-{name}").exists()


def wait(name: str) -> None:
    Path(name).touch()
    while not killed(name):
        time.sleep(0.02)


def check(path: str) -> None:
    with gfile.GFile(path, "rb") as file:
        assert [file.read(PIECE) for _ in CONTENT] == CONTENT and not file.read(1)


def read(path: str) -> None:
    with tf.io.TFRecordWriter(path) as writer:
        for piece in CONTENT:
            writer.write(piece)
    found = []
    for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
        found.append(record)
        if len(found) == 10:
            wait("reading")
    assert found == CONTENT


def write(path: str) -> None:
    with gfile.GFile(path, "wb") as file:
        for number, piece in enumerate(CONTENT):
            if number == 20:
                wait("writing")
            file.write(piece)
    check(path)


def save(top: str) -> None:
    """One checkpoint after the other, two more when a node is gone."""
    values = np.random.default_rng(2).random(2 << 20)
    variable = tf.Variable(values)
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(v=variable), top, max_to_keep=2)
    left, turn = 2, 0
    while left:
        left -= killed("saving")
        turn += 1
        variable.assign(values + turn)
        manager.save()
        Path("saving").touch()
    variable.assign(values)
    tf.train.Checkpoint(v=variable).restore(tf.train.latest_checkpoint(top)).assert_consumed()
    assert (variable.numpy() == values + turn).all()


if __name__ == "__main__":
    read("memfs:///failures/read")
    write("memfs:///failures/written")
    save("memfs:///failures/checkpoints")
    print("all as it was written")
