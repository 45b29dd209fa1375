"""The original building blocks' line, at one modulus size.

What they need for a record is one product's cost times the number of products: a whole record at 3072
bits would take minutes. The numbers are those that a test holds whole runs against.
"""

from dataclasses import dataclass, field

from benchmarks.baselines.epom.comparison import less_than
from benchmarks.baselines.epom.multiplication import multiply
from benchmarks.baselines.epom.naive_bayes import (
    comparisons_per_query,
    products_per_query,
    products_per_record,
    round_trips_per_query,
)
from benchmarks.baselines.epom.servers import Servers
from benchmarks.compare.entry import BAYES, LEVELS, Entry, Stopwatch
from benchmarks.data_sets import DataSet
from crypto.coins import Coins
from crypto.parameters import Parameters
from crypto.strong_key import StrongPrivateKey

TRUST = "two servers that must not collude; nobody learns the model, but CSP the size of differences"


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds and bytes of all parties."""

    cpu: float = 0.0
    size: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.cpu + other.cpu, self.size + other.size)

    def __mul__(self, times: int) -> "Cost":
        return Cost(self.cpu * times, self.size * times)


@dataclass(frozen=True, slots=True)
class Original:
    """The original blocks under one modulus.

    Attributes:
        parameters: N and g.
        strong: The strong key, to be shared.
        watch: Takes the times.
    """

    parameters: Parameters
    strong: StrongPrivateKey = field(repr=False)
    watch: Stopwatch

    def bayes(self, data: DataSet) -> Entry:
        """Return the line of naive Bayes."""
        bits, classes = data.schema.onehot_columns, data.schema.class_count
        encryption, product, comparison = (self._block(name) for name in ("Enc", "SMD", "SLT"))
        products = products_per_record(bits, classes)
        train = encryption * (bits + classes) + product * products
        query = (
            encryption * bits
            + product * products_per_query(bits, classes)
            + comparison * comparisons_per_query(classes)
        )
        size = self.parameters.n.bit_length()
        return Entry(
            BAYES,
            f"original.{size}",
            f"original blocks, {products} products a record (one measured)",
            LEVELS[size],
            TRUST,
            train.cpu,
            train.size,
            query.cpu,
            query.size,
            1 + round_trips_per_query(classes),
        )

    def _block(self, name: str) -> Cost:
        """Measure one encryption, product or comparison."""
        servers = Servers.deal(self.parameters.n, self.parameters.g, self.strong, Coins.fresh())
        x, y = servers.encrypt(3), servers.encrypt(5)

        def work() -> None:
            if name == "SMD":
                multiply(servers, [(x, y)])
            elif name == "SLT":
                less_than(servers, x, y)
            else:
                servers.encrypt(1)
                servers.transcript.send("owner", servers.parameters.ciphertext_bytes)

        work()
        size = servers.transcript.total_bytes
        return Cost(self.watch.cpu(work, once=True), size)
