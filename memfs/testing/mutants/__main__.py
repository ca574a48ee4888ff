"""The mutation gate: ``python -m memfs.testing.mutants``."""

from __future__ import annotations

import sys

from memfs.testing.mutants.hunt import main

if __name__ == "__main__":
    sys.exit(main())
