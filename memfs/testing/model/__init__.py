"""The oracle: a POSIX file system in plain Python objects, and random operations."""
