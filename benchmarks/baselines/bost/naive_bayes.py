"""Naive Bayes: the server sends its encrypted table once; the client adds entries up and asks for the best.

Source:
    Bost et al. 2015, section VI.
"""

from collections.abc import Sequence

from benchmarks.baselines.bost.argmax import argmax
from benchmarks.baselines.bost.comparison import Parties

EncryptedTable = Sequence[Sequence[int]]


def publish(parties: Parties, table: Sequence[Sequence[int]], priors: Sequence[int]) -> EncryptedTable:
    """Return the server's encrypted table, priors in its last row: sent once, whatever is asked.

    Args:
        parties: The client is A, the server B.
        table: Scaled logarithms, per one-hot bit one for every class, not negative.
        priors: Those of the classes' shares.
    """
    rows = [[parties.paillier.encrypt(entry) for entry in row] for row in (*table, priors)]
    parties.send_paillier(parties.b, sum(map(len, rows)))
    return rows


def classify(parties: Parties, width: int, encrypted: EncryptedTable, row: Sequence[int]) -> int:
    """Return to the client the class of its row.

    Args:
        parties: As before.
        width: Scores are below 2^width.
        encrypted: What the server sent.
        row: The places of the row's one-hot bits that are set.
    """
    entries = [encrypted[place] for place in (*row, len(encrypted) - 1)]
    scores = [parties.paillier.add(*column) for column in zip(*entries, strict=True)]
    return argmax(parties, width, scores)
