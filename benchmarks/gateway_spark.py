"""The Spark job that ``gateway_java`` measures, as a process of its own.

``python -m benchmarks.gateway_spark SCRATCH ROWS ROUNDS PLACES SETTINGS``: the last two are JSON,
names to addresses and Hadoop's settings. Prints the median seconds of each step at each place.
"""

from __future__ import annotations

import json
import sys
from functools import partial

from pyspark.sql import SparkSession  # type: ignore[import-not-found]
from pyspark.sql import functions as F

from benchmarks.harness import Stopwatch, alternate

TASKS = 8


def session(scratch: str, settings: dict[str, str]) -> SparkSession:
    """Two tasks at a time in this process."""
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.driver.host", "127.0.0.1").config("spark.local.dir", scratch)
    builder = builder.config("spark.driver.memory", "1g")
    for name, value in settings.items():
        builder = builder.config(f"spark.hadoop.{name}", value)
    return builder.getOrCreate()


def write(spark: SparkSession, place: str, rows: int) -> float:
    """Seconds to make a table whose bytes do not compress."""
    words = [F.hex(F.xxhash64("id", F.lit(number))) for number in range(8)]
    table = spark.range(rows, numPartitions=TASKS).select("id", F.concat(*words).alias("load"))
    with Stopwatch() as watch:
        table.write.mode("overwrite").parquet(place)
    return watch.seconds


def aggregate(spark: SparkSession, place: str, rows: int) -> float:
    """Seconds to read every byte of it."""
    with Stopwatch() as watch:
        table = spark.read.parquet(place)
        row = table.agg(F.count("id"), F.sum("id"), F.sum(F.crc32("load"))).collect()[0]
    assert (row[0], row[1]) == (rows, rows * (rows - 1) // 2)
    return watch.seconds


def main(scratch: str, rows: str, rounds: str, places: str, settings: str) -> None:
    """Let the places take turns."""
    spark = session(scratch, json.loads(settings))
    contenders = {
        f"{name} {step.__name__}": partial(step, spark, place, int(rows))
        for name, place in json.loads(places).items()
        for step in (write, aggregate)
    }
    print(json.dumps(alternate(contenders, int(rounds))))
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
