"""Walks through Python's data libraries on memfs: ``python data_cases.py LOCAL [NAME...]``.

Runs where the libraries are, with ``MEMFS_URL`` set, and prints a line a case. The judge is the
data that went in. All cases share one process, as importing the libraries takes seconds; each gets
a directory of its own.
"""

from __future__ import annotations

import concurrent.futures
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd

import memfs

CASES: list[Callable[[str, str], object]] = []


def case(function: Callable[[str, str], object]) -> Callable[[str, str], object]:
    """To be run with a directory on memfs (a URL) and a local one, both empty."""
    CASES.append(function)
    return function


def table(rows: int = 1000) -> pd.DataFrame:
    """Numbers, text, times, missing values."""
    numbers = np.arange(rows)
    return pd.DataFrame(
        {
            "number": numbers,
            "half": np.where(numbers % 7, numbers / 2, np.nan),
            "text": [f"row {each} ü" for each in numbers],
            "time": pd.to_datetime(numbers, unit="s"),
            "key": numbers % 3,
        }
    )


def same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)


# --- pandas -------------------------------------------------------------------------------------


@case
def pandas_csv(top: str, local: str) -> None:
    table().to_csv(f"{top}/deep/down/table.csv", index=False)
    same(pd.read_csv(f"{top}/deep/down/table.csv", parse_dates=["time"]), table())
    table().to_csv(f"{top}/table.csv.gz", index=False)
    same(pd.read_csv(f"{top}/table.csv.gz", parse_dates=["time"]), table())
    table(10).to_csv(f"{top}/table.csv", index=False)
    table(20)[10:].to_csv(f"{top}/table.csv", index=False, header=False, mode="a")
    same(pd.read_csv(f"{top}/table.csv", parse_dates=["time"]), table(20))
    pieces = pd.read_csv(f"{top}/table.csv", parse_dates=["time"], chunksize=7)
    same(pd.concat(pieces), table(20))


@case
def pandas_parquet(top: str, local: str) -> None:
    table().to_parquet(f"{top}/table.parquet")
    same(pd.read_parquet(f"{top}/table.parquet"), table())
    found = pd.read_parquet(f"{top}/table.parquet", columns=["text"], filters=[("number", "<", 5)])
    assert list(found.text) == list(table(5).text)
    table().to_parquet(f"{top}/parts", partition_cols=["key"])
    found = pd.read_parquet(f"{top}/parts").sort_values("number", ignore_index=True)
    same(found.assign(key=found.key.astype(int)), table())


@case
def pandas_other_formats(top: str, local: str) -> None:
    table().to_feather(f"{top}/table.feather")
    same(pd.read_feather(f"{top}/table.feather"), table())
    table().to_json(
        f"{top}/table.jsonl", orient="records", lines=True, date_unit="s", date_format="epoch"
    )
    found = pd.read_json(f"{top}/table.jsonl", lines=True)
    same(found.assign(time=pd.to_datetime(found.time, unit="s")), table())
    table().to_pickle(f"{top}/table.pickle.xz")
    same(pd.read_pickle(f"{top}/table.pickle.xz"), table())


# --- pyarrow ------------------------------------------------------------------------------------


@case
def pyarrow_files(top: str, local: str) -> None:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.feather
    import pyarrow.fs
    import pyarrow.parquet

    ours, path = fsspec.url_to_fs(top)
    fs = pa.fs.PyFileSystem(pa.fs.FSSpecHandler(ours))
    expected = pa.Table.from_pandas(table())
    pa.parquet.write_table(expected, f"{path}/a.parquet", filesystem=fs, row_group_size=100)
    assert pa.parquet.read_table(f"{path}/a.parquet", filesystem=fs).equals(expected)
    with fsspec.open(f"{top}/a.arrow", "wb") as file, pa.ipc.new_file(file, expected.schema) as out:
        out.write_table(expected)
    with fs.open_input_file(f"{path}/a.arrow") as file:
        assert pa.ipc.open_file(file).read_all().equals(expected)
    with fs.open_output_stream(f"{path}/text.csv.gz", compression="gzip") as file:
        pa.csv.write_csv(expected, file)
    with fs.open_input_stream(f"{path}/text.csv.gz", compression="gzip") as file:
        assert pa.csv.read_csv(file).num_rows == 1000
    infos = fs.get_file_info([f"{path}/a.parquet", path, f"{path}/nothing"])
    assert [info.type.name for info in infos] == ["File", "Directory", "NotFound"]
    assert infos[0].size == fsspec.open(f"{top}/a.parquet").open().size and infos[0].mtime
    fs.move(f"{path}/a.parquet", f"{path}/b.parquet")
    fs.copy_file(f"{path}/b.parquet", f"{path}/c.parquet")
    fs.create_dir(f"{path}/x/y/z")
    found = fs.get_file_info(pa.fs.FileSelector(path, recursive=True))
    assert sorted(info.path.removeprefix(path) for info in found) == sorted(
        ["/a.arrow", "/b.parquet", "/c.parquet", "/text.csv.gz", "/x", "/x/y", "/x/y/z"]
    )
    fs.delete_dir(f"{path}/x")
    fs.delete_dir_contents(path)
    assert fs.get_file_info(pa.fs.FileSelector(path)) == []


@case
def pyarrow_datasets(top: str, local: str) -> None:
    import pyarrow as pa
    import pyarrow.dataset as ds

    whole = pa.Table.from_pandas(table(20_000))
    for kind in ("parquet", "feather", "csv"):
        path = f"{top}/{kind}"
        options = {"partitioning": ["key"], "partitioning_flavor": "hive"}
        ds.write_dataset(
            whole,
            f"fsspec+{path}",
            format=kind,
            max_rows_per_file=1500,
            max_rows_per_group=500,
            **options,
        )
        data = ds.dataset(f"fsspec+{path}", format=kind, partitioning="hive")
        assert len(data.files) == 3 * 5
        assert data.count_rows() == 20_000
        some = data.to_table(filter=(ds.field("key") == 2) & (ds.field("number") < 100))
        assert sorted(some["number"].to_pylist()) == list(range(2, 100, 3))
        assert (
            sum(batch.num_rows for batch in data.scanner(columns=["text"]).to_batches()) == 20_000
        )
    # Written again beside what is there, and in place of it.
    ds.write_dataset(
        whole,
        f"fsspec+{top}/parquet",
        format="parquet",
        existing_data_behavior="delete_matching",
        **options,
    )
    assert ds.dataset(f"fsspec+{top}/parquet", partitioning="hive").count_rows() == 20_000
    fs, path = fsspec.url_to_fs(f"{top}/parquet")
    assert ds.dataset(path, filesystem=fs, partitioning="hive").count_rows() == 20_000


# --- dask ---------------------------------------------------------------------------------------


@case
def dask_threads_and_processes(top: str, local: str) -> None:
    import dask
    import dask.bag
    import dask.dataframe as dd

    spawn = multiprocessing.get_context("spawn")
    for pool in (
        concurrent.futures.ThreadPoolExecutor(3),
        concurrent.futures.ProcessPoolExecutor(2, mp_context=spawn),
    ):
        scheduler = "processes" if hasattr(pool, "_mp_context") else "threads"
        with pool, dask.config.set(scheduler=scheduler, pool=pool):
            at = f"{top}/{scheduler}"
            dd.from_pandas(table(5000), npartitions=6).to_parquet(f"{at}/parquet")
            found = dd.read_parquet(f"{at}/parquet")
            assert found.npartitions == 6 and found.number.sum().compute() == sum(range(5000))
            dd.from_pandas(table(5000), npartitions=4).to_csv(f"{at}/csv/part-*.csv", index=False)
            found = dd.read_csv(f"{at}/csv/part-*.csv", blocksize=20_000)
            assert found.npartitions > 4 and len(found) == 5000
            lines = dask.bag.from_sequence(map(str, range(1000)), npartitions=5)
            lines.to_textfiles(f"{at}/text/*.txt.gz")
            assert dask.bag.read_text(f"{at}/text/*.txt.gz").map(int).sum().compute() == 499_500


@case
def dask_carries_what_is_connected(top: str, local: str) -> None:
    """File systems and paths as arguments and as results, through threads and processes."""
    import dask

    fs = memfs.connect()
    above = fs.path(urllib.parse.urlsplit(top).path)
    spawn = multiprocessing.get_context("spawn")
    for pool in (
        concurrent.futures.ThreadPoolExecutor(3),
        concurrent.futures.ProcessPoolExecutor(2, mp_context=spawn),
    ):
        scheduler = "processes" if hasattr(pool, "_mp_context") else "threads"
        names = [above / f"{scheduler}-{number}" for number in range(6)]
        with pool, dask.config.set(scheduler=scheduler, pool=pool):
            written = dask.compute(*(dask.delayed(written_by)(fs, each) for each in names))
        assert list(written) == names
        assert [each.read_text() for each in written] == list(map(str, names))


@case
def dask_arrays(top: str, local: str) -> None:
    import dask.array

    numbers = np.random.default_rng(1).random((300, 200))
    dask.array.from_array(numbers, chunks=(100, 60)).to_zarr(f"{top}/array.zarr")
    assert (dask.array.from_zarr(f"{top}/array.zarr").compute() == numbers).all()


# --- arrays -------------------------------------------------------------------------------------


@case
def zarr_groups(top: str, local: str) -> None:
    import zarr

    numbers = np.random.default_rng(2).integers(0, 255, (128, 128), np.uint8)
    for version in (2, 3):
        root = zarr.open_group(f"{top}/v{version}", mode="w", zarr_format=version)
        array = root.create_array("a/b", shape=(128, 128), chunks=(32, 32), dtype="u1")
        array[:] = numbers
        array[5:40, 7] = 9
        array.attrs["unit"] = "K"
        root.create_array("deleted", shape=(4,), chunks=(2,), dtype="f8")[:] = 1
        del root["deleted"]
        found = zarr.open_group(f"{top}/v{version}", mode="r")
        assert dict(found["a"].members()).keys() == {"b"} and list(found) == ["a"]
        expected = numbers.copy()
        expected[5:40, 7] = 9
        assert (found["a/b"][:] == expected).all() and found["a/b"].attrs["unit"] == "K"
        assert (found["a/b"].oindex[[3, 99], 5] == expected[[3, 99], 5]).all()
    sharded = zarr.create_array(
        f"{top}/shards", shape=(128, 128), chunks=(16, 16), shards=(64, 64), dtype="u1"
    )
    sharded[:] = numbers
    assert (zarr.open_array(f"{top}/shards")[10:70, 3:9] == numbers[10:70, 3:9]).all()
    sharded.resize((128, 256))
    sharded.append(numbers, axis=1)
    assert (zarr.open_array(f"{top}/shards")[:, 256:] == numbers).all()


@case
def xarray_to_zarr(top: str, local: str) -> None:
    import xarray as xr

    data = xr.Dataset(
        {"t": (("time", "x"), np.arange(60.0).reshape(12, 5))},
        coords={"time": pd.date_range("2024-01-01", periods=12), "x": list("abcde")},
    )
    data.to_zarr(f"{top}/one.zarr", consolidated=False)
    more = data.assign_coords(time=pd.date_range("2024-01-13", periods=12))
    more.to_zarr(f"{top}/one.zarr", append_dim="time", consolidated=False)
    found = xr.open_zarr(f"{top}/one.zarr", consolidated=False)
    xr.testing.assert_identical(found.compute(), xr.concat([data, more], "time"))
    with fsspec.open(f"{top}/one.nc", "wb") as file:
        data.drop_vars("x").to_netcdf(file, engine="h5netcdf")
    with fsspec.open(f"{top}/one.nc", "rb") as file:
        xr.testing.assert_identical(xr.open_dataset(file).load(), data.drop_vars("x"))


@case
def h5py_files(top: str, local: str) -> None:
    import h5py

    numbers = np.random.default_rng(3).random((500, 40))
    with fsspec.open(f"{top}/a.h5", "w+b") as file, h5py.File(file, "w") as h5:
        h5.create_dataset("deep/a", data=numbers, chunks=(50, 40), compression="gzip")
        h5["deep/a"].attrs["unit"] = "m"
    with fsspec.open(f"{top}/a.h5", "r+b") as file, h5py.File(file, "r+") as h5:
        h5["deep/a"][7] = 1
        h5["more"] = "text"
    numbers[7] = 1
    with fsspec.open(f"{top}/a.h5", "rb") as file, h5py.File(file, "r") as h5:
        assert (h5["deep/a"][3:9] == numbers[3:9]).all() and h5["more"][()] == b"text"


# --- SQL, tables, models ------------------------------------------------------------------------


@case
def duckdb_queries(top: str, local: str) -> None:
    import duckdb

    db = duckdb.connect()
    db.register_filesystem(fsspec.filesystem("memfs"))
    db.execute(
        f"COPY (SELECT range AS n, n % 3 AS key FROM range(10000)) TO '{top}/t' "
        "(FORMAT parquet, PARTITION_BY key)"
    )
    found = db.execute(
        f"SELECT key, sum(n) FROM read_parquet('{top}/t/**/*.parquet', hive_partitioning=true) "
        "GROUP BY key ORDER BY key"
    ).fetchall()
    assert [int(total) for _, total in found] == [sum(range(k, 10_000, 3)) for k in range(3)]
    db.execute(f"COPY (SELECT range AS n FROM range(100)) TO '{top}/one.csv' (HEADER)")
    assert db.execute(f"SELECT sum(n) FROM '{top}/one.csv'").fetchone() == (4950,)
    db.execute(f"COPY (SELECT range AS n FROM range(100)) TO '{top}/one.json'")
    assert db.execute(f"SELECT count(*) FROM read_json_auto('{top}/one.json')").fetchone() == (100,)


@case
def polars_tables(top: str, local: str) -> None:
    import polars as pl
    import pyarrow.dataset as ds

    data = pl.from_pandas(table())
    with fsspec.open(f"{top}/t.parquet", "wb") as file:
        data.write_parquet(file)
    with fsspec.open(f"{top}/t.parquet", "rb") as file:
        assert pl.read_parquet(file).equals(data)
    with fsspec.open(f"{top}/t.parquet", "rb") as file:
        assert pl.scan_parquet(file).filter(pl.col("number") < 5).collect().height == 5
    fs, path = fsspec.url_to_fs(f"{top}/t.parquet")
    found = pl.scan_pyarrow_dataset(ds.dataset(path, filesystem=fs))
    assert found.filter(pl.col("number") < 5).select("text").collect()["text"][4] == "row 4 ü"
    with fsspec.open(f"{top}/t.csv", "wb") as file:
        data.write_csv(file)
    with fsspec.open(f"{top}/t.csv", "rb") as file:
        assert pl.read_csv(file)["number"].sum() == 499_500
    with fsspec.open(f"{top}/t.arrow", "wb") as file:
        data.write_ipc(file)
    with fsspec.open(f"{top}/t.arrow", "rb") as file:
        assert pl.read_ipc(file).equals(data)


@case
def hugging_face_datasets(top: str, local: str) -> None:
    import datasets

    datasets.disable_progress_bars()
    data = datasets.Dataset.from_dict({"n": list(range(1000)), "text": ["ü"] * 1000})
    data.save_to_disk(f"{top}/saved", num_shards=4)
    found = datasets.load_from_disk(f"{top}/saved")
    assert found["n"][:] == list(range(1000)) and found.features == data.features
    datasets.DatasetDict({"train": data, "test": found}).save_to_disk(f"{top}/both")
    assert datasets.load_from_disk(f"{top}/both")["test"].num_rows == 1000
    data.to_parquet(f"{top}/p/part.parquet")
    data.to_json(f"{top}/j/part.jsonl")
    data.to_csv(f"{top}/c/part.csv")
    for kind, files in (
        ("parquet", f"{top}/p/*.parquet"),
        ("json", f"{top}/j/part.jsonl"),
        ("csv", f"{top}/c/*.csv"),
    ):
        streamed = datasets.load_dataset(kind, data_files=files, split="train", streaming=True)
        assert [row["n"] for row in streamed] == list(range(1000))
        loaded = datasets.load_dataset(
            kind, data_files={"train": files}, split="train", cache_dir=f"{local}/cache"
        )
        assert loaded["n"][:] == list(range(1000))


@case
def safetensors_weights(top: str, local: str) -> None:
    from safetensors.numpy import load, save

    weights = {"a": np.arange(1000.0), "b": np.ones((3, 4), np.float16)}
    with fsspec.open(f"{top}/model.safetensors", "wb") as file:
        file.write(save(weights))
    found = load(fsspec.filesystem("memfs").cat_file(f"{top}/model.safetensors"))
    assert all((found[name] == each).all() for name, each in weights.items())


@case
def joblib_models(top: str, local: str) -> None:
    import joblib

    model = {"weights": np.random.default_rng(4).random((200, 50)), "name": "ü"}
    for compress in (0, 3):
        with fsspec.open(f"{top}/model.joblib", "wb") as file:
            joblib.dump(model, file, compress=compress)
        with fsspec.open(f"{top}/model.joblib", "rb") as file:
            found = joblib.load(file)
        assert (found["weights"] == model["weights"]).all() and found["name"] == "ü"
    for backend in ("threading", "loky"):
        urls = [f"{top}/{backend}-{number}" for number in range(6)]
        joblib.Parallel(2, backend=backend)(joblib.delayed(put)(url) for url in urls)
        found = joblib.Parallel(2, backend=backend)(joblib.delayed(got)(url) for url in urls)
        assert found == [url.encode() for url in urls]


@case
def joblib_carries_what_is_connected(top: str, local: str) -> None:
    import joblib

    fs = memfs.connect()
    above = fs.path(urllib.parse.urlsplit(top).path)
    for backend in ("threading", "multiprocessing", "loky"):
        names = [above / f"{backend}-{number}" for number in range(6)]
        calls = (joblib.delayed(written_by)(fs, each) for each in names)
        written = joblib.Parallel(2, backend=backend)(calls)
        assert written == names
        assert [each.read_text() for each in written] == list(map(str, names))
    joblib.dump({"fs": fs, "path": above}, f"{local}/connected.joblib")
    found = joblib.load(f"{local}/connected.joblib")
    assert found["path"] == above and found["fs"].isdir(above)


def written_by(fs: memfs.FileSystem, path: memfs.MemfsPath) -> memfs.MemfsPath:
    fs.write_bytes(path, str(path).encode())
    return path


def put(url: str) -> None:
    with fsspec.open(url, "wb") as file:
        file.write(url.encode())


def got(url: str) -> bytes:
    with fsspec.open(url, "rb") as file:
        return file.read()


# --- files of other kinds -----------------------------------------------------------------------


@case
def pillow_images(top: str, local: str) -> None:
    from PIL import Image

    pixels = np.random.default_rng(5).integers(0, 255, (40, 60, 3), np.uint8)
    for kind in ("PNG", "TIFF", "BMP"):
        with fsspec.open(f"{top}/a.{kind}", "wb") as file:
            Image.fromarray(pixels).save(file, kind)
        with fsspec.open(f"{top}/a.{kind}", "rb") as file, Image.open(file) as image:
            assert image.size == (60, 40) and (np.asarray(image) == pixels).all()
    with fsspec.open(f"{top}/a.jpg", "wb") as file:
        Image.fromarray(pixels).save(file)
    with fsspec.open(f"{top}/a.jpg", "rb") as file, Image.open(file) as image:
        image.verify()


@case
def numpy_arrays(top: str, local: str) -> None:
    numbers = np.arange(1000.0)
    with fsspec.open(f"{top}/a.npy", "wb") as file:
        np.save(file, numbers)
    with fsspec.open(f"{top}/a.npy", "rb") as file:
        assert (np.load(file) == numbers).all()
    with fsspec.open(f"{top}/a.npz", "wb") as file:
        np.savez_compressed(file, a=numbers, b=numbers[:5])
    with fsspec.open(f"{top}/a.npz", "rb") as file:
        assert (np.load(file)["b"] == numbers[:5]).all()


@case
def upath_paths(top: str, local: str) -> None:
    from upath import UPath

    path = UPath(top)
    (path / "a" / "b").mkdir(parents=True)
    (path / "a" / "b" / "c.txt").write_text("hello")
    assert sorted(str(each) for each in path.rglob("*.txt")) == [f"{top}/a/b/c.txt"]
    assert pickle.loads(pickle.dumps(path)) == path
    (path / "a" / "b").rename(path / "z")
    assert [each.name for each in path.iterdir()] == ["a", "z"]
    here = UPath(local) / "c.txt"
    (path / "z" / "c.txt").copy(here)
    assert here.read_text() == "hello"
    host = UPath(f"{os.environ['MEMFS_URL']}{path.path}/z/c.txt")
    assert (host.path, host.read_text()) == (f"{path.path}/z/c.txt", "hello")
    with path.joinpath("t.csv").open("w") as file:
        table(5).to_csv(file, index=False)
    same(pd.read_csv(str(path / "t.csv"), parse_dates=["time"]), table(5))


# --- fsspec's own layers ------------------------------------------------------------------------


@case
def fsspec_chains(top: str, local: str) -> None:
    """Caches, archives and directories over memfs."""
    with fsspec.open(f"{top}/a.txt", "w") as file:
        file.write("one")
    options = {"filecache": {"cache_storage": f"{local}/cache", "check_files": True}}
    for expected in ("one", "two"):  # a changed file is noticed by its version
        with fsspec.open(f"{top}/a.txt", "w") as file:
            file.write(expected)
        with fsspec.open(f"filecache::{top}/a.txt", "r", **options) as file:
            assert file.read() == expected
    with fsspec.open(f"simplecache::{top}/b.txt", "w") as file:
        file.write("through a local copy")
    assert fsspec.filesystem("memfs").cat(f"{top}/b.txt") == b"through a local copy"
    zipped = fsspec.filesystem("zip", fo=f"{top}/c.zip", mode="w")
    zipped.pipe("inner.txt", b"zipped")
    zipped.close()
    with fsspec.open(f"zip://inner.txt::{top}/c.zip", "rb") as file:
        assert file.read() == b"zipped"
    inside = fsspec.filesystem("dir", path=top, target_protocol="memfs")
    assert sorted(inside.ls("", detail=False)) == ["a.txt", "b.txt", "c.zip"]
    names = fsspec.get_mapper(f"{top}/map")
    names.setitems({"x/1": b"1", "x/2": b"2"})
    assert dict(names) == {"x/1": b"1", "x/2": b"2"} and names.getitems(["x/1"]) == {"x/1": b"1"}
    references = {"all": [f"{top}/b.txt"], "part": [f"{top}/b.txt", 8, 7], "inline": "text"}
    fs = fsspec.filesystem("reference", fo=references, remote_protocol="memfs")
    assert fs.cat(["part", "inline"]) == {"part": b"a local", "inline": b"text"}


@case
def fsspec_between_file_systems(top: str, local: str) -> None:
    import fsspec.generic

    for number in range(20):
        path = Path(local, "source", str(number % 3), str(number))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([number]) * number)
    fsspec.generic.rsync(f"file://{local}/source", top)
    fsspec.generic.rsync(top, f"file://{local}/back")
    for number in range(20):
        assert Path(local, "back", str(number % 3), str(number)).read_bytes() == (
            bytes([number]) * number
        )


@case
def jupyter_fsspec_server(top: str, local: str) -> None:
    """What JupyterLab's file browser for fsspec asks of its server."""
    sources = [{"name": "ours", "path": top}]
    Path(local, "jupyter-fsspec.yaml").write_text(json.dumps({"sources": sources}))
    command = [sys.executable, "-m", "jupyter_server", "--port=0", "--no-browser", "--allow-root"]
    server = subprocess.Popen(
        [*command, "--IdentityProvider.token=secret", f"--ServerApp.root_dir={local}"],
        env=os.environ | {"JUPYTER_CONFIG_DIR": local, "JUPYTER_RUNTIME_DIR": f"{local}/run"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stderr is not None
    try:
        said = iter(server.stderr.readline, "")
        base = next(line for line in said if "http://127.0.0.1" in line).split()[-1].split("?")[0]

        def ask(method: str, what: str, body: object = None, **query: str) -> bytes:
            url = f"{base}jupyter_fsspec/{what}?{urllib.parse.urlencode(query)}"
            data = body if isinstance(body, bytes) else body and json.dumps(body).encode()
            headers = {"Authorization": "token secret", "X-JFS-Client": "non-browser"}
            asked = urllib.request.Request(url, data, headers, method=method)
            with urllib.request.urlopen(asked) as answer:
                return answer.read()

        def act(method: str, what: str, item: str, **more: object) -> bytes:
            return ask(method, what, {"key": "ours", "item_path": item, **more})

        for _ in range(300):  # it says where it is before it listens there
            try:
                ask("GET", "config")
                break
            except urllib.error.URLError:
                time.sleep(0.1)
        (source,) = json.loads(ask("GET", "config"))["content"]
        assert source["protocol"] == "memfs" and "error" not in source
        ask("POST", "files/contents", "ü".encode(), key="ours", item_path="d/a.txt")
        act("PUT", "files", "d/a.txt", content="new text")
        assert ask("GET", "files/contents", key="ours", item_path="d/a.txt") == b"new text"
        path = f"{top.removeprefix('memfs://')}/d"
        act("POST", "files/rename", "d/a.txt", content=f"{path}/b.txt")
        act("POST", "files/action", "d/b.txt", content=f"{path}/c.txt")
        listed = json.loads(ask("GET", "files", key="ours", item_path="d"))["content"]
        assert [(each["name"][-5:], each["size"]) for each in listed] == [
            ("b.txt", 8),
            ("c.txt", 8),
        ]
        act("DELETE", "files", "d/b.txt")
        assert fsspec.filesystem("memfs").ls(path, detail=False) == [f"{path}/c.txt"]
    finally:
        server.terminate()
        server.communicate()


@case
def many_at_once(top: str, local: str) -> None:
    """Threads share the file system's connection."""

    def one(number: int) -> int:
        table(100).to_parquet(f"{top}/{number}.parquet")
        return int(pd.read_parquet(f"{top}/{number}.parquet").number.sum())

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert list(pool.map(one, range(64))) == [4950] * 64


def main(local: str, *names: str) -> int:
    """How many cases failed."""
    failed = 0
    for each in CASES:
        if names and each.__name__ not in names:
            continue
        begun = time.monotonic()
        fs, there = fsspec.filesystem("memfs"), f"/data-cases/{each.__name__}"
        here = f"{local}/{each.__name__}"
        fsspec.filesystem("file").makedirs(here)
        if fs.exists(there):
            fs.rm(there, recursive=True)
        fs.makedirs(there)
        try:
            each(f"memfs://{there}", here)
        except Exception:
            failed += 1
            print(f"FAILED {each.__name__}\n{traceback.format_exc()}", flush=True)
        else:
            print(f"ok {each.__name__} ({time.monotonic() - begun:.2f} s)", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
