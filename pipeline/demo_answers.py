"""The demo's questions answered in the clear: by the twin, fed as the journal says, and by scikit-learn."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.csv_input import read_training_file
from pipeline.demo import DemoRun
from roles.classifiers.logistic_regression_schedule import FEATURE_ONE
from roles.encoding import EncodedRecords, encode_bits
from roles.model_settings import tree_settings
from roles.twins import PlainLogistic, twin_of
from schemas.data_schema import DataSchema
from schemas.journal import EntryKind
from schemas.models import LogisticSpec, NaiveBayesSpec, TreeSpec

IntArray = npt.NDArray[np.int64]

MAX_ITERATIONS = 1000


@dataclass(frozen=True, slots=True)
class Answers:
    """Label indices for the rows asked, from four sources."""

    truth: IntArray
    single: IntArray
    batch: IntArray
    twin: IntArray
    sklearn: IntArray | None


def compare_answers(run: DemoRun, max_records: int) -> Answers:
    """Answer the same questions with the twin and with scikit-learn.

    Args:
        run: What the processes printed.
        max_records: The tenant's limit on a model's records.
    """
    chunks = _learnt_chunks(run)
    asked = _whole(run.folder / "asked.csv", run.schema)
    twin = twin_of(run.model_spec, run.schema, max_records)
    for chunk in chunks:
        twin.learn(chunk)
    return Answers(
        truth=np.asarray(asked.labels, dtype=np.int64),
        single=_labels(run.schema, run.single),
        batch=_labels(run.schema, run.batch),
        twin=twin.predict(asked),
        sklearn=_sklearn(run, _whole(run.folder / "train.csv", run.schema), asked),
    )


def _learnt_chunks(run: DemoRun) -> list[EncodedRecords]:
    """Return the owners' batches in the order in which MU accepted them, which order learners see."""
    batches: dict[tuple[str, int], EncodedRecords] = {}
    for published in run.published:
        owner = published["owner"]
        file = run.folder / f"{owner}.csv"
        encoded = read_training_file(file, run.schema, run.chunk_size, words=True)
        for chunk, batch in zip(published["chunks"], encoded, strict=True):
            batches[owner, chunk["owner_sequence"]] = batch
    accepted = [entry for entry in run.journal if entry.get("kind") == EntryKind.ACCEPT]
    return [batches[entry["sender"], entry["sender_sequence"]] for entry in accepted]


def _whole(path: Path, schema: DataSchema) -> EncodedRecords:
    (records,) = read_training_file(path, schema, path.stat().st_size, words=True)
    return records


def _labels(schema: DataSchema, lines: Sequence[dict[str, Any]]) -> IntArray:
    names = (*schema.label.labels, "invalid")
    return np.array([names.index(line["label"]) for line in lines if "label" in line], dtype=np.int64)


def _sklearn(run: DemoRun, train: EncodedRecords, asked: EncodedRecords) -> IntArray | None:
    """Return scikit-learn's answers on the features that the encrypted model has, if it is installed."""
    try:
        from sklearn import linear_model, naive_bayes, tree  # noqa: PLC0415 - an extra, not a dependency
    except ImportError:
        return None
    schema, spec = run.schema, run.model_spec
    model: Any
    features: Any
    questions: Any
    match spec:
        case NaiveBayesSpec():
            sizes = np.array(schema.attribute_sizes)
            model = naive_bayes.CategoricalNB(alpha=spec.alpha_256 / 256, min_categories=sizes)
            features, questions = train.indices, asked.indices
        case LogisticSpec():
            model, plain = (
                linear_model.LogisticRegression(max_iter=MAX_ITERATIONS),
                PlainLogistic(spec, schema),
            )
            features, questions = (plain.features(records) / FEATURE_ONE for records in (train, asked))
        case TreeSpec():
            depth = tree_settings(spec).depth_bound
            model = tree.DecisionTreeClassifier(
                max_leaf_nodes=max(spec.max_leaves, 2), max_depth=max(depth, 1), random_state=0
            )
            features, questions = (encode_bits(schema, records) for records in (train, asked))
    predicted: IntArray = model.fit(features, np.asarray(train.labels)).predict(questions)
    return predicted
