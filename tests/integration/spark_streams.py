"""Structured streaming inside Spark: two queries that read files of numbers as they come.

One appends what it reads to parquet files; the other keeps sums by remainder as its state and
writes them anew with each batch. Both keep their checkpoints beside what they write.
"""

from __future__ import annotations

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming import DataStreamWriter, StreamingQuery

FILES_A_BATCH = 2


def source(spark: SparkSession, at: str) -> DataFrame:
    """The numbers in the files below ``at``/in."""
    lines = spark.readStream.option("maxFilesPerTrigger", FILES_A_BATCH).text(f"{at}/in")
    return lines.select(F.expr("bigint(value)").alias("id"))


def started(writer: DataStreamWriter, at: str, name: str, *, to_the_end: bool) -> StreamingQuery:
    """Its query with a checkpoint; ``to_the_end``: it ends when it has read all that is there."""
    writer = writer.option("checkpointLocation", f"{at}/{name}.checkpoint")
    return (writer.trigger(availableNow=True) if to_the_end else writer).start()


def begin(spark: SparkSession, at: str, *, to_the_end: bool = False) -> list[StreamingQuery]:
    """Both queries."""

    def keep(sums: DataFrame, batch: int) -> None:
        sums.write.mode("overwrite").parquet(f"{at}/sums")

    rows = source(spark, at).writeStream.format("parquet").option("path", f"{at}/rows")
    sums = source(spark, at).groupBy((F.col("id") % 3).alias("k")).agg(F.sum("id"), F.count("id"))
    totals = sums.writeStream.outputMode("complete").foreachBatch(keep)
    return [
        started(rows, at, "rows", to_the_end=to_the_end),
        started(totals, at, "sums", to_the_end=to_the_end),
    ]


def begin_streams(spark: SparkSession, at: str) -> None:
    """Start both; they run until this process ends."""
    begin(spark, at)


def end_streams(spark: SparkSession, at: str) -> dict[str, list[int]]:
    """Start both again, wait until they have read everything; what they have written."""
    for query in begin(spark, at, to_the_end=True):
        query.awaitTermination()
    rows = spark.read.parquet(f"{at}/rows")
    row = rows.agg(F.count("id"), F.countDistinct("id"), F.sum("id")).collect()[0]
    sums = spark.read.parquet(f"{at}/sums").orderBy("k").collect()
    return {"rows": [row[0], row[1], row[2]], "sums": [each[1] for each in sums]}
