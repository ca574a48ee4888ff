"""Bytes of a node's memory for each file: a million files of one block.

Measured as resident memory of a process of its own that holds nothing but the namespace
(``benchmarks.namespace_memory``), so that this one's heap is no part of it. The limit is fixed:
500 bytes a file.
"""
