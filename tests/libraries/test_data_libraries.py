"""Python's data libraries on memfs, of several releases, in environments of their own.

``make test-integrations`` runs it; ``make test`` has the libraries that the development environment
holds anyway.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from memfs.testing.processes import Processes
from tests.support.environments import TOP, LibraryEnvironment, environment

pytestmark = pytest.mark.timeout(3600)
HERE = Path(__file__).parent
NEWEST = (
    "dask[dataframe]==2026.8.0",
    "datasets==5.2.0",
    "duckdb==2.0.1",
    "fsspec==2026.9.0",
    "h5netcdf==1.8.2",
    "h5py==3.16.0",
    "joblib==1.6.0",
    "jupyter-fsspec==0.4.1",
    "pandas==3.1.1",
    "pillow==13.0.0",
    "polars==2.1.0",
    "pyarrow==26.0.1",
    "pytest==9.2.0",
    "pytest-asyncio==1.5.0",
    "safetensors==0.8.0",
    "universal_pathlib==0.3.10",
    "xarray==2026.9.0",
    "zarr==3.1.6",
)
OLDER = (
    "dask[dataframe]==2025.3.0",
    "datasets==3.5.0",
    "duckdb==1.2.2",
    "fsspec==2024.12.0",
    "h5netcdf==1.6.1",
    "h5py==3.13.0",
    "joblib==1.4.2",
    "jupyter-fsspec==0.4.1",
    "pandas==2.2.3",
    "pillow==11.2.1",
    "polars==1.27.1",
    "pyarrow==21.0.0",
    "safetensors==0.5.3",
    "universal_pathlib==0.3.4",
    "xarray==2025.10.1",
    "zarr==3.0.8",
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Processes]:
    with Processes(nodes=3, replication=2, memory="512MiB") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def newest(installed: Path) -> LibraryEnvironment:
    return environment("data", NEWEST, installed)


@pytest.fixture(scope="module")
def older(installed: Path) -> LibraryEnvironment:
    return environment("data-older", OLDER, installed)


@pytest.mark.parametrize("release", ["newest", "older"])
def test_every_case(
    release: str, request: pytest.FixtureRequest, cluster: Processes, tmp_path: Path
) -> None:
    libraries: LibraryEnvironment = request.getfixturevalue(release)
    cases = HERE / "data_cases.py"
    said = libraries.run([cases, tmp_path], tmp_path, MEMFS_URL=cluster.url)
    assert len(re.findall("^ok ", said, re.MULTILINE)) == cases.read_text().count("\n@case\n")


def test_the_document_and_the_example(
    newest: LibraryEnvironment, cluster: Processes, tmp_path: Path
) -> None:
    script = TOP / "tests" / "support" / "document_programs.py"
    runs = [TOP / "docs" / "python.md", TOP / "examples" / "data_libraries.py"]
    variables = {"MEMFS_URL": cluster.url, "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    said = newest.run([script, *runs], tmp_path, **variables)
    assert said.splitlines() == [
        "Hello, world!",
        "12",
        "7",
        "3",
        "4 250",
        "499500",
        "7",
        "3.0",
        "(1000,)",
        "3",
        "['one', 'two', 'three']",
        "3.0",
        "6",
        "5.0",
        "(4, 3)",
        "(3,)",
        "['memfs:///demo/hello.txt', 'memfs:///demo/notes/a.txt']",
        "2 files, True",
        "250000",
        "1000",
        "True",
        "all ran",
    ]


# --- the libraries' own suites -----------------------------------------------------------------


def run_suite(
    libraries: LibraryEnvironment, cluster: Processes, suite: Path, directory: Path
) -> str:
    command = ["-m", "pytest", "-q", "-c", "/dev/null", "--noconftest", "-p"]
    options = ["no:cacheprovider", "-o", "asyncio_mode=auto", "--rootdir", directory, suite]
    return libraries.run([*command, *options], directory, MEMFS_URL=cluster.url)


def test_the_suite_of_zarr(newest: LibraryEnvironment, cluster: Processes, tmp_path: Path) -> None:
    said = run_suite(newest, cluster, HERE / "zarr_suite.py", tmp_path)
    assert re.search(r"\n7\d passed, 5 skipped", said)  # stores without asyncio


def test_the_suite_of_universal_pathlib(
    newest: LibraryEnvironment, cluster: Processes, tmp_path: Path
) -> None:
    """It is in the source distribution only."""
    (version,) = (each for each in NEWEST if each.startswith("universal_pathlib"))
    fetch = ["-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:", version]
    newest.run([*fetch, "--dest", tmp_path], tmp_path)
    (archive,) = tmp_path.glob("universal_pathlib*.tar.gz")
    with tarfile.open(archive) as source:
        source.extractall(tmp_path, filter="data")
    (cases,) = tmp_path.glob("*/upath/tests/cases.py")
    said = run_suite(newest, cluster, HERE / "upath_suite.py", cases.parents[2])
    assert re.search(r"\n\d+ passed in", said)
