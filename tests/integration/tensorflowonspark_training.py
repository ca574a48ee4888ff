"""TensorFlowOnSpark, as it is, with its files on memfs: ``python tensorflowonspark_training.py``.

Runs where it, pyspark and TensorFlow are, with ``MEMFS_URL`` set: two executors are processes of
Spark's local cluster. Prints a line a step. What is learnt is known: ``y = 3 x + 1``.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import tensorflow as tf
from pyspark import SparkConf, SparkContext
from tensorflowonspark import TFCluster

import memfs
import memfs.tensorflow

TOP = "memfs:///tensorflowonspark"
ROWS = 4000
PATIENCE_SECONDS = 900
"""For what takes half a minute where nothing else runs."""


def rows(sc: SparkContext) -> Any:
    return sc.parallelize(range(ROWS), 8).map(lambda n: (n % 100 / 100, 3 * (n % 100) / 100 + 1))


# --- what runs on the executors -----------------------------------------------------------------


def executor_pid() -> int:
    """The Java process above this one."""
    pid = os.getpid()
    while "java" not in Path(f"/proc/{pid}/comm").read_text():
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pid


class Line(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.slope = tf.Variable(0.0)
        self.offset = tf.Variable(0.0)
        self.steps = tf.Variable(0, dtype=tf.int64)

    def gradients(self, x: Any, y: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self.slope * x + self.offset - y) ** 2)
        return loss, tape.gradient(loss, (self.slope, self.offset))

    def descend(self, slope: Any, offset: Any) -> None:
        self.slope.assign_sub(0.5 * slope)
        self.offset.assign_sub(0.5 * offset)

    @tf.function(input_signature=[tf.TensorSpec([None]), tf.TensorSpec([None])])
    def step(self, x: Any, y: Any) -> Any:
        loss, gradients = self.gradients(x, y)
        self.descend(*gradients)
        self.steps.assign_add(1)
        return loss

    def averaged_step(self, x: Any, y: Any) -> None:
        """The same of several workers at once."""
        _, gradients = self.gradients(x, y)
        self.descend(*tf.distribute.get_replica_context().all_reduce("MEAN", gradients))


def train(arguments: dict[str, Any], context: Any) -> None:
    """What TensorFlowOnSpark runs on each executor; goes on from the last checkpoint."""
    import memfs.tensorflow  # noqa: F401

    line, own = Line(), f"{TOP}/{arguments['run']}/{context.task_index}"
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(line=line), f"{own}/checkpoints", 3)
    manager.restore_or_initialize()
    with tf.io.gfile.GFile(f"{own}/executor", "w") as file:
        file.write(f"{executor_pid()} {line.steps.numpy()}")
    feed, fed = context.get_data_feed(train_mode=True), 0
    with tf.summary.create_file_writer(f"{own}/logs").as_default() as writer:
        while not feed.should_stop():
            batch = feed.next_batch(50)
            if not batch:
                continue
            fed += len(batch)
            x, y = map(list, zip(*batch, strict=True))
            loss = line.step(tf.constant(x), tf.constant(y))
            tf.summary.scalar("loss", loss, step=line.steps)
            if line.steps % 10 == 0:
                writer.flush()
                manager.save()
            time.sleep(arguments["pause"])
    manager.save()
    workers = [each for job in context.cluster_spec.values() for each in job]
    with tf.io.gfile.GFile(f"{own}/end", "w") as file:
        file.write(f"{fed} {' '.join(workers)}")


def infer(arguments: dict[str, Any], context: Any) -> None:
    import memfs.tensorflow  # noqa: F401

    line = Line()
    latest = tf.train.latest_checkpoint(
        f"{TOP}/{arguments['run']}/{context.task_index}/checkpoints"
    )
    tf.train.Checkpoint(line=line).restore(latest).expect_partial()
    feed = context.get_data_feed(train_mode=False)
    while not feed.should_stop():
        batch = feed.next_batch(50)
        if batch:
            feed.batch_results((line.slope.numpy() * x + line.offset.numpy(), y) for x, y in batch)


def train_from_records(arguments: dict[str, Any], context: Any) -> None:
    """Readers of TFRecords; the workers average their gradients."""
    import memfs.tensorflow  # noqa: F401

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        line = Line()

    def parse(record: Any) -> Any:
        kinds = {name: tf.io.FixedLenFeature([], tf.float32) for name in "xy"}
        return tuple(tf.io.parse_single_example(record, kinds).values())

    files = tf.data.Dataset.list_files(f"{TOP}/records/part-*", shuffle=False)
    files = files.shard(context.num_workers, context.task_index)
    data = files.interleave(tf.data.TFRecordDataset).map(parse).repeat().batch(50)
    batches = iter(strategy.distribute_datasets_from_function(lambda _: data))

    @tf.function
    def step(batch: Any) -> None:
        strategy.run(line.averaged_step, batch)

    for _ in range(60):
        step(next(batches))
    own = f"{TOP}/records-run/{context.task_index}"
    tf.train.Checkpoint(line=line).save(f"{own}/checkpoint")


# --- what the driver does -----------------------------------------------------------------------


def run(sc: SparkContext, main: Any, mode: int, **arguments: Any) -> Any:
    return TFCluster.run(
        sc, main, arguments, 2, 0, input_mode=mode, reservation_timeout=PATIENCE_SECONDS
    )


def last_step(fs: memfs.FileSystem, name: str) -> list[int]:
    steps = []
    for task in (0, 1):
        latest = tf.train.latest_checkpoint(f"{TOP}/{name}/{task}/checkpoints")
        steps.append(int(latest.rpartition("-")[2]) if latest else 0)
    return steps


def losses(name: str, task: int) -> list[float]:
    """What a worker has logged, step by step."""
    found = []
    for path in sorted(tf.io.gfile.glob(f"{TOP}/{name}/{task}/logs/*")):
        for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
            for value in tf.compat.v1.Event.FromString(record).summary.value:
                found.append(float(tf.make_ndarray(value.tensor)))
    return found


def feeding(sc: SparkContext, fs: memfs.FileSystem) -> None:
    cluster = run(sc, train, TFCluster.InputMode.SPARK, run="fed", pause=0)
    reserved = sorted(f"{each['host']}:{each['port']}" for each in cluster.cluster_info)
    assert len(set(reserved)) == 2, "reservation: each says where it listens"
    cluster.train(rows(sc), 2)
    cluster.shutdown(timeout=PATIENCE_SECONDS)
    tops = [f"/tensorflowonspark/fed/{task}" for task in (0, 1)]
    assert len({fs.read_text(f"{top}/executor").split()[0] for top in tops}) == 2, "two executors"
    # Both came to their end, which is what the shutdown waits for.
    ends = [fs.read_text(f"{top}/end").split() for top in tops]
    assert all(sorted(others) == reserved for _, *others in ends), "startup: they know each other"
    fed = [int(rows) for rows, *_ in ends]
    assert sum(fed) == 2 * ROWS and all(fed), "ingestion: each row once in each epoch"
    assert all(last_step(fs, "fed"))
    for task in (0, 1):
        logged = losses("fed", task)
        assert len(logged) > 5 and logged[-1] < logged[0] / 10, logged
    print("fed", flush=True)


def inference(sc: SparkContext, fs: memfs.FileSystem) -> None:
    cluster = run(sc, infer, TFCluster.InputMode.SPARK, run="fed")
    found = cluster.inference(rows(sc)).collect()
    cluster.shutdown(timeout=PATIENCE_SECONDS)
    assert len(found) == ROWS and max(abs(guess - y) for guess, y in found) < 0.1
    print("inferred", flush=True)


def a_killed_executor(sc: SparkContext, fs: memfs.FileSystem) -> None:
    """The job fails: TensorFlowOnSpark does not start a node again. Both executors have more to be
    fed with than the time that it takes to notice."""
    cluster = run(sc, train, TFCluster.InputMode.SPARK, run="killed", pause=0.2)

    def kill() -> None:
        while not all(last_step(fs, "killed")):
            time.sleep(0.1)
        os.kill(
            int(fs.read_text("/tensorflowonspark/killed/1/executor").split()[0]), signal.SIGKILL
        )

    killing = threading.Thread(target=kill)
    killing.start()
    try:
        cluster.train(rows(sc), 100)
    except Exception:
        print("the job failed", flush=True)
    killing.join()
    print("killed", flush=True)


def the_next_job(sc: SparkContext, fs: memfs.FileSystem) -> None:
    """Goes on from the checkpoints."""
    before = last_step(fs, "killed")
    cluster = run(sc, train, TFCluster.InputMode.SPARK, run="killed", pause=0)
    cluster.train(rows(sc), 1)
    cluster.shutdown(timeout=PATIENCE_SECONDS)
    begun = [
        int(fs.read_text(f"/tensorflowonspark/killed/{task}/executor").split()[1])
        for task in (0, 1)
    ]
    assert all(begin >= step > 0 for begin, step in zip(begun, before, strict=True))
    assert last_step(fs, "killed") > before
    print("went on", flush=True)


def records(sc: SparkContext, fs: memfs.FileSystem) -> None:
    def write(part: int, numbers: Any) -> Any:
        import memfs.tensorflow  # noqa: F401

        with tf.io.TFRecordWriter(f"{TOP}/records/part-{part:05}") as writer:
            for x, y in numbers:
                values = {
                    name: tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
                    for name, value in (("x", x), ("y", y))
                }
                example = tf.train.Example(features=tf.train.Features(feature=values))
                writer.write(example.SerializeToString())
        yield part

    assert rows(sc).mapPartitionsWithIndex(write).count() == 8
    cluster = run(sc, train_from_records, TFCluster.InputMode.TENSORFLOW)
    cluster.shutdown(timeout=PATIENCE_SECONDS)
    lines = [Line(), Line()]
    for task, line in enumerate(lines):
        latest = tf.train.latest_checkpoint(f"{TOP}/records-run/{task}")
        tf.train.Checkpoint(line=line).restore(latest).expect_partial()
    found = [(line.slope.numpy(), line.offset.numpy()) for line in lines]
    assert found[0] == found[1] and abs(sum(found[0]) - 4) < 0.1, found
    print("trained from records", flush=True)


def main(names: list[str]) -> None:
    configuration = SparkConf().setMaster("local-cluster[2,1,1024]").setAppName("memfs")
    configuration.set("spark.executorEnv.MEMFS_URL", os.environ["MEMFS_URL"])
    configuration.set("spark.ui.enabled", "false").set("spark.ui.showConsoleProgress", "false")
    # Tried again, a task may land on the other executor, where a node runs: then the job succeeds.
    configuration.set("spark.task.maxFailures", "1")
    with memfs.connect() as fs:
        for name in names:
            with SparkContext(conf=configuration) as sc:
                sc.setLogLevel("ERROR")
                globals()[name](sc, fs)


if __name__ == "__main__":
    main(sys.argv[1:])
