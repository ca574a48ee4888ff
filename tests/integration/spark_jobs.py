"""What the tests run inside Spark: a process that takes jobs by name, one JSON line each.

It knows Spark and addresses, nothing of memfs.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import spark_streams
from pyspark import TaskContext
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

ALGORITHM = "mapreduce.fileoutputcommitter.algorithm.version"


def numbers(spark: SparkSession, rows: int) -> DataFrame:
    """Rows that can be computed without reading."""
    return spark.range(rows, numPartitions=2).select(
        "id", (F.col("id") % 5).alias("k"), F.concat(F.lit("ü"), F.col("id")).alias("s")
    )


def heavy(spark: SparkSession, rows: int, tasks: int) -> DataFrame:
    """Rows of some 130 bytes that do not compress."""
    words = [F.hex(F.xxhash64("id", F.lit(number))) for number in range(8)]
    return spark.range(rows, numPartitions=tasks).select("id", F.concat(*words).alias("load"))


def sums(frame: DataFrame) -> list[int]:
    """Rows, sum of ids, and a sum over the contents of a heavy frame."""
    row = frame.agg(F.count("id"), F.sum("id"), F.sum(F.crc32("load"))).collect()[0]
    return [row[0], row[1], row[2]]


def formats(spark: SparkSession, at: str, rows: int, names: list[str]) -> dict[str, list[int]]:
    """Write and read each format: rows and sum of each."""
    found = {}
    for name in names:
        path = f"{at}/a {name}+ü"
        frame = numbers(spark, rows)
        if name == "text":
            frame.select("s").write.text(path)
            read = spark.read.text(path).select(F.expr("bigint(substr(value, 2))").alias("id"))
        else:
            frame.write.format(name).save(path)
            read = spark.read.format(name).schema("id long, k long, s string").load(path)
        row = read.agg(F.count("id"), F.sum("id")).collect()[0]
        found[name] = [row[0], row[1]]
    return found


def binaries(spark: SparkSession, at: str) -> list[list[Any]]:
    """Name, length and SHA-256 of all files that end in .bin, as ``binaryFile`` reads them."""
    read = spark.read.format("binaryFile").option("pathGlobFilter", "*.bin")
    read = read.option("recursiveFileLookup", "true").load(at)
    name = F.element_at(F.split("path", "/"), -1)
    rows = read.select(name, "length", F.sha2("content", 256)).collect()
    return sorted([list(row) for row in rows])


def commits(spark: SparkSession, at: str, rows: int) -> dict[str, int]:
    """Both algorithms of the committer, each with overwrite and append."""
    found = {}
    for algorithm in ("1", "2"):
        path = f"{at}/v{algorithm}"
        for mode in ("overwrite", "overwrite", "append"):
            numbers(spark, rows).write.mode(mode).option(ALGORITHM, algorithm).parquet(path)
        found[algorithm] = spark.read.parquet(path).count()
    return found


def partitions(spark: SparkSession, at: str, rows: int) -> dict[str, Any]:
    """Dynamic overwrite of one partition, and reading one."""
    path = f"{at}/partitioned"
    numbers(spark, rows).write.partitionBy("k").parquet(path)
    spark.conf.set("spark.sql.sources.partitionOverwriteMode", "dynamic")
    one = numbers(spark, rows).where("k = 3").limit(7)
    one.write.mode("overwrite").partitionBy("k").parquet(path)
    spark.conf.unset("spark.sql.sources.partitionOverwriteMode")
    read = spark.read.parquet(path)
    counts = {str(row["k"]): row["count"] for row in read.groupBy("k").count().collect()}
    return {"counts": counts, "files": pruned(read.where("k = 3"))}


def pruned(frame: DataFrame) -> list[str]:
    """The partitions of the files that were read."""
    names = frame.select(F.input_file_name().alias("n")).distinct().collect()
    return sorted({row["n"].split("/")[-2] for row in names})


def join(spark: SparkSession, at: str, rows: int) -> list[list[int]]:
    """Two tables joined by sorting: as they are read, and as they were made."""
    spark.conf.set("spark.sql.autoBroadcastJoinThreshold", "-1")
    thirds = spark.range(0, rows, 3, 2)
    heavy(spark, rows, 4).write.parquet(f"{at}/left")
    thirds.write.parquet(f"{at}/right")
    left, right = spark.read.parquet(f"{at}/left"), spark.read.parquet(f"{at}/right")
    made = heavy(spark, rows, 4).where("id % 3 = 0")
    found = [sums(left.join(right, "id")), sums(made)]
    spark.conf.unset("spark.sql.autoBroadcastJoinThreshold")
    return found


def table(spark: SparkSession, at: str, rows: int) -> list[int]:
    """A managed table in the warehouse."""
    name = at.rsplit("/", 1)[1]
    numbers(spark, rows).write.saveAsTable(f"t{name}")
    spark.sql(f"INSERT INTO t{name} VALUES (-1, 0, 'x')")
    row = spark.sql(f"SELECT count(*), min(id) FROM t{name}").collect()[0]
    return [row[0], row[1]]


def checkpoint(spark: SparkSession, at: str, rows: int) -> list[int]:
    """Rows and sum of what was computed once and then read from its checkpoint."""
    spark.sparkContext.setCheckpointDir(at)
    kept = numbers(spark, rows).checkpoint()
    row = kept.agg(F.count("id"), F.sum("id")).collect()[0]
    return [row[0], row[1]]


def work(spark: SparkSession, at: str, rows: int, readings: int, written: str) -> list[list[int]]:
    """Many tasks that write, then several readings; last what the sums should be.

    ``written``: a local file that appears between writing and reading.
    """
    heavy(spark, rows, 8).write.parquet(at)
    Path(written).touch()
    found = [sums(spark.read.parquet(at)) for _ in range(readings)]
    return [*found, sums(heavy(spark, rows, 8))]


# --- tasks that end in the middle ----------------------------------------------------------------


def broken_tasks(spark: SparkSession, at: str, rows: int, how: str, marks: str) -> list[int]:
    """A write in which the first attempt of every task ends in the middle, in a way of its own.

    ``marks``: a local directory where an attempt says that it is in the middle.
    """

    def broken(values: Any) -> Any:
        task = TaskContext.get()
        for number, row in enumerate(values):
            if number == rows // 4 and task.attemptNumber() == 0:
                end_this_task(how, Path(marks, str(task.taskAttemptId())))
            yield (f"{row['id']:0200}",)

    frame = spark.createDataFrame(
        spark.range(rows, numPartitions=2).rdd.mapPartitions(broken), "s string"
    )
    writing = threading.Thread(target=lambda: frame.write.text(at))
    writing.start()
    if how == "killed":
        kill_tasks(spark, Path(marks))
    writing.join()
    read = spark.read.text(at).select(F.expr("bigint(value)").alias("id"))
    row = read.agg(F.count("id"), F.sum("id")).collect()[0]
    return [row[0], row[1]]


def end_this_task(how: str, mark: Path) -> None:
    """In the task."""
    if how == "raises":
        raise RuntimeError("the first attempt breaks off")
    if how == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    mark.touch()
    time.sleep(600)


def kill_tasks(spark: SparkSession, marks: Path) -> None:
    """In the driver: kill both first attempts when they are in the middle."""
    killed: set[str] = set()
    while len(killed) < 2:
        time.sleep(0.05)
        for mark in marks.iterdir():
            if mark.name not in killed:
                killed.add(mark.name)
                spark._jsc.sc().killTaskAttempt(int(mark.name), True, "killed by the test")


def main() -> None:
    """Settings on the first line, then jobs; each is answered by a line."""
    replies = sys.stdout
    sys.stdout = sys.stderr
    settings = json.loads(sys.stdin.readline())
    builder = SparkSession.builder
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    for line in sys.stdin:
        name, arguments = json.loads(line)
        job = globals().get(name) or getattr(spark_streams, name)
        try:
            reply = {"result": job(spark, **arguments)}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies, flush=True)
    spark.stop()


if __name__ == "__main__":
    main()
