"""What came of a demo: the answers against the twin and scikit-learn, and what everything cost."""

import platform
import statistics
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from msgspec import structs

from crypto.arithmetic import power
from crypto.coins import Coins
from crypto.profiles import profile
from pipeline.demo import DemoOptions, DemoRun, write_predictions
from pipeline.demo_answers import compare_answers
from pipeline.demo_data import DemoTable
from schemas.models import classifier_of

COUNTED = ("powers_full", "powers_short", "fixed_base", "cots", "ands")
POWERS_MEASURED = 9


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
    answers = compare_answers(run, max_records)
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
    training = {
        role: [entries[name] for name in ("chunk", "learn") if name in entries]
        for role, entries in activities.items()
    }
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
        "chunk_size": run.chunk_size,
        "classifier": classifier_of(run.model_spec),
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
        "train_seconds": _span(training["mu"]),
        "train_cpu_seconds": {
            role: sum(entry["cpu_seconds"] for entry in entries) for role, entries in training.items()
        },
        "refresh_seconds": _span([activities["mu"]["refresh"]]) if "refresh" in activities["mu"] else None,
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
                [
                    *training["mu"],
                    *training["su"],
                    *(published["meter"]["activities"]["encrypt"] for published in run.published),
                ],
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
            "spec": structs.asdict(run.model_spec),
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


def _span(entries: list[dict[str, Any]]) -> float:
    """Return the wall time from the first beginning of activities to the last end."""
    spans = [(entry["started_seconds"], entry["ended_seconds"]) for entry in entries]
    return float(max(ended for _, ended in spans) - min(started for started, _ in spans))


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
