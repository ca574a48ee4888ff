"""Many files in few requests: whole ones read and written, and ranges of them read."""
