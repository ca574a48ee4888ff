"""Calls that mostly consist of one question to the primary.

A blocking caller asks it in its own thread; see ``memfs.client.session.direct``. Such a call may be
begun twice, and goes no further than that question without a running event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

F = TypeVar("F", bound=Callable[..., object])

_MARK = "_asks_once"


def single_question(call: F) -> F:
    """Mark a call."""
    setattr(call, _MARK, True)
    return call


def asks_once(call: object, *arguments: object) -> bool:
    """Whether a call was marked (one that overrides it was not) and can be begun twice with these
    arguments, none of which may be an iterator."""
    if not hasattr(call, _MARK):
        return False
    return not any(hasattr(each, "__next__") for each in arguments)
