"""What one counted operation takes on this machine: measured at start, or read from a benchmark's JSON."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from crypto.arithmetic import FixedBase, power
from crypto.block_hash import SALT_BYTES, BlockHash
from crypto.circuits.circuit import Owner
from crypto.circuits.selection import NaiveBayesArgmax
from crypto.coins import Coins
from crypto.correlated_ot import receive_words, send_words
from crypto.counting import Tally
from crypto.garbling import GarblingStreams, evaluate, garble
from crypto.multi_power import multi_power
from crypto.ot_extension import NONCE_BYTES, ReceivedRows, ReceiverBase, SenderBase, SentRows, draw_delta
from crypto.profiles import Profile
from pipeline.csv_input import InputFileError
from schemas.reasons import ReasonCode

MESSAGE_SECONDS = 0.004
"""CPU of writing, signing, reading and verifying a message of a few kilobytes, both ends together."""
MESSAGE_BYTE_SECONDS = 1.5e-8
"""The same for each further byte: sealing, hashing and storing it."""
ROUND_SECONDS = 0.003
"""Waiting in a round trip beside anybody's CPU: the embedded log's bell and the disk."""
ROWS = 20_000
WORDS = 8
MULTI_BASES = 12
WIDE_BATCH = 512
TRANSCRIPT = bytes(32)


@dataclass(frozen=True, slots=True)
class OperationRates:
    """CPU seconds of one operation at one party.

    Attributes:
        power_full: A power mod N² with an exponent of |N| bits: 1 PM.
        power_short: One with an exponent of the profile's length.
        power_table: The same by a table of the base.
        multi_base: A base of a multi-exponentiation.
        transfer: A row of the transfer extension.
        payload_byte: A byte of corrections, sent and received.
        gate: An AND gate, garbled or evaluated.
        layer: A layer of gates, whatever its width.
    """

    power_full: float
    power_short: float
    power_table: float
    multi_base: float
    transfer: float
    payload_byte: float
    gate: float
    layer: float

    def powers(self, tally: Tally) -> float:
        """Return the seconds of what threads can share among cores."""
        return tally.powers_full * self.power_full + tally.powers_short * self.power_short

    def seconds(self, tally: Tally, layers: int = 0) -> float:
        """Return the CPU seconds of counted operations."""
        return (
            self.powers(tally)
            + tally.fixed_base * self.power_table
            + tally.multi_bases * self.multi_base
            + tally.cots * self.transfer
            + tally.cot_payload_bytes * self.payload_byte
            + tally.ands * self.gate
            + layers * self.layer
        )

    def as_dict(self) -> dict[str, float]:
        """Return the rates by name."""
        return asdict(self)


def measure_rates(profile: Profile) -> OperationRates:
    """Measure all rates; takes a second or two at 3072 bits."""
    coins = Coins.fresh()
    bits = profile.modulus_bits
    n = coins.integer_bits(bits) | 1 << bits - 1 | 1

    def residue() -> int:
        # The modulus has small factors, but it is odd.
        return power(2, coins.integer_bits(2 * bits) | 1 << 2 * bits - 1, n * n)

    def exponent(width: int) -> int:
        return coins.integer_bits(width) | 1 << width - 1

    base, short = residue(), profile.exponent_bits
    table = FixedBase(base, n * n, short, 6)
    bases = [residue() for _ in range(MULTI_BASES)]
    weights = [coins.integer_bits(128) for _ in bases]
    transfer, payload = _transfers(coins)
    gate, layer = _gates(coins)
    return OperationRates(
        _timed(lambda: power(base, exponent(bits), n * n), 5),
        _timed(lambda: power(base, exponent(short), n * n), 15),
        _timed(lambda: table.power(exponent(short)), 30),
        _timed(lambda: multi_power(bases, weights, n * n), 5) / MULTI_BASES,
        transfer,
        payload,
        gate,
        layer,
    )


def rates_from(path: Path, profile: Profile) -> OperationRates:
    """Return the rates of a benchmark's JSON object.

    Raises:
        InputFileError: The file is none, or was made with keys of another size.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        if report["profile"] != profile.name:
            raise _unusable(path, f"was measured with the profile '{report['profile']}'")
        rows: Mapping[str, Mapping[str, Any]] = {row["name"]: row for row in report["rows"]}

        def cpu(name: str) -> float:
            return float(rows[name]["cpu_seconds"])

        def counted(name: str, figure: str) -> float:
            return float(rows[name]["counts"][figure])

        wide, narrow = "block.gates_8192", "block.gates_128"
        # So many layers of that width make a million gates.
        layers = 1e6 / 8192, 1e6 / 128
        layer = (cpu(narrow) - cpu(wide)) / (layers[1] - layers[0])
        some, more = "block.transfer_words", "block.transfer_8_words"
        added = counted(more, "cot_payload_bytes") - counted(some, "cot_payload_bytes")
        return OperationRates(
            float(report["pm_seconds"]),
            cpu("primitive.power_short"),
            cpu("primitive.power_table_6"),
            cpu("primitive.verify_5") / counted("primitive.verify_5", "multi_bases"),
            cpu("block.extension") / counted("block.extension", "cots"),
            (cpu(more) - cpu(some)) / added,
            (cpu(wide) - layers[0] * layer) / counted(wide, "ands"),
            layer / 2,
        )
    except OSError as error:
        raise _unusable(path, "cannot be read") from error
    except (KeyError, TypeError, ValueError) as error:
        raise _unusable(path, "is no benchmark's JSON with all rows of powers and blocks") from error


def _unusable(path: Path, why: str) -> InputFileError:
    hint = "make one with `make bench ARGS='--json FILE'`, or leave --rates away to measure"
    return InputFileError(ReasonCode.UNREADABLE_FILE, why, hint, file=str(path))


def _timed(work: Callable[[], object], times: int) -> float:
    seconds = []
    for _ in range(times):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return median(seconds)


def _transfers(coins: Coins) -> tuple[float, float]:
    """Return the seconds of a row at one unit, and of a byte of corrections at both."""
    seeds = tuple(coins.bytes(16) for _ in range(128))
    receiver, sender = ReceiverBase(seeds, seeds), SenderBase(draw_delta(coins, garbling=False), seeds)
    choices, nonce = coins.bits(ROWS), coins.bytes(NONCE_BYTES)
    correlations = coins.words((ROWS, WORDS), np.uint32)
    pads = BlockHash("rates", bytes(SALT_BYTES), TRANSCRIPT)

    def extend() -> tuple[ReceivedRows, SentRows]:
        message, received = receiver.extend(choices, nonce)
        return received.take(ROWS), sender.extend(message, nonce, ROWS).take(ROWS)

    received, sent = extend()

    def correct() -> None:
        _, corrections = send_words(sent, correlations, pads)
        receive_words(received, corrections, WORDS, np.uint32, pads)

    return _timed(extend, 5) / ROWS / 2, _timed(correct, 5) / (ROWS * WORDS * 4)


def _gates(coins: Coins) -> tuple[float, float]:
    """Return the seconds of a gate and of a layer at one unit, from a circuit at two widths."""
    circuit = NaiveBayesArgmax((4, 4), 4, 32, 16)
    layers = circuit.and_layers(1)
    narrow, wide = (_garbled(circuit, batch, coins) / 2 for batch in (1, WIDE_BATCH))
    gate = (wide - narrow) / (circuit.and_gates(WIDE_BATCH) - circuit.and_gates(1))
    return gate, max(0.0, narrow - circuit.and_gates(1) * gate) / layers


def _garbled(circuit: NaiveBayesArgmax, batch: int, coins: Coins) -> float:
    rows = coins.words((circuit.choice_count(batch), 2), np.uint64)
    own = {
        item.name: coins.bits((*item.shape, batch))
        for item in circuit.inputs()
        if item.owner is not Owner.EVALUATOR
    }
    delta = draw_delta(coins, garbling=True)

    def run() -> None:
        salt = bytes(SALT_BYTES)
        garbled = garble(circuit, batch, rows, own, delta=delta, streams=GarblingStreams(salt, TRANSCRIPT))
        evaluate(circuit, batch, rows, garbled.tables, GarblingStreams(salt, TRANSCRIPT))

    return _timed(run, 7)
