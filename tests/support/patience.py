"""How long tests wait for what must come to pass.

Long, since nothing is measured by it: a machine may be busy with much else. A wait that is over
early costs nothing, and one that is never over is a failure whenever it is told.
"""

from __future__ import annotations

from typing import Final

PATIENCE_SECONDS: Final = 240.0
