"""A tensor above 4 GiB on memfs, read back in every way: ``MEMFS_URL`` set, where TensorFlow is."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

import memfs.tensorflow  # noqa: F401

TOP = "memfs:///large"
COUNT = (1 << 30) + 12_345
"""Numbers of four bytes."""
PIECE = 1 << 24


def main() -> None:
    path = tf.train.Checkpoint(v=tf.Variable(tf.range(COUNT))).write(f"{TOP}/checkpoint")
    data = f"{path}.data-00000-of-00001"
    assert tf.io.gfile.stat(data).length > 1 << 32
    check(tf.train.load_checkpoint(path).get_tensor("v/.ATTRIBUTES/VARIABLE_VALUE"))
    variable = tf.Variable(tf.zeros(COUNT, tf.int32))
    tf.train.Checkpoint(v=variable).read(path).assert_consumed()
    check(variable.numpy())
    with tf.io.gfile.GFile(data, "rb") as file:
        file.seek(1 << 32)
        assert np.frombuffer(file.read(4000), np.int32)[0] == 1 << 30
    print("as it was written")


def check(found: np.ndarray) -> None:
    """Piece by piece: a second copy of all of it would not fit everywhere."""
    assert found.shape == (COUNT,)
    for at in range(0, COUNT, PIECE):
        piece = found[at : at + PIECE]
        assert np.array_equal(piece, np.arange(at, at + len(piece), dtype=np.int32)), at


if __name__ == "__main__":
    main()
