"""memfs."""
