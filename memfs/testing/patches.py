"""Run-time replacement of a function or a constant, undone at the end: for observers and mutants.

Knows nothing of what is replaced. Invariant: leaving the ``with`` restores exactly what was there.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def replaced(owner: object, name: str, value: object) -> Iterator[None]:
    """``owner.name`` is ``value`` meanwhile. Raises AttributeError when there is no such name."""
    before = vars(owner).get(name, getattr(owner, name))
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextlib.contextmanager
def followed(owner: type, name: str, after: Callable[..., None]) -> Iterator[None]:
    """Each call of a method is followed by ``after(result, self, *arguments)``."""
    method: Callable[..., object] = getattr(owner, name)

    @functools.wraps(method)
    def call(*arguments: object, **options: object) -> object:
        result = method(*arguments, **options)
        after(result, *arguments, **options)
        return result

    with replaced(owner, name, call):
        yield


def find(dotted: str) -> tuple[object, str]:
    """The owner and the name of ``package.module.NAME`` or ``package.module.Class.name``."""
    path, name = dotted.rsplit(".", 1)
    try:
        return importlib.import_module(path), name
    except ModuleNotFoundError:
        module, owner = path.rsplit(".", 1)
        return getattr(importlib.import_module(module), owner), name
