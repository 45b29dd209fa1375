"""Every wire struct of the project, and valid values of each drawn from its type alone."""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import msgspec
from fuzz.drawing import Draws
from msgspec import inspect as kinds

import crypto
import pipeline
import roles
import schemas
from schemas.codec import WireStruct
from schemas.data_schema import (
    Attribute,
    CategoricalAttribute,
    ClassLabel,
    DataSchema,
    Missing,
    NumericAttribute,
)
from schemas.envelope import Envelope
from schemas.topics import NAME_PATTERN, TENANT_PATTERN

_PACKAGES = (crypto, schemas, roles, pipeline)
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_ATTEMPTS = 100


@cache
def wire_structs() -> tuple[type[WireStruct], ...]:
    """Return every wire struct that the packages define, by name."""
    for package in _PACKAGES:
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    names = {package.__name__ for package in _PACKAGES}
    found = {struct for struct in _below(WireStruct) if struct.__module__.split(".")[0] in names}
    return tuple(sorted(found, key=lambda struct: (struct.__name__, struct.__module__)))


def _below(struct: type[WireStruct]) -> Iterator[type[WireStruct]]:
    for derived in struct.__subclasses__():
        yield derived
        yield from _below(derived)


def draw_struct(draws: Draws, struct: type[WireStruct]) -> WireStruct:
    """Return a valid value of a wire struct.

    Raises:
        AssertionError: The struct has rules that its field types do not show: it needs a line in
            `_MAKERS`.
    """
    maker = _MAKERS.get(struct)
    if maker is not None:
        return maker(draws)
    for _ in range(_ATTEMPTS):
        try:
            return struct(**{name: _draw(draws, kind) for name, kind in _fields(struct)})
        except (ValueError, msgspec.ValidationError):
            continue
    raise AssertionError(f"no valid {struct.__name__} was drawn: add how to make one to {__name__}")


@cache
def _fields(struct: type[WireStruct]) -> tuple[tuple[str, kinds.Type], ...]:
    described = kinds.type_info(struct)
    assert isinstance(described, kinds.StructType)
    return tuple((field.name, field.type) for field in described.fields)


def _draw(draws: Draws, kind: kinds.Type) -> Any:
    match kind:
        case kinds.BoolType():
            return draws.chance(2)
        case kinds.IntType():
            low = -(2**63) if kind.ge is None else kind.ge
            high = 2**64 - 1 if kind.le is None else kind.le
            high = high if kind.lt is None else kind.lt - 1
            return draws.between(low, draws.pick((low, min(high, low + 300), high)))
        case kinds.BytesType():
            least = kind.min_length or 0
            most = least + 60 if kind.max_length is None else kind.max_length
            return draws.bytes(draws.between(least, most))
        case kinds.StrType():
            if kind.pattern in {NAME_PATTERN, TENANT_PATTERN}:
                return draw_name(draws)
            assert kind.pattern is None, f"no text is known for the pattern {kind.pattern}"
            return draw_name(draws) if draws.chance(2) else draws.up_to(20).decode("latin-1")
        case kinds.NoneType():
            return None
        case kinds.EnumType():
            return draws.pick(list(kind.cls))
        case kinds.VarTupleType():
            return tuple(_draw(draws, kind.item_type) for _ in range(draws.pick((0, 1, 1, 2, 5))))
        case kinds.TupleType():
            return tuple(_draw(draws, item) for item in kind.item_types)
        case kinds.UnionType():
            return _draw(draws, draws.pick(kind.types))
        case kinds.StructType():
            assert issubclass(kind.cls, WireStruct)
            return draw_struct(draws, kind.cls)
        case _:
            raise AssertionError(f"{kind} is no field of a wire struct so far: say how to draw it")


def draw_name(draws: Draws) -> str:
    """Return a short name that fits senders, topics and tenants."""
    return "".join(draws.pick(_LETTERS) for _ in range(draws.between(1, 12)))


def _distinct_names(draws: Draws, low: int, high: int) -> tuple[str, ...]:
    return tuple(f"{draw_name(draws)} {i}" for i in range(draws.between(low, high)))


def _categorical(draws: Draws) -> CategoricalAttribute:
    return CategoricalAttribute(draw_name(draws), _distinct_names(draws, 1, 6), draws.pick(list(Missing)))


def _numeric(draws: Draws) -> NumericAttribute:
    first = draws.between(-500, 500)
    edges = tuple(str(first + 7 * i) for i in range(draws.between(1, 6)))
    low, high = draws.pick((("0", "1"), ("-2.5", "1e+20"), ("1e-9", "0.25")))
    return NumericAttribute(draw_name(draws), edges, low, high, draws.pick(list(Missing)))


def _label(draws: Draws) -> ClassLabel:
    return ClassLabel(draw_name(draws), _distinct_names(draws, 2, 5))


def _data_schema(draws: Draws) -> DataSchema:
    count = draws.between(1, 4)
    made: list[Attribute] = [
        _categorical(draws) if draws.chance(2) else _numeric(draws) for _ in range(count)
    ]
    renamed = [msgspec.structs.replace(at, name=f"{at.name} {i}") for i, at in enumerate(made)]
    return DataSchema(1, tuple(renamed), _label(draws))


def _envelope(draws: Draws) -> Envelope:
    parts = draws.pick((1, 1, 2, 256))
    fields = {name: _draw(draws, kind) for name, kind in _fields(Envelope)}
    return Envelope(**{**fields, "part": draws.below(parts), "parts": parts})


_MAKERS: dict[type[WireStruct], Callable[[Draws], WireStruct]] = {
    CategoricalAttribute: _categorical,
    NumericAttribute: _numeric,
    ClassLabel: _label,
    DataSchema: _data_schema,
    Envelope: _envelope,
}
