"""The cluster as a directory: a server of the kernel's FUSE protocol over the client's API."""
