"""``memfs fuse``: the cluster as a directory."""
