"""Durability beyond RAM: what a node writes to its disk, and how it comes back.

``segment_format`` is the layout of segment files and the rule of torn tails; ``series`` a growing
chain of segments; ``commits`` the group commit; ``namespace_log`` the replicated log and its
snapshots; ``block_log`` the block versions, with ``block_frames`` and ``block_index``; ``loading``
reads blocks back into memory; ``ownership`` is about whose journal a directory holds. ``journal``
puts them together, ``namespace_journal`` is what the log's replicas see of it.
``docs/durability.md`` describes the design.
"""
