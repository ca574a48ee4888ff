"""Values of any record class, derived from its type hints."""

from __future__ import annotations

import functools
import types
import typing

from hypothesis import strategies as st

from memfs.protocol.messages import BY_OPCODE, ErrorReply

RECORD_CLASSES = sorted(
    {cls for spec in BY_OPCODE.values() for cls in (spec.request, spec.reply)} | {ErrorReply},
    key=lambda cls: cls.__name__,
)

_SCALARS = {
    int: st.integers(-(1 << 63), (1 << 64) - 1),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    str: st.text(max_size=12),
    bytes: st.binary(max_size=12),
}


@functools.cache
def values_of(hint):
    """A strategy for one type hint of a record."""
    if hint in _SCALARS:
        return _SCALARS[hint]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return st.lists(values_of(arguments[0]), max_size=3).map(tuple)
    if origin in (typing.Union, types.UnionType):
        return st.one_of(
            st.none() if argument is types.NoneType else values_of(argument)
            for argument in arguments
        )
    hints = typing.get_type_hints(hint)
    return st.builds(hint, *(values_of(hints[name]) for name in hint._fields))


records = st.sampled_from(RECORD_CLASSES).flatmap(values_of)
"""Any record of any class."""
