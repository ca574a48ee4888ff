"""What is wrong, as lines."""

from __future__ import annotations

import pytest

from memfs.config import load
from memfs.errors import ConfigError


def mistakes(kind: type, **sources: object) -> list[str]:
    """The lines of the ConfigError that loading raises."""
    with pytest.raises(ConfigError) as caught:
        load(kind, **{"environ": {}} | sources)
    return caught.value.message.splitlines()
