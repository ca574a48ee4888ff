"""Open files: how they are opened, read and written by position, drafted and copied."""
