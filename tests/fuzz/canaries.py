"""Secrets that must not show, and the search for them in every form in which something could write them."""

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

# Shorter ones would be found by chance.
MIN_BYTES = 8
_KEY_BYTES = 8


def forms_of(value: bytes | int) -> Iterator[bytes]:
    """Yield a value as raw bytes, hexadecimal, base64 at any alignment, decimal, and as Python shows it."""
    if isinstance(value, int):
        size = (value.bit_length() + 7) // 8
        yield str(value).encode()
        yield from _bytes_forms(value.to_bytes(size, "big"))
        yield from _bytes_forms(value.to_bytes(size, "little"))
        yield f"{value:x}".encode()
    else:
        yield from _bytes_forms(value)
        yield str(int.from_bytes(value, "big")).encode()
        yield str(int.from_bytes(value, "little")).encode()
        yield repr(value)[2:-1].encode()
        yield str(list(value))[1:-1].encode()
        # As arrays of 64-bit words show themselves.
        for start in range(0, min(len(value), 64) - 7, 8):
            yield str(int.from_bytes(value[start : start + 8], "little")).encode()


def _bytes_forms(value: bytes) -> Iterator[bytes]:
    yield value
    yield value.hex().encode()
    yield value.hex().upper().encode()
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + value)
        # Without the characters that hold bits of what stands before and behind.
        inner = encoded[-(-8 * shift // 6) : 8 * (shift + len(value)) // 6]
        yield inner
        yield inner.translate(bytes.maketrans(b"+/", b"-_"))


@dataclass(slots=True)
class Canaries:
    """Named secrets, thousands of them, found in one pass over the data.

    Attributes:
        values: The secrets by name.
    """

    values: dict[str, bytes | int] = field(default_factory=dict)
    _seen: set[bytes | int] = field(default_factory=set)
    _forms: dict[int, list[tuple[str, bytes]]] = field(default_factory=dict)
    _keys: "np.ndarray | None" = None

    def add(self, name: str, value: bytes | int) -> None:
        """Add a secret of at least `MIN_BYTES`; shorter ones are passed over."""
        size = (value.bit_length() + 7) // 8 if isinstance(value, int) else len(value)
        # Zeros and the like are everywhere.
        content = value.to_bytes(size, "big") if isinstance(value, int) else value
        if size < MIN_BYTES or len(set(content)) < MIN_BYTES // 2 or value in self._seen:
            return
        self._seen.add(value)
        name = f"{name} #{len(self.values)}"
        self.values[name] = value
        for form in forms_of(value):
            if len(form) >= _KEY_BYTES:
                self._forms.setdefault(_key(form), []).append((name, form))
        self._keys = None

    def discard(self, public: Iterable[bytes]) -> None:
        """Forget what turned out to be public."""
        gone = set(public)
        kept = [(name, value) for name, value in self.values.items() if value not in gone]
        self.values, self._seen, self._forms, self._keys = {}, set(), {}, None
        for name, value in kept:
            self.add(name.split(" #", maxsplit=1)[0], value)

    def found_in(self, data: bytes | str) -> list[str]:
        """Return the names of the secrets that show in the data."""
        content = data.encode("utf-8", errors="surrogateescape") if isinstance(data, str) else data
        if len(content) < _KEY_BYTES:
            return []
        if self._keys is None:
            self._keys = np.sort(np.fromiter(self._forms, dtype=np.uint64, count=len(self._forms)))
        windows = np.lib.stride_tricks.sliding_window_view(np.frombuffer(content, dtype=np.uint8), _KEY_BYTES)
        keys = np.ascontiguousarray(windows).view("<u8").reshape(-1)
        nearest = self._keys[np.searchsorted(self._keys[:-1], keys)]
        places = np.flatnonzero(nearest == keys)
        return sorted(
            {
                name
                for place in places.tolist()
                for name, form in self._forms[int(keys[place])]
                if content.startswith(form, place)
            }
        )

    def found_below(self, folder: Path) -> dict[str, list[str]]:
        """Return the names of the secrets that show in the files of a folder, by file."""
        found = {}
        for path in sorted(folder.rglob("*")):
            if path.is_file() and (names := self.found_in(path.read_bytes())):
                found[str(path.relative_to(folder))] = names
        return found


def _key(form: bytes) -> int:
    return int.from_bytes(form[:_KEY_BYTES], "little")
