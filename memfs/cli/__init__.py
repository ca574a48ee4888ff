"""The ``memfs`` command: what people type, over the public client and the node.

Each module holds a few related commands and is imported only when one of them runs. Nothing in
memfs imports this package.
"""
