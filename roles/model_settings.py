"""What a model's public parameters mean: its schedule or settings, checked."""

from roles.classifiers.hoeffding_tree_growth import TreeSettings
from roles.classifiers.logistic_regression_schedule import LogisticSchedule
from schemas.models import LogisticSpec, TreeSpec


def logistic_schedule(spec: LogisticSpec) -> LogisticSchedule:
    """Return how a logistic regression learns.

    Raises:
        ValueError: A number is out of range.
    """
    return LogisticSchedule(
        spec.passes,
        spec.batch_records,
        spec.rate_256,
        spec.decay_steps,
        spec.momentum_16,
        spec.l2_shift,
    )


def tree_settings(spec: TreeSpec) -> TreeSettings:
    """Return how a tree grows.

    Raises:
        ValueError: A number is out of range.
    """
    return TreeSettings(
        spec.max_leaves,
        spec.max_depth,
        spec.attempt_records,
        spec.confidence_16,
        spec.tie_records,
        spec.criterion,
        spec.chunks_per_seal,
        spec.leaves_per_attempt,
        spec.pad_depth,
    )
