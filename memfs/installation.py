"""Whether the files of this package are all its own.

Owns the name of the distribution. On PyPI ``memfs`` is another project with the same
import name: where both are installed each has overwritten files of the other, and what is imported
is a mixture.
"""

from __future__ import annotations

import sys
from pathlib import Path

DISTRIBUTION = "memfs-cluster"
_OTHERS_MODULE = "cli_with_shell.py"
"""Only the other project has it."""
_ADVICE = (
    "another project's package 'memfs' is installed in the same place, and each of the two "
    f"overwrites files of the other: 'pip uninstall memfs {DISTRIBUTION}', then install "
    f"{DISTRIBUTION} alone"
)


def mixture() -> str | None:
    """What is wrong and what to do, or None."""
    package = sys.modules["memfs"]
    whole = getattr(package, "__distribution__", None) == DISTRIBUTION
    return None if whole and not Path(__file__).with_name(_OTHERS_MODULE).exists() else _ADVICE
