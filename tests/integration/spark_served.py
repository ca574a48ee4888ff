"""A Spark session in a process of its own, told its jobs line by line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hadoop_served import SERVICE, USER, Site

from tests.support.hadoop import java_home, pyspark

TOP = f"webhdfs://{SERVICE}"
JOBS = Path(__file__).with_name("spark_jobs.py")
END_SECONDS = 120.0

SETTINGS = {
    "spark.master": "local[2,4]",
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.memory": "768m",
    "spark.sql.shuffle.partitions": "2",
    "spark.eventLog.enabled": "true",
    "spark.eventLog.compress": "false",
    "spark.eventLog.dir": f"{TOP}/events",
    "spark.sql.warehouse.dir": f"{TOP}/warehouse",
    "spark.sql.filesourceTableRelationCacheSize": "0",  # what is read comes from memfs each time
}


class Spark:
    """One session and the jobs of ``spark_jobs`` in it."""

    def __init__(
        self, served: Site, directory: Path, version: str, settings: Mapping[str, str]
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        served.native.makedirs("/events", exist_ok=True)
        environment = {
            "PYTHONPATH": str(pyspark(version)),
            "PYSPARK_PYTHON": sys.executable,
            "JAVA_HOME": str(java_home()),
            "HADOOP_USER_NAME": USER,
            "LC_ALL": "C.UTF-8",
        }
        dropped = ("SPARK_", "HADOOP_", "PYSPARK_", "MEMFS_")
        kept = {name: each for name, each in os.environ.items() if not name.startswith(dropped)}
        self._log = directory / "spark.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(JOBS)],
                cwd=directory,
                env=kept | environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                text=True,
            )
        hadoop = {f"spark.hadoop.{name}": value for name, value in served.settings.items()}
        local = {"spark.local.dir": str(directory / "local")}
        self._send(SETTINGS | local | hadoop | dict(settings))

    def _send(self, line: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()

    def start(self, job: str, **arguments: Any) -> None:
        """Begin a job."""
        self._send([job, arguments])

    def result(self) -> Any:
        """Of the job that was begun."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        reply = json.loads(line) if line else {"error": "Spark ended"}
        if "error" in reply:
            tail = self._log.read_text(errors="replace")[-6000:]
            raise AssertionError(f"{reply['error']}\n{tail}")
        return reply["result"]

    def run(self, job: str, **arguments: Any) -> Any:
        """One job, from beginning to end."""
        self.start(job, **arguments)
        return self.result()

    def kill(self) -> None:
        """End Python and Java at once, like a crash."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self.end()

    def end(self) -> None:
        """End it in good order; a second time does nothing."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):  # it may have ended by itself
            self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            raise
        finally:
            self._process.stdout.close()


@contextmanager
def session(
    served: Site, directory: Path, version: str, settings: Mapping[str, str] | None = None
) -> Iterator[Spark]:
    """A session that ends with the block. ``settings`` beyond those of all."""
    spark = Spark(served, directory, version, settings or {})
    try:
        yield spark
    finally:
        spark.end()
