"""Records: named tuples as msgpack arrays, validated field by field.

Owns the mapping between a record class and its bytes. A record is an array in field order;
missing trailing fields take their defaults (an older peer), surplus ones are ignored (a newer
peer). Invariant: what :func:`decode` returns has exactly the types that its class declares, and
decoding allocates less than ``limits.RECORD_MEMORY``.
"""

from __future__ import annotations

import enum
import functools
import types
import typing
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import msgpack

from memfs import limits
from memfs.errors import InvalidArgumentError, ProtocolError
from memfs.protocol.bombs import check_cost
from memfs.types import Buffer

R = TypeVar("R")
_Convert = Callable[[Any], Any]

_packer = msgpack.Packer(use_bin_type=True, autoreset=True)


def encode(record: object, limit: int = limits.RECORD_BYTES) -> bytes:
    """The bytes of a record. Raises ProtocolError when it exceeds ``limit``.

    InvalidArgumentError for a number or text that no message can carry.
    """
    try:
        raw: bytes = _packer.pack(record)
    except OverflowError:
        raise InvalidArgumentError("a number is out of range: messages have 64 bits") from None
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(f"{error.object!r} is not valid Unicode") from None
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"{type(record).__name__} cannot be encoded: {error}") from None
    if len(raw) > limit:
        raise ProtocolError(f"{type(record).__name__} takes {len(raw)} bytes, {limit} is the limit")
    return raw


def check(record: object) -> None:
    """Raise TypeError for a field that is not of its type, before a peer finds it."""
    cls: type = type(record)
    _checker(cls)(record)


def decode(cls: type[R], raw: Buffer, limit: int = limits.RECORD_BYTES) -> R:
    """A validated record of class ``cls`` from at most ``limit`` bytes. Raises ProtocolError."""
    check_cost(raw, limit)
    try:
        values = msgpack.unpackb(
            raw, use_list=False, max_array_len=limits.ARRAY_ELEMENTS, max_map_len=0, max_ext_len=0
        )
        if type(values) is not tuple:
            raise _Mismatch(f"{_show(values)} is no array")
        return _converter(cls)(values)  # type: ignore[arg-type, no-any-return]
    except _Mismatch as error:
        raise ProtocolError(f"{cls.__name__}: {error}") from None
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise ProtocolError(f"{cls.__name__} is no msgpack array: {error}") from None


class _Mismatch(Exception):
    """A value does not fit its field."""


class _Field(NamedTuple):
    """What a field accepts from msgpack."""

    kinds: tuple[type, ...]
    """Types of the plain value; those of msgpack, so an ``int`` has at most 64 bits."""
    convert: _Convert | None = None
    """Turns a plain value of the right type into the field's, None: it is that already."""

    def test(self, name: str) -> str:
        """Source that tells whether the value called ``name`` has the right type."""
        tests = [
            f"{name} is None" if kind is types.NoneType else f"{name}.__class__ is {kind.__name__}"
            for kind in self.kinds
        ]
        return f"({' or '.join(tests)})"


def _field(hint: object) -> _Field:
    """Compile one type hint."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in (int, str, bytes, bool):
        return _Field((hint,))
    if hint is float:
        return _Field((float, int), float)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return _Field((tuple,), _sequence(_field(arguments[0])))
    if origin in (typing.Union, types.UnionType) and len(arguments) == 2:
        (inner,) = (_field(item) for item in arguments if item is not types.NoneType)
        return _Field((*inner.kinds, types.NoneType), inner.convert and _optional(inner.convert))
    if isinstance(hint, type) and hasattr(hint, "_fields"):
        return _Field((tuple,), _converter(hint))
    raise TypeError(f"{hint!r} cannot be a field of a record")


def _optional(convert: _Convert) -> _Convert:
    return lambda value: None if value is None else convert(value)


def _sequence(item: _Field) -> _Convert:
    """Convert an array of equal items."""
    kinds, convert = frozenset(item.kinds), item.convert

    def check(values: tuple[object, ...]) -> tuple[object, ...]:
        if not kinds.issuperset(map(type, values)):
            wrong = next(value for value in values if type(value) not in kinds)
            raise _Mismatch(f"{_show(wrong)} in an array of {_names(item.kinds)}")
        return values if convert is None else tuple(map(convert, values))

    return check


_CHECK_SOURCE = """\
def check(values):
    [{names}] = values
    if not ({tests}):
        complain(values)
"""


@functools.cache
def _checker(cls: type) -> _Convert:
    """Compile the check of a record class, as :func:`_converter` does: one expression, no call."""
    hints = typing.get_type_hints(cls)
    fields = {name: _held(hints[name]) for name in cls._fields}  # type: ignore[attr-defined]
    tests = [field.test(f"v{index}") for index, field in enumerate(fields.values())]
    source = _CHECK_SOURCE.format(
        names=", ".join(f"v{index}" for index in range(len(fields))),
        tests=" and ".join(tests) or "True",
    )
    kinds = {kind.__name__: kind for field in fields.values() for kind in field.kinds}
    scope = {**kinds, "complain": _complainer(fields)}
    exec(source, scope)
    return typing.cast(_Convert, scope["check"])


def _held(hint: object) -> _Field:
    """What a field holds in a record that was made here: nested records still have their class."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    options = typing.get_args(hint) if union else (hint,)
    records = [each for each in options if isinstance(each, type) and hasattr(each, "_fields")]
    return _Field((*_field(hint).kinds, *records))


def _complainer(fields: dict[str, _Field]) -> _Convert:
    def complain(values: tuple[object, ...]) -> None:
        for value, (name, field) in zip(values, fields.items(), strict=True):
            number = isinstance(value, enum.IntEnum) and int in field.kinds
            if type(value) not in field.kinds and not number:
                given = type(value).__name__
                raise TypeError(f"{name} must be {_names(field.kinds)}, not {given}")

    return complain


_SOURCE = """\
def convert(values):
    if len(values) == {count}:
        [{names}] = values
        if {tests}:
            return new(cls, {result})
    return fit(values)
"""


@functools.cache
def _converter(cls: type) -> _Convert:
    """Compile a record class: plain tuple in, instance out.

    As ``dataclasses`` does, from source text: a record that has all of its fields is checked by
    one expression without a call. Whatever does not pass is looked at field by field.
    """
    hints = typing.get_type_hints(cls)
    fields = {name: _field(hints[name]) for name in cls._fields}  # type: ignore[attr-defined]
    names = {f"v{index}": field for index, field in enumerate(fields.values())}
    converts = {f"convert_{name}": field.convert for name, field in names.items() if field.convert}
    converted = [f"convert_{name}({name})" if names[name].convert else name for name in names]
    source = _SOURCE.format(
        count=len(names),
        names=", ".join(names),
        tests=" and ".join(field.test(name) for name, field in names.items()) or "True",
        result=f"({', '.join(converted)},)" if converts else "values",
    )
    scope = {**converts, "new": tuple.__new__, "cls": cls, "fit": _fitter(cls, fields)}
    exec(source, scope)
    return typing.cast(_Convert, scope["convert"])


def _fitter(cls: type, fields: dict[str, _Field]) -> _Convert:
    """Convert what an older or newer peer sent; name the first field that is wrong."""
    defaults = tuple(cls._field_defaults.values())  # type: ignore[attr-defined]
    required = len(fields) - len(defaults)

    def fit(values: tuple[object, ...]) -> object:
        if len(values) < required:
            raise _Mismatch(f"{len(values)} fields, {required} are required")
        fitted = []
        for value, (name, field) in zip(values, fields.items(), strict=False):
            if type(value) not in field.kinds:
                raise _Mismatch(f"{name}: {_show(value)} is no {_names(field.kinds)}")
            fitted.append(field.convert(value) if field.convert else value)
        return cls(*fitted, *defaults[len(fitted) - required :])

    return fit


def _names(kinds: tuple[type, ...]) -> str:
    return " or ".join("None" if kind is types.NoneType else kind.__name__ for kind in kinds)


def _show(value: object) -> str:
    """A few characters of a value, whatever its size."""
    if isinstance(value, tuple | dict):
        return f"a {type(value).__name__} of {len(value)}"
    return (
        repr(value[:20]) + "..." if isinstance(value, str | bytes) and value[20:] else repr(value)
    )
