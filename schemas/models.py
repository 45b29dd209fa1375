"""The models that a tenant keeps, with their public parameters: part of the signed configuration.

The kind of learner is the tag that stands first on the wire. What the numbers mean, and which go
together, is the learner's business (`roles.classifiers`).
"""

from typing import TypeAlias

from schemas.codec import WireStruct


class NaiveBayesSpec(WireStruct, tag="nb"):
    """Naive Bayes on counts.

    Attributes:
        model_id: Its name in topics, journal and commands.
        alpha_256: Laplace's α times 256.
    """

    model_id: str
    alpha_256: int = 256


class LogisticSpec(WireStruct, tag="lr"):
    """Logistic regression by gradient descent.

    Attributes:
        model_id: See `NaiveBayesSpec`.
        scaled: Numeric attributes are features as scaled numbers; else their bins are.
        passes: How often a chunk is gone through without opening it again.
        batch_records: Records per step; 0 takes the whole chunk.
        rate_256: Learning rate times 256.
        decay_steps: T of η·T/(T + t); 0 keeps the rate.
        momentum_16: Nesterov's γ times 16.
        l2_shift: k of the decay by 2^−k per step; 0 for none.
    """

    model_id: str
    scaled: bool = True
    passes: int = 1
    batch_records: int = 0
    rate_256: int = 256
    decay_steps: int = 0
    momentum_16: int = 0
    l2_shift: int = 0


class TreeSpec(WireStruct, tag="dt"):
    """A Hoeffding tree.

    Attributes:
        model_id: See `NaiveBayesSpec`.
        max_leaves: The tree stops growing there.
        max_depth: Leaves at that depth are not tried.
        attempt_records: An attempt on k leaves falls due after so many records times k.
        confidence_16: ln(1/δ) in units of 1/16.
        tie_records: A leaf with more records splits on its best test.
        criterion: ``gini`` or ``entropy``.
        chunks_per_seal: Chunks between two seals of the statistics, at most.
        leaves_per_attempt: Leaves tried together, at most.
        pad_depth: Hides which leaves split: the tree takes, by numbers of records alone, the shape of
            a full tree of this depth; 0 does not.
    """

    model_id: str
    max_leaves: int = 64
    max_depth: int = 20
    attempt_records: int = 200
    confidence_16: int = 258
    tie_records: int = 3225
    criterion: str = "gini"
    chunks_per_seal: int = 8
    leaves_per_attempt: int = 8
    pad_depth: int = 0


ModelSpec: TypeAlias = NaiveBayesSpec | LogisticSpec | TreeSpec


def classifier_of(spec: ModelSpec) -> str:
    """Return the kind of a model: ``nb``, ``lr`` or ``dt``."""
    return str(spec.__struct_config__.tag)
