"""Requests to a node: who sends them, and the part that answers each."""
