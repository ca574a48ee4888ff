"""Durability beyond RAM: what a node writes to its disk, and how it comes back.

``framing`` is the layout of segment files and the rule of torn tails; ``series`` a growing chain of
segments; ``commits`` the group commit; ``namespace_log`` the replicated log and its snapshots;
``block_log`` the block versions; ``recovery`` the way back into memory; ``directory`` who owns a
journal. ``docs/durability.md`` tells the whole story.
"""
