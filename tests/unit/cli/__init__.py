"""Units of the command line."""
