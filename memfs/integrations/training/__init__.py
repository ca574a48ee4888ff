"""Feeding training loops from memfs: order, prefetching and record formats, in plain Python.

No library of machine learning is needed: JAX, numpy and ``tf.data.from_generator`` iterate over it
as it is.
"""

from memfs.integrations.training.order import EpochOrder
from memfs.integrations.training.prefetch import Batch, Prefetcher
from memfs.integrations.training.shards import samples
from memfs.integrations.training.tfrecords import tfrecord, tfrecords

__all__ = ["Batch", "EpochOrder", "Prefetcher", "samples", "tfrecord", "tfrecords"]
