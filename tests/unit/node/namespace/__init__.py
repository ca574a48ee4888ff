"""Tests of the namespace state machine, by family of operations."""
