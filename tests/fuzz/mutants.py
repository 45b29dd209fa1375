"""Messages made of valid ones: changed bits and lengths, changed fields, pieces of two messages.

Bytes are changed without a thought; msgpack is changed with its structure in view, so that a
mutant gets past the outer checks and reaches the inner ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgpack
from fuzz.drawing import Draws

_BORDERS = tuple(2**power + by for power in (0, 7, 8, 15, 16, 31, 32, 53, 62, 63) for by in (-1, 0, 1))
INTEGERS = (*_BORDERS, *(-number for number in _BORDERS), 2**64 - 1)
WIRE_INTEGERS = tuple(number for number in INTEGERS if -(2**63) <= number < 2**64)
"""Integers at the borders of what msgpack holds."""

_LENGTHS = (0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536, 2**31, 2**32 - 1)
_TAGS = tuple(range(0x80, 0xE0))


class Strange:
    """Values that no message of the project holds."""

    floats = (0.0, -0.0, 1.0, 1e308, float("inf"), float("nan"))
    maps: tuple[object, ...] = ({}, {"a": 1}, {"a": {"b": []}})
    others: tuple[object, ...] = (
        msgpack.ExtType(5, b"x"),
        msgpack.Timestamp(1, 0),
        None,
        True,
        False,
        "",
        b"",
        [],
        "\x00",
        "é" * 40,
        "x" * 300,
        bytes(300),
    )


@dataclass(frozen=True, slots=True)
class Corpus:
    """Valid messages to make mutants of.

    Attributes:
        messages: Their bytes.
        trees: The same unpacked, one each, if they are msgpack.
    """

    messages: Sequence[bytes]
    trees: Sequence[Any] = field(default=())

    @classmethod
    def of_msgpack(cls, messages: Sequence[bytes]) -> "Corpus":
        """Return a corpus of msgpack messages."""
        return cls(messages, [msgpack.unpackb(message) for message in messages])

    def mutant(self, draws: Draws) -> tuple[bytes, bool]:
        """Return a mutant, and whether it differs from what it was made of."""
        index = draws.below(len(self.messages))
        source = self.messages[index]
        if not self.trees or draws.chance(3):
            changed = mutate_bytes(draws, source, draws.pick(self.messages))
        elif draws.chance(4):
            changed = mutate_header(draws, source)
        else:
            tree = self.trees[index]
            for _ in range(draws.pick((1, 1, 1, 2, 4))):
                tree = mutate_tree(draws, tree, draws.pick(self.trees))
            changed = bytes(msgpack.packb(tree))
        return changed, changed != source


def mutate_bytes(draws: Draws, data: bytes, other: bytes) -> bytes:
    """Return the message changed without regard to its structure."""
    return draws.pick(_BYTE_MUTATORS)(draws, data, other)


def _flip(draws: Draws, data: bytes, other: bytes) -> bytes:
    if not data:
        return other
    changed = bytearray(data)
    for _ in range(draws.pick((1, 1, 1, 2, 8))):
        changed[draws.below(len(changed))] ^= 1 << draws.below(8)
    return bytes(changed)


def _overwrite(draws: Draws, data: bytes, _: bytes) -> bytes:
    width = draws.pick((1, 2, 4, 8))
    at = draws.below(max(1, len(data) - width))
    value = draws.pick((bytes(width), b"\xff" * width, b"\x7f" + b"\xff" * (width - 1), draws.bytes(width)))
    return data[:at] + value + data[at + width :]


def _truncate(draws: Draws, data: bytes, _: bytes) -> bytes:
    return data[: draws.below(len(data) + 1)]


def _extend(draws: Draws, data: bytes, other: bytes) -> bytes:
    return data + draws.pick((b"\x00", other, data, draws.up_to(40)))


def _splice(draws: Draws, data: bytes, other: bytes) -> bytes:
    return data[: draws.below(len(data) + 1)] + other[draws.below(len(other) + 1) :]


def _cut(draws: Draws, data: bytes, _: bytes) -> bytes:
    at = draws.below(len(data) + 1)
    return data[:at] + data[at + 1 + draws.below(16) :]


def _repeat(draws: Draws, data: bytes, _: bytes) -> bytes:
    at = draws.below(len(data) + 1)
    piece = data[at : at + 1 + draws.below(16)]
    return data[:at] + piece * draws.pick((1, 2, 30)) + data[at:]


_BYTE_MUTATORS: tuple[Callable[[Draws, bytes, bytes], bytes], ...] = (
    *(_flip,) * 3, _overwrite, _truncate, _extend, _splice, _cut, _repeat,
)  # fmt: skip


# --- fields


def mutate_tree(draws: Draws, tree: Any, other: Any) -> Any:
    """Return an unpacked message with one field changed, added, dropped or moved; a copy where changed."""
    if isinstance(tree, list) and tree and not draws.chance(12):
        at = draws.below(len(tree))
        if draws.chance(5):
            return _change_array(draws, tree, at, other)
        inner = other[at] if isinstance(other, list) and at < len(other) else other
        return [*tree[:at], mutate_tree(draws, tree[at], inner), *tree[at + 1 :]]
    if draws.chance(3):
        return _strange(draws, tree, other)
    return _change_leaf(draws, tree, other)


def _change_array(draws: Draws, tree: list[Any], at: int, other: Any) -> Any:
    to = draws.below(len(tree))
    match draws.below(6):
        case 0:
            return [*tree[:at], *tree[at + 1 :]]
        case 1:
            return [*tree[:at], tree[to], *tree[at:]]
        case 2:
            return [*tree, draws.pick(WIRE_INTEGERS)]
        case 3:
            changed = list(tree)
            changed[at], changed[to] = changed[to], changed[at]
            return changed
        case 4:
            return [*tree[:at], other, *tree[at + 1 :]]
        case _:
            return tree * draws.pick((0, 2, 3))


def _change_leaf(draws: Draws, leaf: Any, other: Any) -> Any:
    if isinstance(leaf, bool):
        return draws.pick((not leaf, int(leaf)))
    if isinstance(leaf, int):
        number = draws.pick(
            (leaf + 1, leaf - 1, -leaf, leaf ^ 1 << draws.below(63), draws.pick(WIRE_INTEGERS))
        )
        return min(max(number, -(2**63)), 2**64 - 1)
    if isinstance(leaf, bytes):
        return mutate_bytes(draws, leaf, other if isinstance(other, bytes) else b"")
    if isinstance(leaf, str):
        changed = mutate_bytes(draws, leaf.encode(), other.encode() if isinstance(other, str) else b"")
        return changed.decode("latin-1" if draws.chance(2) else "utf-8", errors="replace")
    return other


def _strange(draws: Draws, tree: Any, other: Any) -> Any:
    match draws.below(7):
        case 0:
            return draws.pick(WIRE_INTEGERS)
        case 1:
            return draws.pick(Strange.floats)
        case 2:
            return draws.pick(Strange.maps)
        case 3:
            nested = tree
            for _ in range(draws.pick((1, 2, 7, 8, 9, 40, 500))):
                nested = [nested]
            return nested
        case 4:
            # The other kind of the same content.
            if isinstance(tree, bytes):
                return tree.decode("latin-1")
            return tree.encode() if isinstance(tree, str) else str(tree)[:200]
        case 5:
            return other
        case _:
            return draws.pick(Strange.others)


# --- headers


def mutate_header(draws: Draws, data: bytes) -> bytes:
    """Return the message with another kind, length or spelling of one of its values."""
    start, width, size, kind = draws.pick(_headers(data))
    match draws.below(4):
        case 0:
            return data[:start] + bytes([draws.pick(_TAGS)]) + data[start + 1 :]
        case 1:
            return data[:start] + _header(draws, kind, draws.pick(_LENGTHS)) + data[start + width :]
        case 2:
            return (
                data[:start]
                + _header(draws, kind, max(0, size + draws.pick((-1, 1))))
                + data[start + width :]
            )
        case _:
            return data[:start] + _header(draws, kind, size) + data[start + width :]


def _headers(data: bytes) -> list[tuple[int, int, int, str]]:
    """Return (start, width, number or length, kind) of every value of a valid message."""
    found: list[tuple[int, int, int, str]] = []
    at = 0
    while at < len(data):
        tag = data[at]
        kind, width, size = "int", 1, tag
        if 0x90 <= tag < 0xA0:
            kind, size = "array", tag & 0x0F
        elif 0xA0 <= tag < 0xC0:
            kind, size = "text", tag & 0x1F
        elif tag in _WIDTHS:
            kind, bytes_of = _WIDTHS[tag]
            width = 1 + bytes_of
            size = int.from_bytes(data[at + 1 : at + width], "big")
        found.append((at, width, size, kind))
        at += width + (size if kind in {"text", "bytes"} else 0)
    return found


_WIDTHS = {
    0xC4: ("bytes", 1), 0xC5: ("bytes", 2), 0xC6: ("bytes", 4),
    0xCC: ("int", 1), 0xCD: ("int", 2), 0xCE: ("int", 4), 0xCF: ("int", 8),
    0xD0: ("int", 1), 0xD1: ("int", 2), 0xD2: ("int", 4), 0xD3: ("int", 8),
    0xD9: ("text", 1), 0xDA: ("text", 2), 0xDB: ("text", 4),
    0xDC: ("array", 2), 0xDD: ("array", 4),
}  # fmt: skip
_TAGS_OF = {
    kind: tuple((tag, width) for tag, (of, width) in _WIDTHS.items() if of == kind)
    for kind in ("bytes", "int", "text", "array")
}


def _header(draws: Draws, kind: str, size: int) -> bytes:
    """Return one of the spellings of a header; another number if it does not fit."""
    tag, width = draws.pick(_TAGS_OF[kind])
    return bytes([tag]) + (size % (1 << 8 * width)).to_bytes(width, "big")


# --- from nothing


def noise(draws: Draws) -> bytes:
    """Return bytes that were never a message: random ones, or a random msgpack value."""
    if draws.chance(2):
        return draws.bytes(draws.pick((0, 1, 2, 9, 64, 300)))
    packed: bytes = msgpack.packb(_value(draws, 0))
    return packed


def _value(draws: Draws, depth: int) -> Any:
    match draws.below(8 if depth < 3 else 5):
        case 0:
            return draws.pick(WIRE_INTEGERS)
        case 1:
            return draws.up_to(40)
        case 2:
            return draws.up_to(20).decode("latin-1")
        case 3:
            return draws.pick(Strange.others)
        case 4:
            return draws.pick(Strange.floats)
        case 5:
            return draws.pick(Strange.maps)
        case _:
            return [_value(draws, depth + 1) for _ in range(draws.below(12))]
