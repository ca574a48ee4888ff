"""Mounts of external stores on a node: names that are asked for, blocks that are fetched, changes
that are stored.

``metadata`` lets the primary ask before a request needs to know; ``objects`` fetches and caches
blocks on whichever node the ring names; ``persister`` brings the primary's changes to the stores.
They share ``opened``, the stores of one node. What is certain is in the namespace, by commands;
everything here may be lost at any time.
"""
