"""The learners of a tenant, by the names of their models."""

from typing import Any, TypeAlias

from roles.classifiers.hoeffding_tree import TreeLearner
from roles.classifiers.learner import Learner
from roles.classifiers.logistic_regression import LogisticLearner
from roles.classifiers.naive_bayes import NaiveBayesLearner
from roles.tenant import Tenant
from schemas.models import LogisticSpec, ModelSpec, NaiveBayesSpec, TreeSpec

AnyLearner: TypeAlias = Learner[Any]
"""A learner of any kind."""


def learner_of(tenant: Tenant, spec: ModelSpec) -> AnyLearner:
    """Return the learner of one model."""
    match spec:
        case NaiveBayesSpec():
            return NaiveBayesLearner(tenant, spec)
        case LogisticSpec():
            return LogisticLearner(tenant, spec)
        case TreeSpec():
            return TreeLearner(tenant, spec)


def learners_of(tenant: Tenant) -> dict[str, AnyLearner]:
    """Return the learners of all models, in the configuration's order."""
    return {spec.model_id: learner_of(tenant, spec) for spec in tenant.configuration.models}
