"""What test_spark runs inside Spark: a process that takes jobs by name, one JSON line each.

It knows Spark and addresses, nothing of memfs.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F


def numbers(spark: SparkSession, rows: int) -> DataFrame:
    """Rows that can be computed without reading."""
    return spark.range(rows, numPartitions=2).select(
        "id", (F.col("id") % 5).alias("k"), F.concat(F.lit("ü"), F.col("id")).alias("s")
    )


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


def commits(spark: SparkSession, at: str, rows: int) -> dict[str, int]:
    """Both algorithms of the committer, then overwrite and append."""
    found = {}
    for algorithm in ("1", "2"):
        path = f"{at}/v{algorithm}"
        option = "mapreduce.fileoutputcommitter.algorithm.version"
        for mode in ("overwrite", "overwrite", "append"):
            numbers(spark, rows).write.mode(mode).option(option, algorithm).parquet(path)
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


def join(spark: SparkSession, at: str, rows: int) -> list[int]:
    """Two tables joined through a shuffle."""
    numbers(spark, rows).write.parquet(f"{at}/left")
    right = spark.range(0, rows, 3, 2).select("id", (F.col("id") * 2).alias("twice"))
    right.write.parquet(f"{at}/right")
    spark.conf.set("spark.sql.autoBroadcastJoinThreshold", "-1")
    joined = spark.read.parquet(f"{at}/left").join(spark.read.parquet(f"{at}/right"), "id")
    row = joined.agg(F.count("id"), F.sum("twice")).collect()[0]
    return [row[0], row[1]]


def table(spark: SparkSession, at: str, rows: int) -> list[int]:
    """A managed table in the warehouse."""
    name = at.rsplit("/", 1)[1]
    numbers(spark, rows).write.saveAsTable(f"t{name}")
    spark.sql(f"INSERT INTO t{name} VALUES (-1, 0, 'x')")
    row = spark.sql(f"SELECT count(*), min(id) FROM t{name}").collect()[0]
    return [row[0], row[1]]


def broken_tasks(spark: SparkSession, at: str) -> list[int]:
    """A write in which the first attempt of every task breaks off in the middle."""

    def broken(rows: Any) -> Any:
        from pyspark import TaskContext

        for number, row in enumerate(rows):
            if number == 5_000 and TaskContext.get().attemptNumber() == 0:
                raise RuntimeError("the first attempt breaks off")
            yield (row["id"],)

    frame = spark.createDataFrame(
        spark.range(20_000, numPartitions=2).rdd.mapPartitions(broken), "id long"
    )
    frame.write.parquet(at)
    row = spark.read.parquet(at).agg(F.count("id"), F.sum("id")).collect()[0]
    return [row[0], row[1]]


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
        try:
            reply = {"result": globals()[name](spark, **arguments)}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies, flush=True)
    spark.stop()


if __name__ == "__main__":
    main()
