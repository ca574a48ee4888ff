"""Does the simulation find bugs? Each mutant takes one guard out at run time; a seed must notice.

Owns the registry: a name, the invariant that the guard stands for, what goes wrong without it, and
the patch. There are no switches in the code under test. ``python -m tests.support.mutants`` plays
seeds with each mutant until one fails (``tests.support.mutants.hunt``).
"""

from __future__ import annotations

from tests.support.mutants import blocks, caches, files, log, views
from tests.support.mutants.registry import MUTANTS, Mutant

__all__ = ["MUTANTS", "Mutant", "blocks", "caches", "files", "log", "views"]
