"""Cases of training for ``tensorflow_cases.py``: checkpoints, Keras, models, data, summaries."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.util import event_pb2

import memfs
from memfs.integrations.tensorflow import checkpoints
from memfs.integrations.training import EpochOrder, Prefetcher

gfile = tf.io.gfile
OLD_KERAS = keras.__version__.startswith("2.")
WEIGHTS = np.arange(12, dtype="float32").reshape(3, 4)


def checkpoint(top: str) -> None:
    variable = tf.Variable(WEIGHTS)
    saved = tf.train.Checkpoint(v=variable).save(f"{top}/deep/model")
    variable.assign(WEIGHTS * 2)
    tf.train.Checkpoint(v=variable).restore(saved).assert_consumed()
    assert (variable.numpy() == WEIGHTS).all()
    assert tf.train.latest_checkpoint(f"{top}/deep") == saved == f"{top}/deep/model-1"
    assert [name for name, _ in tf.train.list_variables(saved) if name.startswith("v/")]


def checkpoint_manager(top: str) -> None:
    variable = tf.Variable(0)
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(v=variable), top, max_to_keep=2)
    for number in range(4):
        variable.assign(number)
        manager.save()
    assert manager.checkpoints == [f"{top}/ckpt-3", f"{top}/ckpt-4"]
    assert {name.partition(".")[0] for name in gfile.listdir(top)} == {
        "checkpoint",
        "ckpt-3",
        "ckpt-4",
    }
    variable.assign(-1)
    again = tf.train.CheckpointManager(tf.train.Checkpoint(v=variable), top, max_to_keep=2)
    assert again.restore_or_initialize() == f"{top}/ckpt-4" and variable.numpy() == 3


def missing_checkpoint(top: str) -> None:
    """TensorFlow asks from its own threads while the caller holds Python's lock."""
    for prefix in (f"{top}/none", f"{top}/absent/none"):
        try:
            tf.train.load_checkpoint(prefix)
        except (tf.errors.NotFoundError, ValueError):
            continue
        raise AssertionError(f"{prefix} was found")


def large_tensor(top: str) -> None:
    """Both ways to read a tensor give the same."""
    values = np.random.default_rng(1).random((600, 700))
    saved = tf.train.Checkpoint(v=tf.Variable(values), n=tf.Variable(7)).save(f"{top}/large")
    reader = tf.train.load_checkpoint(saved)
    (name,) = (key for key in reader.get_variable_to_shape_map() if key.startswith("v/"))
    small = reader.get_tensor(name)
    threshold, restore, calls = checkpoints.LARGE_BYTES, tf.raw_ops.RestoreV2, []
    checkpoints.LARGE_BYTES = values.nbytes
    tf.raw_ops.RestoreV2 = lambda **given: calls.append(given) or restore(**given)
    try:
        large = reader.get_tensor(name)
        variable = tf.train.load_variable(saved, name)
    finally:
        checkpoints.LARGE_BYTES, tf.raw_ops.RestoreV2 = threshold, restore
    assert len(calls) == 2
    assert (small == values).all() and (large == values).all() and (variable == values).all()


def model() -> Any:
    made = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3)])
    made.compile("sgd", "mse")
    return made


def keras_model(top: str) -> None:
    first = model()
    first.save(f"{top}/m.keras")
    x = np.ones((2, 4), "float32")
    assert (keras.models.load_model(f"{top}/m.keras")(x) == first(x)).numpy().all()


def keras_weights(top: str) -> None:
    first, second = model(), model()
    # Keras 2 opens HDF5 files past every file system but the local one; its own format it does not.
    name = f"{top}/m" if OLD_KERAS else f"{top}/m.weights.h5"
    first.save_weights(name)
    second.load_weights(name)
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        assert (one == other).all()


def backup_and_restore(top: str) -> None:
    """A training that breaks off in its third epoch goes on there."""
    x, y = np.ones((8, 4), "float32"), np.ones((8, 3), "float32")
    epochs: list[int] = []

    class Count(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            epochs.append(epoch)
            if epochs == [0, 1, 2]:
                raise RuntimeError("broken off")

    def train() -> None:
        backup = keras.callbacks.BackupAndRestore(f"{top}/backup")
        model().fit(x, y, epochs=4, verbose=0, callbacks=[backup, Count()])

    try:
        train()
    except RuntimeError:
        train()
    assert epochs == [0, 1, 2, 2, 3], epochs


def model_checkpoint(top: str) -> None:
    x, y = np.ones((8, 4), "float32"), np.ones((8, 3), "float32")
    kept = keras.callbacks.ModelCheckpoint(top + "/{epoch}.keras")
    model().fit(x, y, epochs=2, verbose=0, callbacks=[kept])
    assert sorted(gfile.listdir(top)) == ["1.keras", "2.keras"]


def saved_model(top: str) -> None:
    class Twice(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec([], tf.float32)])  # type: ignore[untyped-decorator]
        def __call__(self, x: Any) -> Any:
            return x * 2

    tf.saved_model.save(Twice(), f"{top}/twice")
    assert tf.saved_model.load(f"{top}/twice")(tf.constant(4.0)).numpy() == 8


def exported_model(top: str) -> None:
    first = model()
    first.export(f"{top}/exported", **({} if OLD_KERAS else {"verbose": False}))
    x = tf.ones((2, 4))
    loaded = tf.saved_model.load(f"{top}/exported")
    assert np.allclose(loaded.serve(x), first(x))


# --- tf.data  ---------------------------------------------


def values(dataset: Any) -> list[Any]:
    return list(dataset.as_numpy_iterator())


def records(path: str, found: list[bytes], kind: str = "") -> None:
    with tf.io.TFRecordWriter(path, kind) as writer:
        for record in found:
            writer.write(record)


def tfrecords(top: str) -> None:
    wanted = [bytes([number % 256]) * (number * 37 % 70_000) for number in range(300)]
    for kind in ("", "GZIP"):
        records(f"{top}/{kind}r", wanted, kind)
        assert values(tf.data.TFRecordDataset(f"{top}/{kind}r", kind)) == wanted
        assert values(tf.data.TFRecordDataset(f"{top}/{kind}r", kind, buffer_size=0)) == wanted


def text_lines(top: str) -> None:
    with gfile.GFile(f"{top}/lines", "w") as file:
        file.write("".join(f"line {number}\n" for number in range(5000)))
    assert values(tf.data.TextLineDataset(f"{top}/lines"))[-1] == b"line 4999"


def fixed_length(top: str) -> None:
    with gfile.GFile(f"{top}/fixed", "wb") as file:
        file.write(b"HD" + b"".join(b"%04d" % number for number in range(3000)) + b"F")
    dataset = tf.data.FixedLengthRecordDataset(f"{top}/fixed", 4, 2, 1)
    assert values(dataset) == [b"%04d" % number for number in range(3000)]


def interleaved(top: str) -> None:
    for shard in range(8):
        records(f"{top}/{shard}.tfrecord", [b"%d-%d" % (shard, turn) for turn in range(200)])
    found = tf.data.Dataset.list_files(f"{top}/*.tfrecord", shuffle=False).interleave(
        tf.data.TFRecordDataset, cycle_length=8, num_parallel_calls=8
    )
    assert sorted(values(found)) == sorted(b"%d-%d" % (s, t) for s in range(8) for t in range(200))


def cached(top: str) -> None:
    dataset = tf.data.Dataset.range(1000).cache(f"{top}/cache")
    assert values(dataset) == values(dataset) == list(range(1000))
    assert gfile.glob(f"{top}/cache*")


def snapshot(top: str) -> None:
    def dataset() -> Any:
        return tf.data.Dataset.range(1000).snapshot(f"{top}/snapshot")

    assert sorted(values(dataset())) == sorted(values(dataset())) == list(range(1000))
    assert gfile.listdir(f"{top}/snapshot")


def dataset_saved(top: str) -> None:
    tf.data.Dataset.range(1000).save(f"{top}/saved")
    assert values(tf.data.Dataset.load(f"{top}/saved")) == list(range(1000))


def prefetched(top: str) -> None:
    """Small files in the order of an epoch, ahead of ``tf.data``, and on in the middle of one."""
    contents = [b"file %d" % number for number in range(22)]
    with memfs.connect() as fs:
        paths = [f"{top}/{number}" for number in range(22)]
        fs.write_many(dict(zip(paths, contents, strict=True)))

        def epoch(prefetcher: Prefetcher) -> list[bytes]:
            kind = tf.TensorSpec([None], tf.string)
            data = tf.data.Dataset.from_generator(
                lambda: (batch.contents for batch in prefetcher), output_signature=kind
            )
            return values(data.unbatch())

        prefetcher = Prefetcher(fs, paths, EpochOrder(22, 4, seed=3))
        first, second = epoch(prefetcher), epoch(prefetcher)
        assert first != second and sorted(first) == sorted(second) == sorted(contents)
        begun, again = (Prefetcher(fs, paths, EpochOrder(22, 4, seed=3)) for _ in range(2))
        going = iter(begun)
        seen = next(going).contents + next(going).contents
        again.load_state_dict(begun.state_dict())
        assert seen + epoch(again) == first


def read_and_written_in_a_graph(top: str) -> None:
    tf.io.write_file(f"{top}/deep/file", "content")
    assert tf.io.read_file(f"{top}/deep/file").numpy() == b"content"
    assert tf.io.matching_files(f"{top}/deep/*").numpy().tolist() == [f"{top}/deep/file".encode()]
    try:
        tf.io.read_file(f"{top}/none")
    except tf.errors.NotFoundError:
        return
    raise AssertionError("it was read")


def summaries(top: str) -> None:
    """What was flushed is read while the writer goes on."""
    writer = tf.summary.create_file_writer(top)
    with writer.as_default():
        for step in range(10):
            tf.summary.scalar("loss", 1 / (step + 1), step=step)
        writer.flush()
        (path,) = gfile.glob(f"{top}/*")
        events = [
            event_pb2.Event.FromString(each) for each in values(tf.data.TFRecordDataset(path))
        ]
    writer.close()
    assert [each.step for each in events if each.summary.value] == list(range(10))


def a_busy_thread(top: str) -> None:
    """Python works beside TensorFlow's threads, which wait for Python's lock."""
    wanted = [bytes([number % 256]) * 65_536 for number in range(200)]
    records(f"{top}/r", wanted)
    ended = threading.Event()
    busy = threading.Thread(target=lambda: all(not ended.is_set() for _ in iter(int, 1)))
    busy.start()
    try:
        assert values(tf.data.TFRecordDataset(f"{top}/r").prefetch(8)) == wanted
    finally:
        ended.set()
        busy.join()


CASES: tuple[Callable[[str], None], ...] = (
    checkpoint,
    checkpoint_manager,
    missing_checkpoint,
    large_tensor,
    keras_model,
    keras_weights,
    backup_and_restore,
    model_checkpoint,
    saved_model,
    exported_model,
    tfrecords,
    text_lines,
    fixed_length,
    interleaved,
    cached,
    snapshot,
    dataset_saved,
    prefetched,
    read_and_written_in_a_graph,
    summaries,
    a_busy_thread,
)
