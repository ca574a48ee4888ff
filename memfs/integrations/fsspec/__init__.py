"""fsspec's file system interface: the file system, its open files, the dictionaries of entries."""
