"""Commands of the replicated log, a module per family."""
