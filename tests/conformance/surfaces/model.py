"""The model as a surface: the cases check the oracle, too."""

from __future__ import annotations

from memfs.testing.model import Model
from memfs.testing.tree import Tree

from ..surface import Feature

BLOCK_SIZE = 4096


class ModelSurface(Model):
    """The oracle itself."""

    name = "model"
    features = frozenset(Feature) - {Feature.LEASES, Feature.MEMFS}
    block_size = BLOCK_SIZE

    def __init__(self, tree: Tree | None = None, *identity) -> None:
        super().__init__(tree or Tree(block_size=BLOCK_SIZE, replication=2), *identity)

    def as_user(self, user: str, groups: tuple[str, ...] = ()) -> ModelSurface:
        other = super().as_user(user, groups)
        return ModelSurface(self.tree, other.identity)

    def close(self) -> None:
        pass
