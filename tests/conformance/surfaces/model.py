"""The model as a surface: the cases check the oracle, too."""

from __future__ import annotations

from memfs.testing.model.filesystem import Model
from memfs.testing.model.tree import ModelTree

from ..surface import Feature
from .served import BLOCK_SIZE, Served


class ModelSurface(Model):
    """The oracle itself."""

    name = "model"
    features = frozenset(Feature) - {
        Feature.LEASES,
        Feature.MEMFS,
        Feature.QUOTA,
        Feature.SPECIAL,
    }
    block_size = BLOCK_SIZE

    def __init__(self, served: Served | None = None, model: Model | None = None) -> None:
        identity = model.identity if model else None
        super().__init__(model.tree if model else ModelTree(block_size=BLOCK_SIZE), identity)

    def as_user(self, user: str, groups: tuple[str, ...] = ()) -> ModelSurface:
        return ModelSurface(model=super().as_user(user, groups))

    def settle(self) -> None:
        pass

    def close(self) -> None:
        pass
