"""WebHDFS over a memfs cluster: what Hadoop, Spark and everything that speaks their REST uses.

Stands on the client only. ``operations`` has a module per family of operations; ``auth`` finds out
who asks, ``hadoop`` knows what Hadoop's clients expect, ``http`` carries it. A gateway keeps no
state that another gateway would need.
"""
