"""What came of a demo: the answers against the twin and scikit-learn, and what everything cost."""

import platform
import statistics
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crypto.arithmetic import power
from crypto.coins import Coins
from crypto.profiles import profile
from pipeline.demo import DemoOptions, DemoRun, write_predictions
from pipeline.demo_data import DemoTable
from roles.classifiers.naive_bayes_twin import NaiveBayesTwin, score_bits
from roles.encoding import EncodedRecords, cell_encoder, collect_records, count_table, label_encoder
from schemas.data_schema import DataSchema

COUNTED = ("powers_full", "powers_short", "fixed_base", "cots", "ands")
POWERS_MEASURED = 9


@dataclass(frozen=True, slots=True)
class Answers:
    """Label indices for the rows asked, from four sources."""

    truth: npt.NDArray[np.int64]
    single: npt.NDArray[np.int64]
    batch: npt.NDArray[np.int64]
    twin: npt.NDArray[np.int64]
    sklearn: npt.NDArray[np.int64] | None


def encode_rows(schema: DataSchema, columns: tuple[str, ...], rows: Any) -> EncodedRecords:
    """Return rows of text as records of the schema."""
    places = [columns.index(name) for name in schema.attribute_names]
    encoders = [cell_encoder(attribute) for attribute in schema.attributes]
    labels, label_place = label_encoder(schema), columns.index(schema.label.name)
    return collect_records(
        [tuple(encoder.index(row[i]) for encoder, i in zip(encoders, places, strict=True)) for row in rows],
        [labels.index(row[label_place]) for row in rows],
    )


def compare_answers(table: DemoTable, run: DemoRun, max_records: int) -> Answers:
    """Answer the same questions with the twin and with scikit-learn."""
    schema = run.schema
    train = encode_rows(schema, table.columns, run.split.train)
    asked = encode_rows(schema, table.columns, run.asked)
    width = score_bits(len(schema.attribute_sizes), max_records.bit_length())
    twin = NaiveBayesTwin.empty(schema.attribute_sizes, schema.class_count, width)
    twin = twin.learn(count_table(schema, train))
    return Answers(
        truth=np.asarray(asked.labels, dtype=np.int64),
        single=_labels(schema, run.single),
        batch=_labels(schema, run.batch),
        twin=twin.predict(asked.indices),
        sklearn=_sklearn(schema, train, asked),
    )


def _labels(schema: DataSchema, lines: list[dict[str, Any]]) -> npt.NDArray[np.int64]:
    names = (*schema.label.labels, "invalid")
    return np.array([names.index(line["label"]) for line in lines if "label" in line], dtype=np.int64)


def _sklearn(
    schema: DataSchema, train: EncodedRecords, asked: EncodedRecords
) -> npt.NDArray[np.int64] | None:
    try:
        from sklearn.naive_bayes import CategoricalNB  # noqa: PLC0415 - an extra, not a dependency
    except ImportError:
        return None
    model = CategoricalNB(alpha=1.0, min_categories=np.array(schema.attribute_sizes))
    predicted: npt.NDArray[np.int64] = model.fit(train.indices, train.labels).predict(asked.indices)
    return predicted


def measure_power(profile_name: str) -> float:
    """Return the seconds of 1 PM: a power mod N² with an exponent of |N| bits, the median of nine."""
    bits = profile(profile_name).modulus_bits
    coins = Coins.fresh()
    modulus = coins.integer_bits(2 * bits) | (1 << 2 * bits - 1) | 1
    times = []
    for _ in range(POWERS_MEASURED):
        base, exponent = coins.below(modulus), coins.integer_bits(bits) | 1 << bits - 1
        start = time.perf_counter()
        power(base, exponent, modulus)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def demo_report(
    table: DemoTable, options: DemoOptions, run: DemoRun, max_records: int, kept: Path | None
) -> dict[str, Any]:
    """Return the `demo/1` object and write predictions.csv."""
    answers = compare_answers(table, run, max_records)
    names = (*run.schema.label.labels, "invalid")
    write_predictions(
        run.folder,
        [
            (
                row + 2,
                names[answers.truth[row]],
                names[answers.single[row]],
                names[answers.twin[row]],
                "" if answers.sklearn is None else names[answers.sklearn[row]],
            )
            for row in range(len(answers.truth))
        ],
    )
    units = run.stopped
    activities = {role: stopped["activities"] for role, stopped in units.items()}
    agree = (answers.single == answers.twin).mean() + (answers.batch == answers.twin).mean()
    single = [line["seconds"] for line in run.single if "seconds" in line]
    # The first question pays for base transfers and refresh, which are reported on their own.
    steady = single[1:] or single
    batches = {line["query_id"]: line["seconds"] for line in run.batch if "query_id" in line}
    messages = len(single) + len(batches)
    return {
        "data": {
            "name": table.name,
            "rows": len(table.rows),
            "features_onehot": run.schema.onehot_columns,
            "classes": run.schema.class_count,
            "sha256": table.sha256,
        },
        "seed": options.seed,
        "owners": options.owners,
        "chunk_size": options.chunk_size,
        "classifier": "nb",
        "profile": options.profile,
        "modulus_bits": profile(options.profile).modulus_bits,
        "pm_seconds": measure_power(options.profile),
        "rows_trained": run.model["records"],
        "rows_test": len(run.split.test),
        "chunks": run.model["chunks"],
        "queries": len(run.asked),
        "accuracy": float((answers.single == answers.truth).mean()),
        "twin_accuracy": float((answers.twin == answers.truth).mean()),
        "twin_agreement": float(agree / 2),
        "sklearn_accuracy": None
        if answers.sklearn is None
        else float((answers.sklearn == answers.truth).mean()),
        "keygen_seconds": run.keygen_seconds,
        "owner_encrypt_seconds": sum(
            published["meter"]["activities"]["encrypt"]["cpu_seconds"] for published in run.published
        ),
        "train_seconds": activities["mu"]["chunk"]["span_seconds"],
        "train_cpu_seconds": {
            role: activities[role].get("chunk", {}).get("cpu_seconds", 0.0) for role in ("mu", "su")
        },
        "refresh_seconds": activities["mu"]["refresh"]["span_seconds"],
        "query_seconds_median": statistics.median(steady),
        "query_seconds_p95": sorted(steady)[max(0, -(-95 * len(steady) // 100) - 1)],
        "query_batch_seconds_each": sum(batches.values()) / len(run.asked),
        "bytes_owner_to_mu": _seen(units["mu"], "chunks"),
        "bytes_mu_su": _seen(units["mu"], "rounds.replies") + _seen(units["su"], "rounds.requests"),
        "bytes_client": _seen(units["mu"], "queries")
        + sum(seen["bytes"] for seen in run.single[-1]["meter"]["views"] + run.batch[-1]["meter"]["views"]),
        "rounds_per_query": activities["mu"]["query_rounds"]["rounds"] / messages,
        "peak_rss_bytes": {role: units[role]["peak_rss_bytes"] for role in ("mu", "su")},
        "counts": {
            "chunk": _per(
                [activities["mu"]["chunk"], *(p["meter"]["activities"]["encrypt"] for p in run.published)],
                run.model["chunks"],
            ),
            "query": _per(
                [
                    activities[role][name]
                    for role in ("mu", "su")
                    for name in ("query", "query_rounds")
                    if name in activities[role]
                ],
                messages,
            ),
        },
        "rejected": sum(published["rejected"] for published in run.published),
        "dead_letters": sum(unit["dead_letters"] for unit in units.values()),
        "model": {
            "version": run.model["version"],
            "ciphertexts": run.model["ciphertexts"],
            "sha256": run.model["sha256"],
        },
        "views": _views(run),
        "workdir": None if kept is None else str(kept),
        "versions": {
            "privml": version("privml"),
            "python": platform.python_version(),
            "gmpy2": version("gmpy2"),
            "numpy": version("numpy"),
        },
    }


def _seen(unit: dict[str, Any], topic: str) -> int:
    return sum(seen["bytes"] for seen in unit["views"] if seen["topic"] == topic)


def _per(entries: list[dict[str, Any]], amount: int) -> dict[str, float]:
    """Return counted operations of all parties together, per chunk or per query."""
    return {name: sum(entry["counts"][name] for entry in entries) / amount for name in COUNTED}


def _views(run: DemoRun) -> list[dict[str, Any]]:
    parties = [(role, stopped["views"]) for role, stopped in sorted(run.stopped.items())]
    parties += [(published["owner"], published["meter"]["views"]) for published in run.published]
    parties += [("client", lines[-1]["meter"]["views"]) for lines in (run.single, run.batch)]
    joined: dict[tuple[str, str, str], dict[str, Any]] = {}
    for party, views in parties:
        for seen in views:
            entry = joined.setdefault(
                (party, seen["topic"], seen["kind"]),
                {"party": party, "topic": seen["topic"], "kind": seen["kind"], "messages": 0, "bytes": 0},
            )
            entry["messages"] += seen["messages"]
            entry["bytes"] += seen["bytes"]
    return list(joined.values())
