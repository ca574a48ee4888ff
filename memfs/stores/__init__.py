"""External stores: systems outside the cluster that keep objects, behind one interface.

Only nodes use this layer, since a library with threads of its own does not survive a fork of a
client. ``interface`` says what every store does, ``opening`` makes one of a URL. Knows nothing of
mounts, inodes or blocks: keys and bytes only.
"""
