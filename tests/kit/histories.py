"""Handmade histories: ``call("w", 1, 2, "a")`` is a write of ``a`` between second 1 and 2."""

from __future__ import annotations

from memfs.testing.history import NEVER, Call, Outcome


def call(name, begin, end, argument=None, result=None, *, process="p", outcome=None, key="k"):
    """``end`` None: never answered."""
    made = Call(process, key, name, argument, float(begin))
    made.returned = NEVER if end is None else float(end)
    made.outcome = outcome or (Outcome.UNKNOWN if end is None else Outcome.OK)
    made.result = result
    return made


def write(begin, end, value, **options):
    return call("write", begin, end, value, **options)


def read(begin, end, value, **options):
    return call("read", begin, end, None, value, **options)


def kinds(violations):
    return [violation.kind.value for violation in violations]
