"""Logistic regression's training on Shamir shares with MPyC: Nesterov's steps, three local servers.

Started without arguments it reads the task, runs the servers as processes of this very file, and adds up
what they used. The sigmoid is the cubic polynomial that MPyC's users take.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SERVERS = 3
PORT = 21365
RATE, MOMENTUM = 1.0, 0.875
"""Less than the others' rate of 4, at which scores leave the range in which the polynomial is a sigmoid."""
SIGMOID = (0.5, 0.197, -0.004)
BITS, FRACTION = 64, 24
TOLERANCE = 0.01


def main() -> None:
    """Run the servers and print the sum of their figures."""
    task = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "task.json"
        file.write_text(json.dumps(task), encoding="utf-8")
        servers = [
            subprocess.Popen(
                [sys.executable, __file__, f"-M{SERVERS}", f"-I{place}", f"-B{PORT}", "--no-log", str(file)],
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            for place in range(SERVERS)
        ]
        printed = [json.loads(server.communicate()[0]) for server in servers]
    x, y = np.array(task["train"]), np.array(task["labels"])
    weights = np.array(printed[0]["weights"])
    if np.abs(weights - fitted(x, y, task["passes"])).max() > TOLERANCE:
        raise SystemExit("the weights are not those of the same steps in the clear")
    scores = np.array(task["test"]) @ weights[:-1] + weights[-1]
    figures = {
        "train_cpu": sum(found["seconds"] for found in printed) / len(x),
        "train_bytes": sum(found["sent"] for found in printed) / len(x),
        "accuracy": 100 * float(((scores >= 0) == np.array(task["test_labels"])).mean()),
    }
    print(json.dumps([{"task": "logistic", **figures}]))


def with_bias(x: Any) -> Any:
    """Return the records with a column of ones."""
    return np.concatenate([x, np.ones((len(x), 1))], axis=1)


def fitted(x: Any, y: Any, passes: int) -> Any:
    """Return the weights of the same steps in the clear, the bias last."""
    rows = with_bias(x)
    weights = ahead = np.zeros(rows.shape[1])
    for _ in range(passes):
        scores = rows @ ahead
        error = SIGMOID[0] + SIGMOID[1] * scores + SIGMOID[2] * scores**3 - y
        stepped = ahead - RATE / len(rows) * (rows.T @ error)
        ahead, weights = stepped + MOMENTUM * (stepped - weights), stepped
    return weights


async def serve(mpc: Any, task: dict[str, Any]) -> None:
    """Be one server: train on shares of what server 0 puts in, and print what it took."""
    number = mpc.SecFxp(BITS, FRACTION)
    await mpc.start()
    x, y = np.array(task["train"]), np.array(task["labels"], dtype=float)
    start, before = time.process_time(), sent(mpc)
    rows = mpc.input(number.array(with_bias(x)), senders=0)
    labels = mpc.input(number.array(y), senders=0)
    weights = ahead = mpc.input(number.array(np.zeros(x.shape[1] + 1)), senders=0)
    for _ in range(task["passes"]):
        scores = rows @ ahead
        cubes = scores * scores * scores
        error = scores * SIGMOID[1] + cubes * SIGMOID[2] + SIGMOID[0] - labels
        stepped = ahead - (rows.T @ error) * (RATE / len(x))
        ahead, weights = stepped + (stepped - weights) * MOMENTUM, stepped
    found = await mpc.output(weights)
    seconds, bytes_sent = time.process_time() - start, sent(mpc) - before
    await mpc.shutdown()
    print(json.dumps({"seconds": seconds, "sent": bytes_sent, "weights": [float(w) for w in found]}))


def sent(mpc: Any) -> int:
    """Return the bytes that this server has sent to the others."""
    return sum(peer.protocol.nbytes_sent for peer in mpc.parties if peer.pid != mpc.pid)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        from mpyc.runtime import mpc as runtime  # reads its options from the command line

        runtime.run(serve(runtime, json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
    else:
        main()
