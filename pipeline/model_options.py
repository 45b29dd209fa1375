"""Models as people write them: `NAME=KIND:parameter=value,…` becomes a spec of the configuration.

Numbers are given in everyday units and stored as the integers that the circuits know; what has no
such integer is refused instead of rounded, with two exceptions that say so.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from pipeline.errors import PipelineError
from roles.classifiers.hoeffding_tree_growth import CRITERIA, tie_records
from roles.classifiers.hoeffding_tree_twin import entropy_range
from schemas.models import LogisticSpec, ModelSpec, NaiveBayesSpec, TreeSpec
from schemas.reasons import ReasonCode
from schemas.topics import NAME_PATTERN

KINDS = {"nb": "naive Bayes", "lr": "logistic regression", "dt": "Hoeffding tree"}


class ModelOptionError(PipelineError):
    """A model was described in a way that means nothing."""

    code = ReasonCode.USAGE


@dataclass(frozen=True, slots=True)
class Parameter:
    """One number of a model.

    Attributes:
        kind: ``nb``, ``lr`` or ``dt``.
        name: As it is written.
        default: As it is written.
        meaning: One line.
        read: Turns the text into the integer that is stored.
    """

    kind: str
    name: str
    default: str
    meaning: str
    read: Callable[[str], Any]


def _integer(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise ValueError(f"between {least} and {most}")
        return value

    return read


def _multiple(denominator: int, most: int) -> Callable[[str], int]:
    """Read a multiple of 1/denominator below `most`; return how many."""

    def read(text: str) -> int:
        value = Fraction(text) * denominator
        if value.denominator != 1 or not 0 <= value < most * denominator:
            raise ValueError(f"a multiple of 1/{denominator} below {most}")
        return int(value)

    return read


def _flag(text: str) -> bool:
    if text not in {"yes", "no"}:
        raise ValueError("yes or no")
    return text == "yes"


def _criterion(text: str) -> str:
    if text not in CRITERIA:
        raise ValueError(" or ".join(CRITERIA))
    return text


def _confidence(text: str) -> int:
    value = float(text)
    if not 1e-100 < value < 1:
        raise ValueError("a probability below 1")
    return max(1, round(16 * math.log(1 / value)))


def _fraction(text: str) -> Fraction:
    value = Fraction(text)
    if not 0 <= value <= 1:
        raise ValueError("between 0 and 1")
    return value


PARAMETERS = (
    Parameter("nb", "alpha", "1", "Laplace smoothing, a multiple of 1/256", _multiple(256, 256)),
    Parameter("lr", "passes", "1", "times that a chunk is gone through", _integer(1, 1000)),
    Parameter("lr", "batch", "0", "records per step; 0 takes the whole chunk", _integer(0, 1 << 16)),
    Parameter("lr", "rate", "1", "learning rate, a multiple of 1/256", _multiple(256, 256)),
    Parameter("lr", "decay", "0", "T of rate·T/(T + step); 0 keeps the rate", _integer(0, 1 << 32)),
    Parameter("lr", "momentum", "0", "Nesterov's momentum, a multiple of 1/16", _multiple(16, 1)),
    Parameter("lr", "l2", "0", "k of the decay of weights by 2^-k per step; 0 for none", _integer(0, 23)),
    Parameter("lr", "scaled", "yes", "numbers are features as numbers (yes) or as bins (no)", _flag),
    Parameter("dt", "max_leaves", "64", "leaves at which the tree stops growing", _integer(1, 1 << 10)),
    Parameter("dt", "max_depth", "20", "depth at which leaves stay leaves", _integer(0, 64)),
    Parameter("dt", "grace", "200", "records between two attempts, per leaf tried", _integer(1, 1 << 16)),
    Parameter("dt", "delta", "1e-7", "probability of a wrong split; ln(1/delta) is rounded", _confidence),
    Parameter("dt", "tau", "0.05", "a leaf splits when the bound is below it; rounded", _fraction),
    Parameter("dt", "criterion", "gini", "gini or entropy", _criterion),
    Parameter("dt", "seal", "8", "chunks between two seals of the counts, at most", _integer(1, 64)),
    Parameter("dt", "together", "8", "leaves tried together, at most", _integer(1, 64)),
    Parameter("dt", "pad_depth", "0", "hides the shape of a tree of this depth; 0 does not", _integer(0, 10)),
)


def parse_models(texts: Sequence[str], classes: int) -> tuple[ModelSpec, ...]:
    """Return the models that were described.

    Args:
        texts: ``KIND``, ``KIND:parameter=value,…``, or ``NAME=KIND…``; a name by default is the kind.
        classes: Of the schema.

    Raises:
        ModelOptionError: One of them means nothing, or two have one name.
    """
    specs = [_parse(text, classes) for text in texts]
    names = [spec.model_id for spec in specs]
    for name in names:
        if names.count(name) > 1:
            raise ModelOptionError(
                f"two models are called '{name}'", hint="give them names: NAME=KIND:parameter=value,…"
            )
    return tuple(specs)


def _parse(text: str, classes: int) -> ModelSpec:
    head, _, rest = text.partition(":")
    name, equals, kind = head.partition("=")
    kind = kind if equals else name
    if kind not in KINDS:
        raise ModelOptionError(f"no kind of model '{kind}'", hint=f"kinds are {', '.join(KINDS)}")
    if re.search(NAME_PATTERN, name) is None:
        raise ModelOptionError(
            f"'{name}' is no name for a model", hint="letters, digits, dots, hyphens, underscores"
        )
    known = {parameter.name: parameter for parameter in PARAMETERS if parameter.kind == kind}
    given = {name: parameter.default for name, parameter in known.items()}
    for part in rest.split(",") if rest else ():
        key, equals, value = part.partition("=")
        if not equals or key not in known:
            raise ModelOptionError(
                f"{KINDS[kind]} has no parameter '{key}'", hint=f"it has {', '.join(known)}"
            )
        given[key] = value
    values: dict[str, Any] = {}
    for key, value in given.items():
        try:
            values[key] = known[key].read(value)
        except (ValueError, ZeroDivisionError) as error:
            raise ModelOptionError(
                f"{key}={value} of model '{name}' cannot be used", hint=f"{known[key].meaning}: {error}"
            ) from None
    return _spec(kind, name, values, classes)


def _spec(kind: str, name: str, values: dict[str, Any], classes: int) -> ModelSpec:
    if kind == "nb":
        if not values["alpha"]:
            raise ModelOptionError(f"alpha of model '{name}' must be positive")
        return NaiveBayesSpec(name, values["alpha"])
    if kind == "lr":
        if not values["rate"]:
            raise ModelOptionError(f"rate of model '{name}' must be positive")
        return LogisticSpec(
            name,
            values["scaled"],
            values["passes"],
            values["batch"],
            values["rate"],
            values["decay"],
            values["momentum"],
            values["l2"],
        )
    if values["pad_depth"] > values["max_depth"] or 1 << values["pad_depth"] > values["max_leaves"]:
        raise ModelOptionError(
            f"model '{name}' has no room for pad_depth={values['pad_depth']}",
            hint="max_depth must be at least pad_depth, and max_leaves at least 2^pad_depth",
        )
    squared = Fraction(entropy_range(classes), 32) if values["criterion"] == "entropy" else Fraction(1)
    return TreeSpec(
        name,
        values["max_leaves"],
        values["max_depth"],
        values["grace"],
        values["delta"],
        tie_records(values["delta"], values["tau"], squared),
        values["criterion"],
        values["seal"],
        values["together"],
        values["pad_depth"],
    )
