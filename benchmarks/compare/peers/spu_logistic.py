"""Logistic regression's training on secret shares with SecretFlow SPU: Nesterov's steps, in its simulator.

The simulator runs all servers in one process, whose CPU is that of all of them. Bytes are those that SPU
logs for the first server; the others send as much.
"""

import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import spu
from spu.utils import simulation

RATE, MOMENTUM = 4.0, 0.875
TOLERANCE = 0.1


def main() -> None:
    """Measure the task's protocol."""
    task = json.load(sys.stdin)
    x, y = (np.array(task[name], dtype=np.float32) for name in ("train", "labels"))
    settings = spu.RuntimeConfig(
        protocol=getattr(spu.ProtocolKind, task["protocol"]), field=spu.FieldType.FM64
    )
    settings.enable_pphlo_profile = True
    fit = fitting(task["passes"])
    trained = simulation.sim_jax(simulation.Simulator(task["servers"], settings), fit)
    with logged() as log:
        # The first call compiles.
        trained(x, y)
        before = len(log.read_text(encoding="utf-8", errors="replace"))
        start = time.process_time()
        weights = np.array(trained(x, y))
        seconds = time.process_time() - start
        text = log.read_text(encoding="utf-8", errors="replace")[before:]
    if np.abs(weights - np.array(fit(x, y))).max() > TOLERANCE:
        raise SystemExit("the weights are not those of the same steps in the clear")
    sent, received = map(int, re.findall(r"total send bytes (\d+), recv bytes (\d+)", text)[-1])
    scores = np.array(task["test"]) @ weights[:-1] + weights[-1]
    figures = {
        "train_cpu": seconds / len(x),
        "train_bytes": (sent + received) / 2 * task["servers"] / len(x),
        "accuracy": 100 * float(((scores >= 0) == np.array(task["test_labels"])).mean()),
    }
    print(json.dumps([{"task": "logistic", **figures}]))


def fitting(passes: int) -> Callable[[Any, Any], Any]:
    """Return the training, for JAX in the clear or on shares; the bias is the last weight."""

    def fit(x: Any, y: Any) -> Any:
        rows = jnp.concatenate([x, jnp.ones((x.shape[0], 1))], axis=1)
        weights = ahead = jnp.zeros(rows.shape[1])
        for _ in range(passes):
            error = 1 / (1 + jnp.exp(-(rows @ ahead))) - y
            stepped = ahead - RATE * (rows.T @ error) / rows.shape[0]
            ahead, weights = stepped + MOMENTUM * (stepped - weights), stepped
        return weights

    return fit


@contextmanager
def logged() -> Iterator[Path]:
    """Send what native code prints to a file, whose path is yielded."""
    kept = [os.dup(descriptor) for descriptor in (1, 2)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        with path.open("wb") as file:
            for descriptor in (1, 2):
                os.dup2(file.fileno(), descriptor)
            try:
                yield path
            finally:
                for descriptor, copy in zip((1, 2), kept, strict=True):
                    os.dup2(copy, descriptor)


if __name__ == "__main__":
    main()
