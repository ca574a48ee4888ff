"""``memfs://`` for everything that opens files through fsspec: pandas, dask, zarr, pyarrow...

Nothing needs to be imported for it: fsspec finds the protocol by an entry point of the
distribution. Needs ``pip install memfs-cluster[fsspec]``. See ``docs/python.md``.

>>> import fsspec
>>> with fsspec.open("memfs:///hello.txt", "w") as f:
...     f.write("Hello, world!")
"""

from memfs.integrations.fsspec.filesystem import MemfsFileSystem

__all__ = ["MemfsFileSystem"]
