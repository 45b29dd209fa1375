"""Private naive Bayes from the published blocks: one ciphertext per one-hot bit, one product per count.

Training: the owner encrypts its record's one-hot bits and its class's. Every count of (bit, class) grows
by their product. A query: every class's score is the dot product of the row's bits with the class's
encrypted logarithms, and the best class is kept through C − 1 comparisons. Nothing is packed.

Source:
    Talbi 2020 (PrivML), Priv-NB on SM, SDP and SC. The paper does not spell the steps out; they are what its
    blocks allow with fewest products. How logarithms are made of counts, once per model, and how the answer
    gets under the client's key is left out, in the baseline's favour.
"""

from collections.abc import Sequence

from benchmarks.baselines.epom.comparison import less_than
from benchmarks.baselines.epom.multiplication import multiply
from benchmarks.baselines.epom.servers import Servers
from crypto.parameters import Ciphertext

Row = Sequence[Ciphertext]


def products_per_record(bits: int, classes: int) -> int:
    """Return how many secure multiplications one record's training takes."""
    return bits * classes


def products_per_query(bits: int, classes: int) -> int:
    """Return how many secure multiplications a query takes: scores, then value and number of the best."""
    return bits * classes + 2 * (classes - 1)


def comparisons_per_query(classes: int) -> int:
    """Return how many secure comparisons a query takes."""
    return classes - 1


def round_trips_per_query(classes: int) -> int:
    """Return the round trips: all products of the scores at once, then two for every class but the first."""
    return 1 + 2 * (classes - 1)


def train(
    servers: Servers, table: Sequence[Row], totals: Row, bits: Row, label: Row
) -> tuple[list[Row], Row]:
    """Return the counts after one record.

    Args:
        servers: Both.
        table: Encrypted counts, per one-hot bit one for every class.
        totals: Encrypted counts of classes.
        bits: The record's encrypted one-hot bits.
        label: Its class's.
    """
    classes = len(label)
    products = multiply(servers, [(bit, flag) for bit in bits for flag in label])
    grown: list[Row] = [
        [
            servers.add(*both)
            for both in zip(row, products[place * classes : (place + 1) * classes], strict=True)
        ]
        for place, row in enumerate(table)
    ]
    return grown, [servers.add(*both) for both in zip(totals, label, strict=True)]


def classify(servers: Servers, logarithms: Sequence[Row], priors: Row, bits: Row) -> Ciphertext:
    """Return the encrypted number of the best class.

    Args:
        servers: Both.
        logarithms: Encrypted, scaled to integers; per one-hot bit one for every class.
        priors: Encrypted logarithms of the classes' shares.
        bits: The row's encrypted one-hot bits.
    """
    classes = len(priors)
    products = multiply(
        servers, [(bit, entry) for bit, row in zip(bits, logarithms, strict=True) for entry in row]
    )
    scores = [servers.add(prior, *products[c::classes]) for c, prior in enumerate(priors)]
    best, number = scores[0], servers.encrypt(0)
    for c, score in enumerate(scores[1:], start=1):
        better = less_than(servers, best, score)
        steps = servers.subtract(score, best), servers.subtract(servers.encrypt(c), number)
        gains = multiply(servers, [(better, step) for step in steps])
        best, number = servers.add(best, gains[0]), servers.add(number, gains[1])
    return number
