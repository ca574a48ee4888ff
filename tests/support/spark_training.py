"""The environment in which TensorFlow trains on Spark's executors."""

from __future__ import annotations

from pathlib import Path

from tests.support import hadoop
from tests.support.environments import PROGRAM_SECONDS, LibraryEnvironment, environment

TENSORFLOW = (
    "tensorflow-cpu==2.21.0",
    "tensorboard==2.20.0",
    "tensorflowonspark==2.2.5",
    "pandas",  # those of pyspark[sql]
    "pyarrow",
    "six",  # those of tensorflowonspark
    "packaging",
    "setuptools<81",
)
"""The newest TensorFlow, and what goes with it on Spark."""
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": ""}


class SparkEnvironment:
    """Runs programs of that environment with PySpark and Java."""

    def __init__(self, installed: Path) -> None:
        self._libraries: LibraryEnvironment = environment("tensorflow", TENSORFLOW, installed)
        self._path = f"{installed}:{hadoop.pyspark()}"
        self._java = str(hadoop.java_home())

    def run(self, arguments: list[str | Path], directory: Path, url: str) -> str:
        """What it printed, without Java's log. Fails the test when it fails."""
        said = self._libraries.run(
            arguments,
            directory,
            PROGRAM_SECONDS,
            MEMFS_URL=url,
            PYTHONPATH=self._path,
            JAVA_HOME=self._java,
            PYSPARK_PYTHON=str(self._libraries.python),
            SPARK_LOCAL_IP="127.0.0.1",
            SPARK_LOCAL_DIRS=str(directory),
            SPARK_WORKER_DIR=str(directory / "work"),
            **QUIET,
        )
        return "\n".join(line for line in said.splitlines() if " WARN " not in line)
