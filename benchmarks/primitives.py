"""Keys and powers: what every other figure is made of."""

from functools import partial

from benchmarks.deployment import Deployment
from benchmarks.measure import Benchmark, Prepared
from crypto.arithmetic import FixedBase, power
from crypto.coins import Coins
from crypto.dtpkc import draw_exponent
from crypto.key_generation import generate_weak_key
from crypto.key_proof import prove_key, verify_key
from crypto.multi_power import multi_power
from crypto.plaintext_proof import table_bits
from roles.tenant import tenant_from

CONTEXT = b"benchmark"
MANY = 30
"""Ciphertexts in a row that is measured per ciphertext."""


class Primitives:
    """The benchmarks of keys and powers, on one deployment's keys."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._profile = deployment.profile

    def benchmarks(self) -> list[Benchmark]:
        """Return the benchmarks; key generation first, since its last keys serve all others."""
        return [
            *self._of_keys(),
            *self._of_powers(),
        ]

    def _of_keys(self) -> list[Benchmark]:
        return [
            Benchmark(
                "primitive.key_generation",
                "N of two safe primes, g and the strong key",
                "key",
                lambda: Prepared(self._deployment.deal),
                target=450,
                repetitions=9,
                warm_up=False,
            ),
            Benchmark(
                "primitive.weak_key",
                "θ, h and the proof of knowledge of θ",
                "key",
                self._weak_key,
            ),
            Benchmark("primitive.verify_key", "Verify a proof of knowledge of θ", "proof", self._verify_key),
            Benchmark(
                "primitive.check_configuration",
                "Check modulus, generator and all keys of a configuration (start of every role)",
                "start",
                self._check_configuration,
            ),
        ]

    def _of_powers(self) -> list[Benchmark]:
        bits = self._profile.exponent_bits
        proofs = table_bits(self._profile, 5, batch=128)
        return [
            Benchmark(
                "primitive.power_short",
                f"Power mod N² with a {bits}-bit exponent",
                "power",
                self._power,
            ),
            Benchmark(
                "primitive.tables_units",
                f"Tables of g and h that MU keeps: window 6, {proofs}-bit exponents",
                "start",
                partial(self._tables, 6, proofs),
                repetitions=5,
                warm_up=False,
            ),
            Benchmark(
                "primitive.tables_encryption",
                f"Tables of g and h for encryption alone: window 8, {bits}-bit exponents",
                "start",
                partial(self._tables, 8, bits),
                repetitions=5,
                warm_up=False,
            ),
            Benchmark(
                "primitive.power_table_6",
                f"Power by table, window 6, {bits}-bit exponent",
                "power",
                partial(self._table_power, 6),
            ),
            Benchmark(
                "primitive.power_table_8",
                f"Power by table, window 8, {bits}-bit exponent",
                "power",
                partial(self._table_power, 8),
            ),
            Benchmark(
                "primitive.multi_power_single",
                "Product of 6 powers with 128-bit exponents: one component of one proof",
                "base",
                partial(self._multi_power, 6, 128),
            ),
            Benchmark(
                "primitive.multi_power_batch",
                "Product of 360 powers with 208-bit exponents: one component of 60 proofs",
                "base",
                partial(self._multi_power, 360, 208),
            ),
        ]

    # --- keys

    def _weak_key(self) -> Prepared:
        # With the table of g that a unit has at the time of key generation: none.
        parameters = self._deployment.parameters

        def draw() -> None:
            coins = Coins.fresh()
            prove_key(generate_weak_key(parameters, coins), CONTEXT, coins)

        return Prepared(draw)

    def _verify_key(self) -> Prepared:
        coins = Coins.fresh()
        key = generate_weak_key(self._deployment.parameters, coins)
        proof = prove_key(key, CONTEXT, coins)
        return Prepared(lambda: verify_key(key.public, CONTEXT, proof))

    def _check_configuration(self) -> Prepared:
        configuration = self._deployment.plain_tenant.configuration
        insecure = self._profile.insecure
        return Prepared(
            lambda: tenant_from(configuration, allow_insecure=insecure), note="two units, one client"
        )

    # --- powers

    def _power(self) -> Prepared:
        parameters = self._deployment.parameters
        base, exponent = self._residue(), self._exponent()
        return Prepared(lambda: power(base, exponent, parameters.n_squared))

    def _tables(self, window: int, exponent_bits: int) -> Prepared:
        parameters = self._deployment.parameters
        h = self._deployment.plain_tenant.service_key.h

        def build() -> None:
            for base in (parameters.g, h):
                FixedBase(base, parameters.n_squared, exponent_bits, window)

        return Prepared(build)

    def _table_power(self, window: int) -> Prepared:
        parameters = self._deployment.parameters
        table = FixedBase(parameters.g, parameters.n_squared, self._profile.exponent_bits, window)
        exponents = [self._exponent() for _ in range(MANY)]
        return Prepared(lambda: table.powers(exponents), units=MANY)

    def _multi_power(self, bases: int, bits: int) -> Prepared:
        coins, modulus = Coins.fresh(), self._deployment.parameters.n_squared
        values = [self._residue() for _ in range(bases)]
        exponents = [coins.integer_bits(bits) for _ in values]
        return Prepared(lambda: multi_power(values, exponents, modulus), units=bases)

    # --- inputs

    def _exponent(self) -> int:
        return draw_exponent(self._deployment.parameters, Coins.fresh())

    def _residue(self) -> int:
        return Coins.fresh().unit_below(self._deployment.parameters.n_squared)
