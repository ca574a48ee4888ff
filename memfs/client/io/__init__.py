"""The bytes of files: open files, readers, writers, block maps, batches, local blocks."""
