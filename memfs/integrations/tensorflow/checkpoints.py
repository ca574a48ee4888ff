"""``tf.train.load_checkpoint(...).get_tensor`` of a tensor above 4 GiB, without a deadlock.

TensorFlow reads such a tensor with a pool of threads while the calling thread keeps Python's lock,
for which those threads wait in our callbacks. The operation ``RestoreV2`` reads the same and lets
the lock go: large tensors of ``memfs://`` checkpoints are read by it.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import tensorflow as tf

from memfs.paths import SCHEME
from memfs.types import Untyped

LARGE_BYTES = 1 << 32
"""``kLargeTensorThreshold`` of TensorFlow's ``tensor_bundle.cc``, from where threads read."""


def read_large_tensors_without_the_lock() -> None:
    """Replace TensorFlow's reader by one with :func:`get_tensor`."""
    from tensorflow.python.training import py_checkpoint_reader

    make = py_checkpoint_reader.NewCheckpointReader

    @functools.wraps(make)
    def new_checkpoint_reader(filepattern: Untyped) -> Untyped:
        reader = make(filepattern)
        prefix = tf.compat.as_str_any(filepattern)
        return _CheckpointReader(reader, prefix) if prefix.startswith(SCHEME + "://") else reader

    py_checkpoint_reader.NewCheckpointReader = new_checkpoint_reader


class _CheckpointReader:
    """A checkpoint reader of TensorFlow, for a checkpoint on memfs."""

    def __init__(self, reader: Untyped, prefix: str) -> None:
        self._reader = reader
        self._prefix = prefix

    def get_tensor(self, tensor_str: Untyped) -> Untyped:
        """As TensorFlow's: the value of a tensor, an array."""
        name = tf.compat.as_str_any(tensor_str)
        shapes = self._reader.get_variable_to_shape_map()
        if name in shapes:
            kind = self._reader.get_variable_to_dtype_map()[name]
            if math.prod(shapes[name]) * max(1, kind.size or 1) >= LARGE_BYTES:
                return tf.raw_ops.RestoreV2(
                    prefix=self._prefix, tensor_names=[name], shape_and_slices=[""], dtypes=[kind]
                )[0].numpy()
        return self._reader.get_tensor(tensor_str)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)
