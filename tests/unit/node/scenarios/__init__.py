"""The safety core of a node, explained by scenarios that run: see README.md."""
