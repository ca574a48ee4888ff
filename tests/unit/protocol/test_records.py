"""Records: what goes in comes out; what does not fit its class is refused and named."""

from __future__ import annotations

import typing

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memfs import limits
from memfs.errors import InvalidArgumentError, ProtocolError
from memfs.protocol import messages as m
from memfs.protocol.records import check, decode, encode
from memfs.types import Identity

from .strategies import RECORD_CLASSES, records

HELLO = m.Hello(1, 1, "cluster", 0, 99, Identity("ann", ("staff",)))


class Reading(typing.NamedTuple):
    """A record with a number that need not be whole."""

    value: float
    hint: float | None = None


@given(records)
def test_round_trip(record):
    decoded = decode(type(record), encode(record))
    assert decoded == record
    assert_declared_types(decoded)


@given(records, st.data())
def test_a_changed_byte_is_refused_or_still_a_record(record, data):
    raw = bytearray(encode(record))
    if raw:
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    assert_refused_or_typed(type(record), raw)


@given(records, st.data())
def test_a_truncated_record_is_refused_or_still_a_record(record, data):
    raw = encode(record)
    assert_refused_or_typed(type(record), raw[: data.draw(st.integers(0, len(raw)))])


@given(st.sampled_from(RECORD_CLASSES), st.binary(max_size=400))
def test_noise_is_refused_or_a_record(cls, raw):
    assert_refused_or_typed(cls, raw)


def test_missing_fields_take_their_defaults():
    assert decode(m.Lookup, msgpack.packb([b"/a"])) == m.Lookup(b"/a", True, 1)


def test_defaults_keep_their_place():
    assert decode(m.Rename, msgpack.packb([b"/a", b"/b", 2])) == m.Rename(b"/a", b"/b", 2)


def test_surplus_fields_are_ignored():
    assert decode(m.Lookup, msgpack.packb([b"/a", False, 3, True, "new", 5])) == m.Lookup(
        b"/a", False, 3, True
    )


def test_a_whole_number_is_a_number():
    decoded = decode(Reading, msgpack.packb([2, 3]))
    assert decoded == Reading(2.0, 3.0)
    assert type(decoded.value) is type(decoded.hint) is float


@pytest.mark.parametrize(
    ("cls", "values", "complaint"),
    [
        (m.Lookup, ["text", True, 1], "path: 'text' is no bytes"),
        (m.Lookup, [b"/a", 1, 1], "follow: 1 is no bool"),
        (m.Lookup, [b"/a", True, True], "base: True is no int"),
        (m.Lookup, [b"/a", True, None], "base: None is no int"),
        (m.Lookup, [[1, 2]], "path: a tuple of 2 is no bytes"),
        (m.Lookup, [], "0 fields, 1 are required"),
        (m.LookupReply, [[]], "0 fields, 15 are required"),
        (m.SetAttributes, [b"/a", 1.5], "mode: 1.5 is no int or None"),
        (m.ReadFiles, [["x"], 1], "'x' in an array of bytes"),
        (m.ReadFiles, [["x" * 30], 1], r"'xxxxxxxxxxxxxxxxxxxx'\.\.\. in an array"),
        (m.Join, [7], "member: 7 is no tuple"),
    ],
)
def test_the_field_that_is_wrong_is_named(cls, values, complaint):
    with pytest.raises(ProtocolError, match=f"{cls.__name__}: {complaint}"):
        decode(cls, msgpack.packb(values))


@pytest.mark.parametrize(
    "raw",
    [b"", b"\x80", b"\x05", b"\xc1", b"\x91", b"\x91\x81\x01\x02", b"\x90\x90", b"\xc7\x01\x01x"],
)
def test_what_is_no_single_array_is_refused(raw):
    with pytest.raises(ProtocolError):
        decode(m.Lookup, raw)


def test_text_is_utf8():
    with pytest.raises(ProtocolError):
        decode(m.ErrorReply, b"\x93\x01\xa2\xff\xfe\xa0")


def test_records_decode_from_any_buffer():
    raw = encode(HELLO)
    for buffer in (raw, bytearray(raw), memoryview(bytearray(raw))):
        assert decode(m.Hello, buffer) == HELLO


def test_too_long_a_record_is_not_sent():
    with pytest.raises(ProtocolError, match="limit"):
        encode(m.ReadLinkReply(bytes(limits.RECORD_BYTES)))


def test_too_long_a_record_is_not_decoded():
    with pytest.raises(ProtocolError, match="limit"):
        decode(m.ReadLinkReply, msgpack.packb([bytes(limits.RECORD_BYTES)]))


def test_a_number_beyond_64_bits_is_the_callers_mistake():
    with pytest.raises(InvalidArgumentError, match="out of range"):
        encode(m.SetAttributes(b"/", modified_ns=1 << 64))


@pytest.mark.parametrize(
    ("record", "complaint"),
    [
        (m.SetAttributes(b"/x", owner=0), "owner must be str or None, not int"),
        (m.MakeDirectory(b"/x", "755"), "mode must be int, not str"),
        (m.Lookup(b"/x", 1), "follow must be bool, not int"),
        (m.Lookup("/x"), "path must be bytes, not str"),
        (m.ReadFiles("ab", 1), "paths must be tuple, not str"),
    ],
)
def test_a_field_of_another_type_is_found_before_it_is_sent(record, complaint):
    with pytest.raises(TypeError, match=complaint):
        check(record)


def test_numbers_with_names_and_records_in_records_are_fine():
    check(m.ReportCorrupt(m.BlockVersion(1, 2, 3, 4), 3))
    check(m.ChangeAcl(b"/", m.AclChange.SET, ()))


def test_what_cannot_be_encoded_is_refused():
    with pytest.raises(ProtocolError, match="cannot be encoded"):
        encode(m.ReadLinkReply(object()))


@pytest.mark.parametrize(
    ("record", "complaint"),
    [(m.SetAttributes(b"/f", owner="\ud800"), "not valid Unicode"), (m.Pin(b"/f", 1 << 64), "64")],
)
def test_a_value_that_no_message_can_carry_is_the_callers_mistake(record, complaint):
    with pytest.raises(InvalidArgumentError, match=complaint):
        encode(record)


def test_a_class_with_another_kind_of_field_is_a_bug():
    class Odd(typing.NamedTuple):
        value: dict[str, int]

    with pytest.raises(TypeError, match="cannot be a field"):
        decode(Odd, msgpack.packb([1]))


def assert_refused_or_typed(cls, raw):
    """Whatever the bytes are: a record of exactly the declared types, or ProtocolError."""
    try:
        decoded = decode(cls, raw)
    except ProtocolError:
        return
    assert_declared_types(decoded)


def assert_declared_types(record):
    hints = typing.get_type_hints(type(record))
    for name, value in zip(record._fields, record, strict=True):
        assert_is(value, hints[name])


def assert_is(value, hint):
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        assert type(value) is tuple
        for item in value:
            assert_is(item, arguments[0])
    elif origin is not None:
        inner = next(argument for argument in arguments if argument is not type(None))
        if value is not None:
            assert_is(value, inner)
    elif hasattr(hint, "_fields"):
        assert type(value) is hint
        assert_declared_types(value)
    else:
        assert type(value) is hint
