"""Tables through fsspec's webhdfs: pandas, pyarrow and DuckDB, against a gateway process."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import fsspec
import pandas
import pyarrow
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet
import pytest
from fsspec.implementations.webhdfs import WebHDFS
from hadoop_served import USER, Site, site

ROWS = 50_000


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("nodes")) as served:
        yield served


@pytest.fixture(scope="module")
def filesystem(served: Site) -> Iterator[WebHDFS]:
    filesystem = fsspec.filesystem("webhdfs", **options(served), skip_instance_cache=True)
    yield filesystem
    filesystem.session.close()


def options(served: Site) -> dict[str, object]:
    return {"host": "127.0.0.1", "port": served.gateways[0].port, "user": USER}


@pytest.fixture(scope="module")
def frame() -> pandas.DataFrame:
    numbers = range(ROWS)
    names = [f"ü{number}" for number in numbers]
    return pandas.DataFrame({"id": numbers, "k": [each % 5 for each in numbers], "s": names})


def test_pandas(served: Site, filesystem: WebHDFS, frame: pandas.DataFrame) -> None:
    served.native.makedirs("/pandas")
    with filesystem.open("/pandas/a b+ü.csv", "w") as file:
        frame.to_csv(file, index=False)
    with filesystem.open("/pandas/a b+ü.csv", "r") as file:
        pandas.testing.assert_frame_equal(pandas.read_csv(file), frame)
    local = frame.to_csv(index=False).encode()
    assert served.native.read_bytes("/pandas/a b+ü.csv") == local
    frame.to_parquet("/pandas/frame.parquet", filesystem=filesystem)
    read = pandas.read_parquet("/pandas/frame.parquet", filesystem=filesystem)
    pandas.testing.assert_frame_equal(read, frame)


def test_pyarrow(served: Site, filesystem: WebHDFS, frame: pandas.DataFrame) -> None:
    table = pyarrow.Table.from_pandas(frame)
    arrow = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(filesystem))
    pyarrow.dataset.write_dataset(
        table, "/arrow/d", filesystem=arrow, format="parquet", partitioning=["k"]
    )
    assert sorted(served.native.listdir("/arrow/d")) == ["0", "1", "2", "3", "4"]
    dataset = pyarrow.dataset.dataset("/arrow/d", filesystem=arrow, partitioning=["k"])
    assert dataset.count_rows() == ROWS
    some = dataset.to_table(filter=pyarrow.dataset.field("k") == 3, columns=["id"])
    assert sorted(some["id"].to_pylist()) == list(range(3, ROWS, 5))
    parquet = pyarrow.parquet.ParquetFile(arrow.open_input_file("/arrow/d/1/part-0.parquet"))
    assert parquet.metadata.num_rows == ROWS // 5
    parquet.close()


def test_duckdb(served: Site, filesystem: WebHDFS, frame: pandas.DataFrame) -> None:
    served.native.makedirs("/duck")
    with duckdb.connect() as database:
        database.register_filesystem(filesystem)
        database.register("frame", frame)
        database.execute("COPY frame TO 'webhdfs:///duck/frame.parquet' (FORMAT parquet)")
        found = database.execute(
            "SELECT count(*), sum(id), count(DISTINCT k) FROM 'webhdfs:///duck/frame.parquet'"
        ).fetchone()
        assert found == (ROWS, ROWS * (ROWS - 1) // 2, 5)
    assert served.native.read_bytes("/duck/frame.parquet")[-4:] == b"PAR1"
