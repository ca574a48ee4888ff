"""Records: named tuples as msgpack arrays, validated field by field on both sides.

Owns the mapping between a record class and its bytes. A record is an array in field order;
missing trailing fields take their defaults (an older peer), surplus ones are ignored (a newer
peer). Decoding never allocates more than a small multiple of ``limits.RECORD_BYTES``.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import msgpack

from memfs import limits
from memfs.errors import ProtocolError
from memfs.types import Buffer

R = TypeVar("R", bound=NamedTuple)
_Check = Callable[[Any], Any]

_INT_MIN, _INT_MAX = -(1 << 63), (1 << 64) - 1

_packer = msgpack.Packer(use_bin_type=True, autoreset=True)


def encode(record: NamedTuple) -> bytes:
    """The bytes of a record. Raises ProtocolError when it exceeds a record's limit."""
    try:
        raw: bytes = _packer.pack(record)
    except (TypeError, ValueError, OverflowError) as error:
        raise ProtocolError(f"{type(record).__name__} cannot be encoded: {error}") from None
    if len(raw) > limits.RECORD_BYTES:
        raise ProtocolError(
            f"{type(record).__name__} takes {len(raw)} bytes, {limits.RECORD_BYTES} is the limit"
        )
    return raw


def decode(cls: type[R], raw: Buffer) -> R:
    """A validated record of class ``cls`` from its bytes. Raises ProtocolError."""
    if len(raw) > limits.RECORD_BYTES:
        raise ProtocolError(f"a record of {len(raw)} bytes, {limits.RECORD_BYTES} is the limit")
    try:
        values = msgpack.unpackb(
            raw,
            raw=False,
            use_list=False,
            strict_map_key=True,
            max_str_len=limits.RECORD_BYTES,
            max_bin_len=limits.RECORD_BYTES,
            max_array_len=limits.RECORD_ELEMENTS,
            max_map_len=0,
            max_ext_len=0,
        )
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise ProtocolError(f"record is no msgpack array: {error}") from None
    try:
        return typing.cast(R, _checker(cls)(values))
    except _Mismatch as error:
        raise ProtocolError(f"{cls.__name__}: {error}") from None


class _Mismatch(Exception):
    """A value does not fit its field."""


def _int(value: Any) -> int:
    if type(value) is not int or not _INT_MIN <= value <= _INT_MAX:
        raise _Mismatch(f"{_show(value)} is no 64-bit integer")
    return value


def _exactly(kind: type) -> _Check:
    def check(value: Any) -> Any:
        if type(value) is not kind:
            raise _Mismatch(f"{_show(value)} is no {kind.__name__}")
        return value

    return check


def _sequence(item: _Check) -> _Check:
    def check(value: Any) -> Any:
        if type(value) is not tuple:
            raise _Mismatch(f"{_show(value)} is no array")
        return tuple(map(item, value))

    return check


def _optional(item: _Check) -> _Check:
    return lambda value: None if value is None else item(value)


def _float(value: Any) -> float:
    if type(value) is not float and type(value) is not int:
        raise _Mismatch(f"{_show(value)} is no number")
    return float(value)


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _check_of(hint: Any) -> _Check:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is int:
        return _int
    if hint is float:
        return _float
    if hint in (str, bytes, bool):
        return _exactly(hint)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return _sequence(_check_of(arguments[0]))
    if origin in (typing.Union, types.UnionType) and len(arguments) == 2:
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return _optional(_check_of(inner))
    if isinstance(hint, type) and hasattr(hint, "_fields"):
        return _checker(hint)
    raise TypeError(f"{hint!r} cannot be a field of a record")


@functools.cache
def _checker(cls: type) -> _Check:
    """Compile the check of a record class: array in, instance out."""
    hints = typing.get_type_hints(cls)
    fields: tuple[str, ...] = cls._fields  # type: ignore[attr-defined]
    checks = tuple(_check_of(hints[name]) for name in fields)
    count = len(fields)
    required = count - len(cls._field_defaults)  # type: ignore[attr-defined]
    make = functools.partial(tuple.__new__, cls)

    def check(values: Any) -> Any:
        if type(values) is not tuple:
            raise _Mismatch(f"{_show(values)} is no array")
        if len(values) == count:
            return make([check(value) for check, value in zip(checks, values, strict=True)])
        if len(values) < required:
            raise _Mismatch(f"{len(values)} fields, {required} are required")
        given = values[:count]
        return cls(*[check(value) for check, value in zip(checks, given, strict=False)])

    return check
