"""The cryptosystem: keys, encryption, opening, proofs, checks of foreign numbers."""

from collections.abc import Sequence
from functools import partial

from benchmarks.deployment import Deployment
from benchmarks.measure import Benchmark, Prepared
from crypto.arithmetic import FixedBase, power
from crypto.coins import Coins
from crypto.dtpkc import Ciphertext, add, draw_exponent
from crypto.key_generation import generate_weak_key
from crypto.key_proof import prove_key, verify_key
from crypto.multi_power import multi_power
from crypto.packing import ROOM_BITS
from crypto.plaintext_proof import Statement, prove_plaintexts, table_bits, verify_plaintexts
from crypto.profiles import MASK_BITS
from crypto.service_key import finish_open, half_open
from crypto.strong_key import combine, partial_decrypt, root_combine, root_partial
from crypto.validation import validate_ciphertexts
from roles.tenant import tenant_from

CONTEXT = b"benchmark"
MANY = 30
"""Ciphertexts in a row that is measured per ciphertext."""


class Primitives:
    """The benchmarks of `crypto` up to proofs, on one deployment's keys."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._profile = deployment.profile

    def benchmarks(self) -> list[Benchmark]:
        """Return the benchmarks; key generation first, since its last keys serve all others."""
        return [
            *self._of_keys(),
            *self._of_powers(),
            *self._of_ciphertexts(),
            *self._of_proofs(),
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

    def _of_ciphertexts(self) -> list[Benchmark]:
        return [
            Benchmark(
                "primitive.encrypt",
                "Encrypt one packed plaintext, tables prepared",
                "ciphertext",
                self._encrypt,
                target=0.03,
            ),
            Benchmark(
                "primitive.encrypt_without_tables",
                "Encrypt one packed plaintext under a key without tables",
                "ciphertext",
                self._encrypt_without_tables,
            ),
            Benchmark(
                "primitive.open",
                "Open one ciphertext: MU's half and SU's half",
                "ciphertext",
                partial(self._open, 1),
                target=0.2,
            ),
            Benchmark(
                "primitive.open_many",
                f"Open {MANY} ciphertexts together: both halves",
                "ciphertext",
                partial(self._open, MANY),
                target=0.2,
            ),
            Benchmark("primitive.decrypt", "Decrypt as the owner of a weak key", "ciphertext", self._decrypt),
            Benchmark(
                "primitive.open_strong",
                "Open by strong shares, both steps",
                "ciphertext",
                self._open_strong,
                repetitions=5,
            ),
            Benchmark(
                "primitive.open_root",
                "Open by root shares, both steps",
                "ciphertext",
                self._open_root,
                repetitions=5,
            ),
            Benchmark("primitive.add", "Add two ciphertexts", "ciphertext", self._add),
            Benchmark(
                "primitive.validate",
                "Check a foreign ciphertext, before its proof",
                "ciphertext",
                self._validate,
            ),
        ]

    def _of_proofs(self) -> list[Benchmark]:
        rows = []
        for size in (1, 5):
            word = "ciphertext" if size == 1 else "ciphertexts"
            rows += [
                Benchmark(
                    f"primitive.prove_{size}",
                    f"Prove knowledge of the plaintexts of {size} {word}",
                    "proof",
                    partial(self._prove, size),
                ),
                Benchmark(
                    f"primitive.verify_{size}",
                    f"Verify one proof about {size} {word}",
                    "proof",
                    partial(self._verify, 1, size),
                ),
            ]
        rows.append(
            Benchmark(
                "primitive.verify_60x5",
                "Verify 60 proofs about 5 ciphertexts each together",
                "proof",
                partial(self._verify, 60, 5),
            )
        )
        return rows

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

    # --- ciphertexts

    def _encrypt(self) -> Prepared:
        key = self._deployment.plain_tenant.service_key
        plaintexts = self._plaintexts(MANY)
        return Prepared(lambda: key.encrypt_many(plaintexts, Coins.fresh()), units=MANY)

    def _encrypt_without_tables(self) -> Prepared:
        parameters = self._deployment.parameters
        h, n_squared = self._deployment.client_key.public.h, parameters.n_squared
        (plaintext,) = self._plaintexts(1)

        def encrypt() -> Ciphertext:
            r = self._exponent()
            t1 = power(h, r, n_squared) * (1 + plaintext * parameters.n) % n_squared
            return Ciphertext(t1, power(parameters.g, r, n_squared))

        return Prepared(encrypt)

    def _open(self, size: int) -> Prepared:
        parameters, ciphertexts = self._deployment.parameters, self._ciphertexts(size)
        theta_m, theta_s = (self._deployment.enrolled[role].theta for role in ("mu", "su"))
        bits = self._profile.modulus_bits - ROOM_BITS + MASK_BITS
        coins = Coins.fresh()

        def open_all() -> list[int]:
            masks = [coins.integer_bits(bits) for _ in ciphertexts]
            halves = half_open(parameters, ciphertexts, theta_m, masks)
            return finish_open(parameters, halves, [c.t2 for c in ciphertexts], theta_s)

        return Prepared(open_all, units=size)

    def _decrypt(self) -> Prepared:
        key = self._deployment.client_key
        (plaintext,) = self._plaintexts(1)
        ciphertext = key.public.encrypt(plaintext, Coins.fresh())
        return Prepared(lambda: key.decrypt(ciphertext))

    def _open_strong(self) -> Prepared:
        parameters, strong = self._deployment.dealt
        ciphertexts = self._ciphertexts(1)
        first, second = strong.split(Coins.fresh())
        return Prepared(
            lambda: combine(
                parameters, partial_decrypt(ciphertexts, first), partial_decrypt(ciphertexts, second)
            )
        )

    def _open_root(self) -> Prepared:
        _, strong = self._deployment.dealt
        ciphertexts = self._ciphertexts(1)
        first, second = strong.split_root(Coins.fresh())
        return Prepared(lambda: root_combine(ciphertexts, root_partial(ciphertexts, first), second))

    def _add(self) -> Prepared:
        parameters, (a, b) = self._deployment.parameters, self._ciphertexts(2)
        return Prepared(lambda: add(parameters, a, b))

    def _validate(self) -> Prepared:
        parameters, ciphertexts = self._deployment.parameters, self._ciphertexts(MANY)
        return Prepared(lambda: validate_ciphertexts(parameters, ciphertexts), units=MANY)

    # --- proofs

    def _prove(self, size: int) -> Prepared:
        key = self._deployment.plain_tenant.service_key
        plaintexts = self._plaintexts(size)
        randomness = [self._exponent() for _ in plaintexts]
        ciphertexts = key.encrypt_many_with(plaintexts, randomness)
        coins = Coins.fresh()
        return Prepared(
            lambda: prove_plaintexts(key, ciphertexts, plaintexts, randomness, context=CONTEXT, coins=coins)
        )

    def _verify(self, proofs: int, size: int) -> Prepared:
        key, coins = self._deployment.plain_tenant.service_key, Coins.fresh()
        statements = []
        for _ in range(proofs):
            plaintexts = self._plaintexts(size)
            randomness = [self._exponent() for _ in plaintexts]
            ciphertexts = key.encrypt_many_with(plaintexts, randomness)
            proof = prove_plaintexts(key, ciphertexts, plaintexts, randomness, context=CONTEXT, coins=coins)
            statements.append(Statement(ciphertexts, proof, CONTEXT))
        return Prepared(lambda: verify_plaintexts(key, statements, Coins.fresh()), units=proofs)

    # --- inputs

    def _exponent(self) -> int:
        return draw_exponent(self._deployment.parameters, Coins.fresh())

    def _residue(self) -> int:
        return Coins.fresh().unit_below(self._deployment.parameters.n_squared)

    def _plaintexts(self, size: int) -> list[int]:
        coins = Coins.fresh()
        return [coins.integer_bits(self._profile.modulus_bits - ROOM_BITS) for _ in range(size)]

    def _ciphertexts(self, size: int) -> Sequence[Ciphertext]:
        return self._deployment.plain_tenant.service_key.encrypt_many(self._plaintexts(size), Coins.fresh())
