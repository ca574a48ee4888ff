"""The blocking face of the asynchronous client: file system, files, paths; one loop thread."""
