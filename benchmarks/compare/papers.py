"""Figures that papers give, with their conditions, and the ratios that PrivML is held against.

From memory, as docs/benchmarks.md says: the texts were not at hand.
"""

from dataclasses import dataclass

from benchmarks.compare.entry import BAYES, LOGISTIC

# Bost et al. 2015, section X: 80 bits, wall time on two machines' worth of cores, 40 ms between them.
BOST_BAYES = "1.42 s wall, 150.7 kB, 42 messages (Nursery, 80 bits)"
BOST_LINEAR = "204 ms wall, 35.8 kB, 7 messages (breast cancer, 30 weights, 80 bits)"
BOST_TREE = "2,639 kB, 30 messages (Nursery, 4 nodes, 80 bits)"


@dataclass(frozen=True, slots=True)
class Headline:
    """A ratio that the first PrivML reported, and which of our figures stand for it.

    Attributes:
        claim: As reported.
        ratio: The other system's figure divided by PrivML's.
        task: Where the entries are.
        other: Key of the other system's entry, without its size.
        figure: Name of the figure in `Entry`.
        reason: What decides how large the ratio is.
    """

    claim: str
    ratio: float
    task: str
    other: str
    figure: str
    reason: str


HEADLINES = (
    Headline(
        "46 times faster than Bost et al.",
        46,
        BAYES,
        "bost",
        "query_cpu",
        "CPU alone is compared here; most of the published time of Bost et al. is waiting for messages. "
        "Their server knows the model, so that they need few powers a row and no garbled table.",
    ),
    Headline(
        "2,241 times less traffic than Bost et al.",
        2241,
        BAYES,
        "bost",
        "query_bytes",
        "A row under a model that nobody knows takes transfers and garbled gates for every one-hot column "
        "and class; theirs takes a comparison a class. 2,241 times less than theirs would be fewer bytes "
        "than one ciphertext has.",
    ),
    Headline(
        "151 times faster training than FHE naive Bayes",
        151,
        BAYES,
        "tenseal",
        "train_cpu",
        "Owners count a chunk before they encrypt it. With FHE they could do so as well, and gain as much.",
    ),
    Headline(
        "2,647 times faster inference than FHE naive Bayes",
        2647,
        BAYES,
        "tenseal",
        "query_cpu",
        "FHE leaves logarithms and the choice of the best class to whoever holds the key here, who reads "
        "the model and every score: a weaker promise, and a fast one.",
    ),
    Headline(
        "2 times faster training than FHE logistic regression",
        2,
        LOGISTIC,
        "tenseal",
        "train_cpu",
        "Powers are few since records are packed; a step is transfers and garbled sigmoids.",
    ),
    Headline(
        "150 times less traffic than FHE logistic regression",
        150,
        LOGISTIC,
        "tenseal",
        "train_bytes",
        "With FHE records are uploaded and that is all; here each of seven steps exchanges garbled tables "
        "and corrections as well. FHE's evaluation keys, some megabytes, are not counted.",
    ),
)
