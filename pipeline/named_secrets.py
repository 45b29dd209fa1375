"""Secrets by name, as a keystore holds them in memory."""

from collections.abc import Iterator, Mapping
from typing import NoReturn


class Secrets(Mapping[str, bytes]):
    """Named secrets that neither show their values nor let themselves be pickled or copied."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, bytes]) -> None:
        for name, value in values.items():
            if not isinstance(name, str) or not isinstance(value, bytes):
                raise TypeError("secrets are bytes under a text name")
        self._values = dict(values)

    def __getitem__(self, name: str) -> bytes:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Secrets(<{len(self._values)} hidden>)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("secrets are not pickled")
