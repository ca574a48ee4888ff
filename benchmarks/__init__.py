"""Benchmarks: each prints our number beside a peer's or a physical limit's from the same run.

``python -m benchmarks`` runs all of them. A benchmark is one module with a ``run(scale)`` that
yields :class:`benchmarks.harness.Row`; its docstring says what is measured and what is not.
"""
