"""Ciphertexts and proofs: encryption, opening, checks of foreign ones."""

from collections.abc import Sequence
from functools import partial

from benchmarks.deployment import Deployment
from benchmarks.measure import Benchmark, Prepared
from crypto.arithmetic import power
from crypto.coins import Coins
from crypto.dtpkc import Ciphertext, add, draw_exponent
from crypto.packing import ROOM_BITS
from crypto.plaintext_proof import Statement, prove_plaintexts, verify_plaintexts
from crypto.profiles import MASK_BITS
from crypto.service_key import finish_open, half_open
from crypto.strong_key import combine, partial_decrypt, root_combine, root_partial
from crypto.validation import validate_ciphertexts

CONTEXT = b"benchmark"
MANY = 30
"""Ciphertexts in a row that is measured per ciphertext."""


class Ciphertexts:
    """The benchmarks of ciphertexts and of proofs about them, on one deployment's keys."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._profile = deployment.profile

    def benchmarks(self) -> list[Benchmark]:
        """Return the benchmarks."""
        return [*self._of_ciphertexts(), *self._of_proofs()]

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

    def _plaintexts(self, size: int) -> list[int]:
        coins = Coins.fresh()
        return [coins.integer_bits(self._profile.modulus_bits - ROOM_BITS) for _ in range(size)]

    def _ciphertexts(self, size: int) -> Sequence[Ciphertext]:
        return self._deployment.plain_tenant.service_key.encrypt_many(self._plaintexts(size), Coins.fresh())
