"""python-paillier or HEU: naive Bayes' training by packed counts that a server adds, or one encryption."""

import json
import math
import sys
import time
from collections.abc import Callable
from typing import Any

SLOT_BITS = 48
"""As in PrivML's counts."""
ROOM_BITS = 82
"""As PrivML leaves free."""
REPETITIONS = 20


def cpu(work: Callable[[], object]) -> float:
    """Return CPU seconds of one call, the mean of some."""
    work()
    start = time.process_time()
    for _ in range(REPETITIONS):
        work()
    return (time.process_time() - start) / REPETITIONS


def phe(bits: int) -> tuple[Callable[[int], Any], Callable[[Any, Any], Any], Callable[[Any], int]]:
    """Return how python-paillier encrypts, adds and opens."""
    from phe import paillier  # noqa: PLC0415  (one of two libraries)

    public, private = paillier.generate_paillier_keypair(n_length=bits)
    return public.raw_encrypt, lambda a, b: a * b % public.nsquare, private.raw_decrypt


def heu(bits: int) -> tuple[Callable[[int], Any], Callable[[Any, Any], Any], Callable[[Any], int]]:
    """Return how HEU's fastest Paillier encrypts, adds and opens."""
    from heu import phe as library  # noqa: PLC0415  (one of two libraries)

    kit = library.setup(library.SchemaType.ZPaillier, bits)
    encryptor, evaluator, decryptor = kit.encryptor(), kit.evaluator(), kit.decryptor()
    return (
        lambda m: encryptor.encrypt(library.Plaintext(library.SchemaType.ZPaillier, m)),
        evaluator.add,
        lambda c: int(decryptor.decrypt_raw(c)),
    )


def main() -> None:
    """Measure one library at one size."""
    task = json.load(sys.stdin)
    bits = task["bits"]
    encrypt, add, decrypt = {"phe": phe, "heu": heu}[task["library"]](bits)
    slots = (bits - ROOM_BITS) // SLOT_BITS
    message = sum(7 << SLOT_BITS * slot for slot in range(slots))
    first, second = encrypt(message), encrypt(message)
    if decrypt(add(first, second)) != 2 * message:
        raise SystemExit("the sum is wrong")
    if task.get("alone"):
        print(json.dumps({"encrypt_cpu": cpu(lambda: encrypt(message))}))
        return
    vectors = math.ceil((task["columns"] + 1) * task["classes"] / slots)
    seconds = vectors * (cpu(lambda: encrypt(message)) + cpu(lambda: add(first, second)))
    figures = {"train_cpu": seconds / task["chunk"], "train_bytes": vectors * bits / 4 / task["chunk"]}
    print(json.dumps([{"task": "bayes", **figures}]))


if __name__ == "__main__":
    main()
