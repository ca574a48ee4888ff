"""Mounts of external stores on a node: metadata look-ups, cached blocks, persisting of changes.

``metadata`` looks up objects for the primary before a request needs them; ``cached_blocks`` fetches
and caches blocks on the nodes that the ring names; ``persister`` writes the primary's changes to
the stores. They share ``opened``, the stores that one node has open. All of it is soft state: what
has to survive is in the namespace, by commands.
"""
