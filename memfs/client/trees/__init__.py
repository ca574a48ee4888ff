"""Whole trees, over calls that look at one name or directory: walking, patterns, removal."""
