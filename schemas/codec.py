"""Wire structs to bytes and back, with exactly one encoding per message.

A message is a positional msgpack array of integers (at most 64 bits), text, byte strings,
booleans, nil and nested arrays. Floats, maps and extension types do not exist on the wire:
a map would have as many encodings as orders of its keys, a float has several zeros and NaNs.
Whatever does not encode back to the very bytes received is refused, so that a hash of bytes
is a hash of meaning.
"""

import re
from typing import Any, TypeVar, dataclass_transform

import msgpack
import msgspec

from crypto.errors import LocalProtocolError
from schemas.errors import MalformedMessageError, MessageTooLargeError

T = TypeVar("T")

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 8
# Each value costs up to some 60 bytes of memory beside its content, so that a hostile message
# of empty arrays cannot take more than a few MiB. Anything long is one byte string.
MAX_VALUES = 65_536

_FIXED_WIDTH = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_LENGTH_WIDTH = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_COUNT_WIDTH = {0xDC: 2, 0xDD: 4}
_NIL_FALSE_TRUE = (0xC0, 0xC2, 0xC3)

# msgspec names the place as "… - at `$[3][0]`"; the rest of its text may quote the value.
_PLACE = re.compile(r"at `(\$[\[\].0-9]*)`\Z")


# Tells type checkers what msgspec does at run time: subclasses inherit `frozen`.
@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class WireStruct(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Base of everything that travels or is stored: an immutable positional record.

    Field types: int, bool, str, bytes, tuples, enums, other wire structs. A subclass of a
    subclass repeats no options; msgspec inherits them.
    """


def encode(message: msgspec.Struct) -> bytes:
    """Return the one encoding of a wire struct.

    Raises:
        LocalProtocolError: A field holds what cannot travel (a float, a map, an integer above
            64 bits, arrays too deep or too many). A bug on this side.
    """
    try:
        data = _pack(message)
        _scan(data)
    except (TypeError, ValueError, OverflowError, MalformedMessageError) as error:
        # The original text may quote a value.
        raise LocalProtocolError(f"{type(message).__name__} cannot travel ({type(error).__name__})") from None
    return data


def decode(type_: type[T], data: bytes, max_bytes: int = MAX_MESSAGE_BYTES) -> T:
    """Read the one encoding of `type_`, or refuse.

    Args:
        type_: A wire struct, or anything built of them that msgspec can convert to.
        data: The exact bytes received.
        max_bytes: Larger for a body put together from parts.

    Raises:
        MessageTooLargeError: `data` is longer than `max_bytes`; nothing was read.
        MalformedMessageError: Anything else that is not the encoding of a `type_`.
    """
    return convert(type_, unpack(data, max_bytes), data)


def unpack(data: bytes, max_bytes: int = MAX_MESSAGE_BYTES) -> object:
    """Read the structure of a message into lists, text, bytes and integers, safely bounded.

    Raises:
        MessageTooLargeError: `data` is longer than `max_bytes`; nothing was read.
        MalformedMessageError: `data` is not one bounded msgpack value of allowed kinds.
    """
    if len(data) > max_bytes:
        raise MessageTooLargeError(len(data), max_bytes)
    _scan(data)
    try:
        value: object = msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            max_array_len=MAX_VALUES,
            max_map_len=0,
            max_ext_len=0,
            max_str_len=max_bytes,
            max_bin_len=max_bytes,
        )
    except (ValueError, msgpack.UnpackException):
        # Left after the scan: text that is not UTF-8.
        raise MalformedMessageError("not readable as msgpack") from None
    return value


def convert(type_: type[T], value: object, data: bytes) -> T:
    """Turn the unpacked `value` of `data` into a `type_`; refuse if it does not encode to `data`.

    Raises:
        MalformedMessageError: The value is not a `type_`, or `data` is another encoding of it.
    """
    name = getattr(type_, "__name__", "message")
    try:
        message = msgspec.convert(value, type_, builtin_types=(bytes,), strict=True)
    except msgspec.ValidationError as error:
        place = _PLACE.search(str(error))
        raise MalformedMessageError(f"not a {name} at {place.group(1) if place else '$'}") from None
    if _pack(message) != data:
        raise MalformedMessageError(f"not the canonical encoding of a {name}")
    return message


def _pack(message: Any) -> bytes:
    builtins = msgspec.to_builtins(message, builtin_types=(bytes,), order="deterministic")
    packed: bytes = msgpack.packb(builtins, use_bin_type=True)
    return packed


def _scan(data: bytes) -> None:  # noqa: PLR0912 - one branch per kind of msgpack tag
    """Walk the encoding without building anything; raise unless it is one bounded, allowed value."""
    size, position, values = len(data), 0, 0
    missing: list[int] = []  # values still to come, per open array
    while True:
        if position >= size:
            raise MalformedMessageError("truncated")
        values += 1
        if values > MAX_VALUES:
            raise MalformedMessageError(f"more than {MAX_VALUES} values")
        tag = data[position]
        position += 1
        count = 0
        if tag < 0x80 or tag >= 0xE0 or tag in _NIL_FALSE_TRUE:
            pass
        elif 0x90 <= tag < 0xA0:
            count = tag & 0x0F
        elif 0xA0 <= tag < 0xC0:
            position += tag & 0x1F
        elif tag in _FIXED_WIDTH:
            position += _FIXED_WIDTH[tag]
        elif tag in _LENGTH_WIDTH:
            end = position + _LENGTH_WIDTH[tag]
            position = end + int.from_bytes(data[position:end], "big")
        elif tag in _COUNT_WIDTH:
            end = position + _COUNT_WIDTH[tag]
            count = int.from_bytes(data[position:end], "big")
            position = end
        else:
            raise MalformedMessageError("a float, map or extension type")
        if position > size:
            raise MalformedMessageError("truncated")
        if count:
            missing.append(count)
            if len(missing) > MAX_DEPTH:
                raise MalformedMessageError(f"nested deeper than {MAX_DEPTH}")
            continue
        while missing and missing[-1] == 1:
            missing.pop()
        if not missing:
            break
        missing[-1] -= 1
    if position != size:
        raise MalformedMessageError("trailing bytes")
