"""WebHDFS's operations, a module per family; :mod:`~memfs.gateway.operations.table` lists all."""
