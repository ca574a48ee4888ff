"""A table through pandas and pyarrow, in and out of the cluster.

Needs memfs-cluster[fsspec], pandas and pyarrow.
"""

import fsspec
import pandas as pd
import pyarrow.dataset as ds

TOP = "memfs:///examples/sales"

table = pd.DataFrame({"city": ["Bern", "Oslo"] * 500, "sold": range(1000)})
table.to_parquet(TOP, partition_cols=["city"])

fs, path = fsspec.url_to_fs(TOP)
print(f"{len(fs.find(path))} files, {fs.du(path) > 0}")
print(pd.read_parquet(TOP, filters=[("city", "==", "Oslo")]).sold.sum())
print(ds.dataset(path, filesystem=fs, format="parquet", partitioning="hive").count_rows())

notes = {f"{path}-notes/a.txt": b"one", f"{path}-notes/b.txt": b"two"}
with fs.transaction:  # both files appear together, or none does
    for name, text in notes.items():
        with fs.open(name, "wb") as file:
            file.write(text)
print(fs.cat(list(notes)) == notes)
