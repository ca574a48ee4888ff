"""Durability beyond RAM: what a node writes to its disk, and how it comes back.

``framing`` is the layout of segment files and the rule of torn tails; ``series`` a growing chain of
segments; ``commits`` the group commit; ``namespace_log`` the replicated log and its snapshots;
``block_log`` the block versions; ``loading`` reads blocks back into memory; ``ownership`` is about
whose journal a directory holds. ``docs/durability.md`` describes the design.
"""
