"""fsspec's file system interface: the file system, its open files, what it tells of entries."""
