"""Trains with TensorFlow on the executors of Spark, its files on memfs, without further packages.

    memfs dev --nodes 3 &
    pip install pyspark[sql] tensorflow
    python examples/spark_training.py              # or: spark-submit --master ... this file

Four steps, as TensorFlowOnSpark has them: *reservation*, each task says where it listens and hears
of the others; *startup*, TensorFlow finds them in TF_CONFIG; *ingestion*, each task is fed with the
records of its partition; *shutdown*, when all are through. Records are read and written as
``format("tfrecord")``, a data source of Spark 4 that is defined here. A further run goes on from
the last checkpoint.
"""

import json
import os
import secrets
import socket
import struct
from collections.abc import Iterator

from pyspark import BarrierTaskContext, SparkConf
from pyspark.sql import SparkSession
from pyspark.sql.datasource import (
    DataSource,
    DataSourceReader,
    DataSourceWriter,
    InputPartition,
    WriterCommitMessage,
)

import memfs
from memfs.integrations.training import tfrecord, tfrecords

TOP = "memfs:///examples/spark"
WORKERS = 2
STEPS = 40
BATCH = 50


# --- format("tfrecord") -------------------------------------------------------------------------


class TFRecordSource(DataSource):
    """Files of TFRecords in a directory of memfs; a row is a record: its bytes."""

    @classmethod
    def name(cls) -> str:
        return "tfrecord"

    def schema(self) -> str:
        return "record binary"

    def reader(self, schema) -> DataSourceReader:
        return TFRecordReader(self.options["path"])

    def writer(self, schema, overwrite: bool) -> DataSourceWriter:
        return TFRecordWriter(self.options["path"], overwrite)


class TFRecordReader(DataSourceReader):
    """A partition is a file; it is read from the memory of this host if a node here holds it."""

    def __init__(self, path: str) -> None:
        self.path = path

    def partitions(self) -> list[InputPartition]:
        with memfs.connect() as fs:
            names = sorted(fs.listdir(self.path))
        return [InputPartition(f"{self.path}/{name}") for name in names if name.startswith("part-")]

    def read(self, partition: InputPartition) -> Iterator[tuple[bytes]]:
        with memfs.connect() as fs:
            for record in tfrecords(fs.map(partition.value)):
                yield (bytes(record),)


class Written(WriterCommitMessage):
    """A file that waits for its name."""

    def __init__(self, hidden: str, path: str) -> None:
        self.hidden = hidden
        self.path = path


class TFRecordWriter(DataSourceWriter):
    """A task writes a file of hidden name; the files get their names when all tasks are through."""

    def __init__(self, path: str, overwrite: bool) -> None:
        self.path = path
        self.overwrite = overwrite

    def write(self, rows) -> Written:
        name = f"part-{secrets.token_hex(8)}.tfrecord"
        written = Written(f"{self.path}/.{name}", f"{self.path}/{name}")
        with memfs.connect() as fs, fs.open(written.hidden, "wb", parents=True) as file:
            for row in rows:
                file.write(tfrecord(row.record))
        return written

    def commit(self, messages) -> None:
        with memfs.connect() as fs:
            former = [each.path for each in fs.scandir(self.path) if each.name[0] != "."]
            for each in messages:
                fs.replace(each.hidden, each.path)
            for path in former if self.overwrite else ():
                fs.remove(path)

    def abort(self, messages) -> None:
        with memfs.connect() as fs:
            for each in filter(None, messages):
                fs.remove(each.hidden)


# --- on the executors ---------------------------------------------------------------------------


def reserve(context: BarrierTaskContext) -> None:
    """Tell TensorFlow of all workers, in TF_CONFIG."""
    listener = socket.socket()
    host = context.getTaskInfos()[context.partitionId()].address.partition(":")[0]
    listener.bind(("", 0))
    everybody = context.allGather(f"{host}:{listener.getsockname()[1]}")
    listener.close()
    task = {"type": "worker", "index": context.partitionId()}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": everybody}, "task": task})


def train(rows) -> Iterator[tuple[int, int, float, float]]:
    """What each of the workers runs: y = 3 x + 1 is to be learnt."""
    context = BarrierTaskContext.get()
    reserve(context)

    import tensorflow as tf

    import memfs.tensorflow  # noqa: F401

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        slope, offset = tf.Variable(0.0), tf.Variable(0.0)
        steps = tf.Variable(0, dtype=tf.int64)

    points = [struct.unpack("<ff", row.record) for row in rows]  # this worker's share
    data = tf.data.Dataset.from_tensor_slices(tuple(map(list, zip(*points, strict=True))))
    data = data.shuffle(len(points), seed=1).repeat().batch(BATCH).prefetch(2)
    batches = iter(strategy.distribute_datasets_from_function(lambda _: data))

    def descend(x, y) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((slope * x + offset - y) ** 2)
        gradients = tape.gradient(loss, (slope, offset))
        mean = tf.distribute.get_replica_context().all_reduce("MEAN", gradients)
        for variable, gradient in zip((slope, offset), mean, strict=True):
            variable.assign_sub(0.5 * gradient)
        steps.assign_add(1)

    @tf.function
    def step(batch) -> None:
        strategy.run(descend, batch)

    # All workers restore what the first one saved; only that one saves.
    checkpoint = tf.train.Checkpoint(slope=slope, offset=offset, steps=steps)
    first = context.partitionId() == 0
    own = "checkpoints" if first else f"other-checkpoints/{context.partitionId()}"
    manager = tf.train.CheckpointManager(checkpoint, f"{TOP}/{own}", max_to_keep=3)
    checkpoint.restore(tf.train.latest_checkpoint(f"{TOP}/checkpoints"))
    context.barrier()  # nobody saves before all have restored
    begun = int(steps.numpy())
    for number in range(STEPS):
        step(next(batches))
        if number % 10 == 9:
            manager.save()  # saving is a matter of all workers
    context.barrier()
    yield context.partitionId(), begun, float(slope.numpy()), float(offset.numpy())


# --- the driver ---------------------------------------------------------------------------------


def main() -> None:
    master = SparkConf().get("spark.master", f"local[{WORKERS}]")
    spark = (
        SparkSession.builder.appName("training on memfs")
        .master(master)
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.python.worker.reuse", "false")  # TensorFlow's servers end with their task
        .config("spark.executorEnv.MEMFS_URL", os.environ.get("MEMFS_URL", ""))
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    spark.dataSource.register(TFRecordSource)

    points = spark.sparkContext.parallelize(range(2000), 4).map(
        lambda n: (bytearray(struct.pack("<ff", n % 100 / 100, 3 * (n % 100) / 100 + 1)),)
    )
    frame = spark.createDataFrame(points, "record binary")
    frame.write.format("tfrecord").mode("overwrite").save(f"{TOP}/records")
    records = spark.read.format("tfrecord").load(f"{TOP}/records")
    print(f"{records.count()} records")

    fed = records.repartition(WORKERS).rdd.barrier().mapPartitions(train)
    for worker, begun, slope, offset in sorted(fed.collect()):
        print(
            f"worker {worker}: steps {begun} to {begun + STEPS}, y = {slope:.1f} x + {offset:.1f}"
        )
    spark.stop()


if __name__ == "__main__":
    main()
