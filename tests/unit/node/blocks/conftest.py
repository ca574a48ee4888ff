"""A store for each test."""

from __future__ import annotations

import pytest

from memfs.limits import MIB
from memfs.node.blocks import BlockStore


@pytest.fixture
def store() -> BlockStore:
    return BlockStore(64 * MIB)
