"""The mutation gate: ``python -m tests.support.mutants``."""

from __future__ import annotations

import sys

from tests.support.mutants.hunt import main

if __name__ == "__main__":
    sys.exit(main())
