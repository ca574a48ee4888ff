"""The data libraries of the development environment on memfs; more of them: tests/libraries."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from memfs.testing.processes import Processes
from tests.support.environments import TOP
from tests.support.patience import PATIENCE_SECONDS

CASES = [
    "pandas_csv",
    "pandas_parquet",
    "pandas_other_formats",
    "pyarrow_files",
    "pyarrow_datasets",
    "duckdb_queries",
    "numpy_arrays",
    "upath_paths",
    "fsspec_chains",
    "fsspec_between_file_systems",
    "many_at_once",
]


def test_cases(tmp_path: Path) -> None:
    script = TOP / "tests" / "libraries" / "data_cases.py"
    with Processes(nodes=3, replication=2, memory="256MiB") as cluster:
        ran = subprocess.run(
            [sys.executable, str(script), str(tmp_path), *CASES],
            env=os.environ | {"MEMFS_URL": cluster.url},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("ok ") == len(CASES)
