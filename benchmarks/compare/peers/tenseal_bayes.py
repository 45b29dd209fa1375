"""Naive Bayes under fully homomorphic encryption with TenSEAL: counts in BFV, scores of a query in CKKS.

Training: the owner encrypts one vector per record, a slot per (bit, class); the server adds. Whoever
holds the key opens the counts, takes logarithms and encrypts the table. A query: the client encrypts
its one-hot row, the server multiplies it with every class's encrypted column, and the key's holder
opens the scores.
"""

import json
import sys
import time
from typing import Any

import tenseal as ts

PLAIN_MODULUS = 1032193
SCALE_BITS = 40


def main() -> None:
    """Measure training and queries."""
    task = json.load(sys.stdin)
    print(json.dumps([{"task": "bayes", **train(task), **query(task)}]))


def train(task: dict[str, Any]) -> dict[str, float]:
    """Return the cost of a record; the opened counts are compared with the true ones."""
    context = ts.context(ts.SCHEME_TYPE.BFV, poly_modulus_degree=4096, plain_modulus=PLAIN_MODULUS)
    cells = (task["columns"] + 1) * task["classes"]
    expected, total, size = [0] * cells, None, 0
    start = time.process_time()
    for places, label in zip(task["train"], task["labels"], strict=True):
        vector = [0] * cells
        for place in (*places, task["columns"]):
            vector[place * task["classes"] + label] = 1
        expected = [a + b for a, b in zip(expected, vector, strict=True)]
        wire = ts.bfv_vector(context, vector).serialize()
        size = len(wire)
        record = ts.bfv_vector_from(context, wire)
        total = record if total is None else total + record
    seconds = time.process_time() - start
    if total is None or total.decrypt() != expected:
        raise SystemExit("the counts are wrong")
    return {"train_cpu": seconds / len(task["train"]), "train_bytes": size}


def query(task: dict[str, Any]) -> dict[str, float]:
    """Return the cost of a row; the class is compared with that of the clear model."""
    context = ts.context(ts.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, SCALE_BITS, SCALE_BITS, 60])
    context.global_scale = 2**SCALE_BITS
    context.generate_galois_keys()
    columns = [ts.ckks_vector(context, [row[c] for row in task["entries"]]) for c in range(task["classes"])]
    size, start = 0, time.process_time()
    for places, expected in zip(task["rows"], task["expected"], strict=True):
        vector = [0.0] * (task["columns"] + 1)
        for place in (*places, task["columns"]):
            vector[place] = 1.0
        wire = ts.ckks_vector(context, vector).serialize()
        row = ts.ckks_vector_from(context, wire)
        answers = [row.dot(column).serialize() for column in columns]
        size = len(wire) + sum(map(len, answers))
        scores = [ts.ckks_vector_from(context, answer).decrypt()[0] for answer in answers]
        if scores.index(max(scores)) != expected:
            raise SystemExit("a class is wrong")
    seconds = time.process_time() - start
    return {"query_cpu": seconds / len(task["rows"]), "query_bytes": size, "query_rounds": 1}


if __name__ == "__main__":
    main()
