import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.errors import LocalProtocolError
from schemas import codec
from schemas.codec import WireStruct, decode, encode, unpack
from schemas.errors import MalformedMessageError, MessageTooLargeError


class Inner(WireStruct):
    number: int
    flag: bool


class Sample(WireStruct):
    name: str
    blob: bytes
    items: tuple[Inner, ...]
    maybe: int | None = None


class Nested(WireStruct):
    value: object


samples = st.builds(
    Sample,
    st.text(st.characters(exclude_categories=["Cs"])),
    st.binary(max_size=300),
    st.lists(st.builds(Inner, st.integers(-(2**63), 2**64 - 1), st.booleans()), max_size=20).map(tuple),
    st.none() | st.integers(-(2**63), 2**64 - 1),
)
SAMPLE = Sample("name", bytes(range(256)), (Inner(2**64 - 1, True), Inner(-1, False)), 7)


@given(samples)
def test_what_is_encoded_is_decoded(sample: Sample) -> None:
    assert decode(Sample, encode(sample)) == sample


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_any_bytes_are_read_canonically_or_refused(data: bytes) -> None:
    try:
        sample = decode(Sample, data)
    except MalformedMessageError:
        return
    assert encode(sample) == data


@given(st.integers(0, len(encode(SAMPLE)) - 1), st.integers(1, 255))
@settings(max_examples=300)
def test_a_changed_byte_is_another_message_or_none(position: int, change: int) -> None:
    data = bytearray(encode(SAMPLE))
    data[position] ^= change
    try:
        sample = decode(Sample, bytes(data))
    except MalformedMessageError:
        return
    assert sample != SAMPLE
    assert encode(sample) == bytes(data)


@given(st.integers(0, len(encode(SAMPLE)) - 1))
def test_a_cut_message_is_refused(length: int) -> None:
    with pytest.raises(MalformedMessageError, match="truncated"):
        decode(Sample, encode(SAMPLE)[:length])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "truncated"),
        (encode(SAMPLE) + b"\x00", "trailing"),
        (msgpack.packb([1.0, False]), "float"),
        (msgpack.packb([float("nan"), False]), "float"),
        (b"\x92\xca\x00\x00\x00\x00\xc2", "float"),
        (msgpack.packb({"number": 1, "flag": False}), "map"),
        (b"\xde\x00\x00", "map"),
        (msgpack.packb(msgpack.ExtType(5, b"x")), "extension"),
        (b"\x92\xc1\xc2", "extension"),
        (b"\x92\xcc\x01\xc2", "canonical"),  # 1 in two bytes
        (b"\xdc\x00\x02\x01\xc2", "canonical"),  # a long array header
        (msgpack.packb([1]), "not a Inner"),
        (msgpack.packb([1, False, 3]), "not a Inner"),
        (msgpack.packb([True, False]), "not a Inner"),
        (msgpack.packb([1, 0]), "not a Inner"),
        (msgpack.packb([None, False]), "not a Inner"),
    ],
)
def test_everything_else_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(MalformedMessageError, match=why) as refused:
        decode(Inner, data)
    assert refused.value.code == "malformed"


def test_base64_text_is_not_bytes() -> None:
    with pytest.raises(MalformedMessageError):
        decode(Sample, msgpack.packb(["name", "AAAA", [], None]))


def test_bytes_are_not_text_and_text_is_utf8() -> None:
    with pytest.raises(MalformedMessageError):
        decode(Sample, msgpack.packb([b"name", b"", [], None]))
    with pytest.raises(MalformedMessageError):
        decode(Sample, b"\x94\xa1\xff\xc4\x00\x90\xc0")


def test_a_default_is_written_out() -> None:
    # Leaving the trailing field away would be a second encoding.
    with pytest.raises(MalformedMessageError, match="canonical"):
        decode(Sample, msgpack.packb(["name", b"", []]))


def test_depth_is_bounded() -> None:
    assert unpack(b"\x91" * 8 + b"\x01") == [[[[[[[[1]]]]]]]]
    with pytest.raises(MalformedMessageError, match="deeper"):
        unpack(b"\x91" * 9 + b"\x01")
    with pytest.raises(MalformedMessageError, match="deeper"):
        unpack(b"\x91" * 100_000)


def test_values_are_bounded_before_anything_is_built() -> None:
    count = codec.MAX_VALUES
    assert len(unpack(b"\xdd" + (count - 1).to_bytes(4, "big") + b"\x90" * (count - 1))) == count - 1  # type: ignore[arg-type]
    with pytest.raises(MalformedMessageError, match="more than"):
        unpack(b"\xdd" + count.to_bytes(4, "big") + b"\x90" * count)
    with pytest.raises(MalformedMessageError, match="truncated"):
        unpack(b"\xdd\xff\xff\xff\xff")
    with pytest.raises(MalformedMessageError, match="truncated"):
        unpack(b"\xc6\xff\xff\xff\xff")


def test_size_is_checked_first() -> None:
    with pytest.raises(MessageTooLargeError) as refused:
        decode(Inner, bytes(101), max_bytes=100)
    assert (refused.value.size, refused.value.limit, refused.value.code) == (101, 100, "too_large")


@pytest.mark.parametrize("value", [1.0, {"a": 1}, 2**64, -(2**63) - 1, "\ud800", object(), [[[[[[[[1]]]]]]]]])
def test_what_cannot_travel_is_a_bug_here(value: object) -> None:
    with pytest.raises(LocalProtocolError):
        encode(Nested(value))


def test_errors_repeat_nothing_of_the_message() -> None:
    with pytest.raises(MalformedMessageError) as refused:
        decode(Sample, msgpack.packb(["name", b"", "canary", None]))
    assert "canary" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_structs_are_immutable() -> None:
    with pytest.raises(AttributeError):
        SAMPLE.name = "other"  # type: ignore[misc]
