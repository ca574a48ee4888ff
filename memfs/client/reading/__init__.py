"""Reading the bytes of files: block maps, replicas, blocks of the same host, readahead."""
