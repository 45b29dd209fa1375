"""The building blocks that two units run together: transfers, garbling, open, multiply, seal."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from benchmarks.deployment import Deployment
from benchmarks.measure import Benchmark, Prepared
from crypto.block_hash import SALT_BYTES, BlockHash
from crypto.circuits.circuit import Circuit, Input, Owner
from crypto.circuits.engine import Engine, Wires
from crypto.circuits.logarithm import NaiveBayesTable
from crypto.circuits.selection import NaiveBayesArgmax
from crypto.coins import Coins
from crypto.correlated_ot import receive_bits, receive_words, send_bits, send_words
from crypto.garbling import GarblingStreams, evaluate, garble, open_revealed, reveal
from crypto.ot_extension import NONCE_BYTES, ReceivedRows, SentRows
from crypto.packing import SlotLayout
from roles.building_blocks.multiply import receive_row_sums, send_row_sums
from roles.building_blocks.opening import (
    bit_choices,
    mask_vector,
    open_masked,
    share_bits_master,
    share_bits_secondary,
)
from roles.building_blocks.rekey import rekey_master, rekey_plan, rekey_secondary
from roles.building_blocks.seal import seal_master, seal_secondary
from roles.session import Session, run_linked
from roles.tenant import LABEL_BITS
from schemas.rounds import Subject

TRANSCRIPT = bytes(32)
TRANSFERS = 100_000
GATES = 1_000_000
NURSERY = (3, 5, 4, 4, 3, 2, 3, 3)
"""Attribute sizes of the shape on which block figures rest; five classes."""


@dataclass(frozen=True, slots=True)
class Layers(Circuit):
    """A chain of layers of independent gates: nothing but AND.

    Attributes:
        layers: How many; the batch is the gates of a layer.
    """

    layers: int

    def inputs(self) -> tuple[Input, ...]:
        """Return two bits of MU."""
        return (Input("x", Owner.EVALUATOR, ()), Input("y", Owner.EVALUATOR, ()))

    def evaluate(self, engine: Engine, *wires: Wires) -> tuple[Wires, ...]:
        """Return x ∧ y ∧ … ∧ y."""
        x, y = wires
        for _ in range(self.layers):
            x = engine.and_(x, y)
        return (x,)


class Blocks:
    """The benchmarks of the building blocks, both units' halves together."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._coins = Coins.fresh()

    def benchmarks(self) -> list[Benchmark]:
        """Return the benchmarks."""
        argmax = NaiveBayesArgmax(NURSERY, 5, 32, LABEL_BITS)
        logarithm = NaiveBayesTable(16, (256,) * 512, 32, -(1 << 30))
        return [
            Benchmark(
                "block.base_transfers",
                "Base transfers, both directions, once per key epoch",
                "key epoch",
                lambda: Prepared(
                    self._deployment.run_base_transfers, note="2 × 128 transfers, 2 round trips"
                ),
                repetitions=5,
                warm_up=False,
            ),
            Benchmark(
                "block.extension",
                "Transfer extension",
                f"{TRANSFERS:,} rows",
                lambda: Prepared(lambda: self._rows(self._coins.bits(TRANSFERS))),
            ),
            Benchmark(
                "block.transfer_words",
                "Correlated transfers of one 32-bit word, with the extension",
                f"{TRANSFERS:,} transfers",
                lambda: self._words(1),
                target=2,
            ),
            Benchmark(
                "block.transfer_8_words",
                "Correlated transfers of eight 32-bit words, with the extension",
                f"{TRANSFERS:,} transfers",
                lambda: self._words(8),
            ),
            Benchmark(
                "block.transfer_bits",
                "Correlated transfers of one bit, with the extension",
                f"{TRANSFERS:,} transfers",
                self._bits,
            ),
            Benchmark(
                "block.gates_2048",
                "AND gates garbled and evaluated, 2,048 per call",
                "1,000,000 gates",
                lambda: self._gates(2048, GATES),
                target=15,
                repetitions=5,
            ),
            Benchmark(
                "block.gates_8192",
                "AND gates garbled and evaluated, 8,192 per call",
                "1,000,000 gates",
                lambda: self._gates(8192, GATES),
                target=15,
                repetitions=5,
            ),
            Benchmark(
                "block.gates_128",
                "AND gates garbled and evaluated, 128 per call",
                "1,000,000 gates",
                lambda: self._gates(128, GATES // 8),
            ),
            Benchmark(
                "block.open_bits",
                "Open one ciphertext of bits into shares of its 1,495 bits",
                "ciphertext",
                self._open_bits,
            ),
            Benchmark(
                "block.multiply",
                "Shared one-hot rows of 27 bits times a shared table of 5 classes, both directions",
                "row",
                lambda: self._multiply(100),
            ),
            Benchmark(
                "block.garble_argmax",
                "Validity, argmax and masked label of a row of 27 bits and 5 classes, with the extension",
                "row",
                lambda: self._circuit(argmax, 100),
            ),
            Benchmark(
                "block.garble_logarithm",
                "An entry of the naive-Bayes table: log2 of a 16-bit count, with the extension",
                "entry",
                lambda: self._circuit(logarithm, 512),
            ),
            Benchmark(
                "block.seal",
                "Seal 175 shared labels, one ciphertext, under a client's key",
                "ciphertext",
                self._seal,
            ),
            Benchmark(
                "block.rekey",
                "Re-key a ciphertext under an owner's key with shares of the strong key, both units",
                "ciphertext",
                lambda: self._rekey(4),
            ),
        ]

    def _rows(self, choices: npt.NDArray[np.uint8]) -> tuple[ReceivedRows, SentRows]:
        """Extend MU's choices; both units' rows."""
        mu, su = self._deployment.unit_secrets("mu"), self._deployment.unit_secrets("su")
        nonce = self._coins.bytes(NONCE_BYTES)
        message, received = mu.receiver.extend(choices, nonce)
        sent = su.sender.extend(message, nonce, len(choices))
        return received.take(len(choices)), sent.take(len(choices))

    def _hashes(self, purpose: str) -> tuple[BlockHash, BlockHash]:
        salt = self._coins.bytes(SALT_BYTES)
        return BlockHash(purpose, salt, TRANSCRIPT), BlockHash(purpose, salt, TRANSCRIPT)

    def _words(self, width: int) -> Prepared:
        choices = self._coins.bits(TRANSFERS)
        correlations = self._coins.words((TRANSFERS, width), np.uint32)

        def transfer() -> None:
            received, sent = self._rows(choices)
            sender_hash, receiver_hash = self._hashes("words")
            _, corrections = send_words(sent, correlations, sender_hash)
            receive_words(received, corrections, width, np.uint32, receiver_hash)

        return Prepared(transfer)

    def _bits(self) -> Prepared:
        choices, correlations = self._coins.bits(TRANSFERS), self._coins.bits(TRANSFERS)

        def transfer() -> None:
            received, sent = self._rows(choices)
            sender_hash, receiver_hash = self._hashes("bits")
            _, corrections = send_bits(sent, correlations, sender_hash)
            receive_bits(received, corrections, receiver_hash)

        return Prepared(transfer)

    def _gates(self, width: int, gates: int) -> Prepared:
        layers = -(-gates // width)
        prepared = self._circuit(Layers(layers), width)
        return Prepared(prepared.work, units=layers * width / GATES)

    def _circuit(self, circuit: Circuit, batch: int) -> Prepared:
        """Garble and evaluate a circuit on random inputs, and open what MU may read."""
        choices = self._coins.bits(circuit.choice_count(batch))
        own = {
            item.name: self._coins.bits((*item.shape, batch))
            for item in circuit.inputs()
            if item.owner is not Owner.EVALUATOR
        }
        delta = self._deployment.unit_secrets("su").sender.delta

        def run() -> None:
            received, sent = self._rows(choices)
            salt = self._coins.bytes(SALT_BYTES)
            streams = GarblingStreams(salt, TRANSCRIPT)
            garbled = garble(circuit, batch, sent.rows, own, delta=delta, streams=streams)
            streams = GarblingStreams(salt, TRANSCRIPT)
            outputs = evaluate(circuit, batch, received.rows, garbled.tables, streams)
            open_revealed(outputs, reveal(garbled.outputs))

        return Prepared(run, units=batch, note=f"{circuit.and_gates(batch) / batch:.0f} gates each")

    def _open_bits(self) -> Prepared:
        deployment, parameters = self._deployment, self._deployment.parameters
        mu, su = deployment.unit_secrets("mu"), deployment.unit_secrets("su")
        slots = (deployment.profile.modulus_bits - 82) // 2
        layout = SlotLayout.fitting(deployment.profile.modulus_bits, "bits", slots, 2, 2, 2)
        plaintexts = layout.pack(self._coins.bits(slots))
        ciphertexts = deployment.plain_tenant.service_key.encrypt_many(plaintexts, self._coins)
        t2s = [ciphertext.t2 for ciphertext in ciphertexts]

        def open_bits() -> None:
            masked = mask_vector(parameters, layout, ciphertexts, mu.theta, self._coins)
            received, sent = self._rows(bit_choices(masked.digits))
            sender_hash, receiver_hash = self._hashes("carries")
            digits = open_masked(parameters, layout, masked.masked, t2s, su.theta)
            _, corrections = share_bits_secondary(digits, sent, sender_hash)
            share_bits_master(masked.digits, received, corrections, receiver_hash)

        return Prepared(open_bits)

    def _multiply(self, rows: int) -> Prepared:
        features, classes = sum(NURSERY), 5
        bits = [self._coins.bits((rows, features)) for _ in range(2)]
        tables = [self._coins.words((features, classes), np.uint32) for _ in range(2)]
        sizes = (rows, features, classes)

        def multiply() -> None:
            # The second direction costs the same as the first, so that MU chooses in both here.
            for choices, own, table in ((bits[0], bits[1], tables[0]), (bits[1], bits[0], tables[1])):
                received, sent = self._rows(choices.reshape(-1))
                sender_hash, receiver_hash = self._hashes("products")
                _, corrections = send_row_sums(sent, own, table, sender_hash)
                receive_row_sums(received, corrections, sizes, np.uint32, receiver_hash)

        return Prepared(multiply, units=rows)

    def _seal(self) -> Prepared:
        tenant = self._deployment.plain_tenant
        layout = tenant.label_layout(175)
        key = self._deployment.client_key.public
        shares = [self._coins.words(175, np.uint16).tolist() for _ in range(2)]

        def seal() -> None:
            sealed = seal_secondary(key, layout, shares[0], self._coins)
            seal_master(key, layout, sealed, shares[1], self._coins)

        return Prepared(seal, note=f"{layout.ciphertexts} ciphertext")

    def _rekey(self, ciphertexts: int) -> Prepared:
        deployment, tenant = self._deployment, self._deployment.plain_tenant
        _, strong = deployment.dealt
        shares = strong.split_root(self._coins)
        master, secondary = (
            replace(deployment.unit_secrets(role), strong_share=share)
            for role, share in zip(("mu", "su"), shares, strict=True)
        )
        # Any key that is not the service key.
        key = deployment.client_key.public
        chunk = key.encrypt_many([1] * ciphertexts, self._coins)
        plan = rekey_plan(tenant, ciphertexts)
        step = plan.steps[0]

        def rekey() -> None:
            subject = Subject("rekey", message_hash=self._coins.bytes(32))
            mu = Session(tenant, "mu", master.seed, subject, plan)
            su = Session(tenant, "su", secondary.seed, subject, plan)
            run_linked(rekey_master(mu, master, key, chunk), mu, rekey_secondary(su, secondary), su)

        return Prepared(
            rekey,
            units=ciphertexts,
            note=f"1 round trip, {step.bytes_exchanged // ciphertexts:,} bytes a ciphertext",
        )
