"""Writing the bytes of files: blocks being filled, stored on nodes, and published."""
