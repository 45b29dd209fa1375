"""Priv-NB, predict: encrypted one-hot rows become labels sealed under the client's key.

Three round trips, shared by all rows of a query (docs/protocols.md §5):

1. *open*: the rows' bits become XOR shares;
2. *score*: Σ_f x_f·T_fc becomes word shares, one transfer per bit and direction;
3. *decide*: a garbled circuit checks that each row is one-hot and takes the argmax; SU's share
   of the label leaves encrypted under the client's key, and MU adds its own.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from crypto.block_hash import SALT_BYTES
from crypto.circuits.selection import NaiveBayesArgmax
from crypto.dtpkc import Ciphertext, PublicKey, decode_ciphertexts, encode_ciphertexts
from crypto.packing import SlotLayout, bits_of_words, words_of_bits
from roles.building_blocks.garble import evaluate_garbled, garble_reply, garbled_sections
from roles.building_blocks.multiply import Words, receive_row_sums, send_row_sums
from roles.building_blocks.opening import (
    bit_choices,
    mask_vector,
    open_masked,
    share_bits_master,
    share_bits_secondary,
)
from roles.building_blocks.seal import seal_master, seal_secondary
from roles.building_blocks.transfers import choose, chosen_rows, transfer_sections
from roles.classifiers.naive_bayes_table import TableShape, TableShare
from roles.plan import Plan, Section, Sections, Step
from roles.session import MasterProgram, SecondaryProgram, Session, array_bytes
from roles.tenant import LABEL_BITS
from roles.unit_secrets import UnitSecrets

Bits = npt.NDArray[np.uint8]

VERSION = 1


@dataclass(frozen=True)
class QueryShape:
    """The public shape of a query session.

    Attributes:
        table: Shape of the model's table.
        rows: n, rows of the query.
    """

    table: TableShape
    rows: int

    @cached_property
    def layout(self) -> SlotLayout:
        """Of the rows' bits."""
        return self.table.tenant.query_layout(self.rows)

    @cached_property
    def labels(self) -> SlotLayout:
        """Of the sealed labels."""
        return self.table.tenant.label_layout(self.rows)

    @cached_property
    def circuit(self) -> NaiveBayesArgmax:
        """Validity, argmax, masked label; the batch is the rows."""
        schema = self.table.tenant.schema
        return NaiveBayesArgmax(
            attribute_sizes=tuple(schema.attribute_sizes),
            classes=schema.class_count,
            score_bits=self.table.score_width,
            label_bits=LABEL_BITS,
        )

    @property
    def bits(self) -> int:
        """One-hot bits of all rows, n·F."""
        return self.layout.values

    @cached_property
    def plan(self) -> Plan:
        """The query session: open, score, decide."""
        parameters = self.table.tenant.parameters
        words = self.bits * self.table.tenant.schema.class_count * np.dtype(self.table.dtype).itemsize
        carries = -(-self.bits // 8)
        steps = (
            Step(
                "open",
                ("open",),
                (
                    Section("masked", parameters.component_bytes * self.layout.ciphertexts),
                    *transfer_sections(self.bits, "carries"),
                ),
                (
                    Section("salt", SALT_BYTES),
                    Section("carries", carries),
                    *transfer_sections(self.bits, "bits_su"),
                ),
            ),
            Step(
                "score",
                ("multiply",),
                (
                    Section("salt", SALT_BYTES),
                    Section("products", words),
                    *transfer_sections(self.bits, "bits_mu"),
                ),
                (Section("salt", SALT_BYTES), Section("products", words)),
            ),
            Step(
                "decide",
                ("garble", "seal"),
                transfer_sections(self.circuit.choice_count(self.rows), "inputs"),
                (
                    *garbled_sections(self.circuit, self.rows, LABEL_BITS),
                    Section("sealed", parameters.ciphertext_bytes * self.labels.ciphertexts),
                ),
            ),
        )
        numbers = (self.rows, self.table.plan.digest, self.circuit.digest(), self.layout.statement)
        return Plan("naive_bayes.query", VERSION, (*numbers, self.labels.statement), steps)

    def score_bits(self, scores: Words) -> Bits:
        """Return scores (n, C) as the circuit takes them, shape (W, C, n)."""
        return np.ascontiguousarray(bits_of_words(scores.T, self.table.score_width).transpose(2, 0, 1))


def query_master(
    session: Session,
    secrets: UnitSecrets,
    shape: QueryShape,
    ciphertexts: tuple[Ciphertext, ...],
    table: TableShare,
    client_key: PublicKey,
    pool: ThreadPoolExecutor | None = None,
) -> MasterProgram[list[Ciphertext]]:
    """Run MU's half of a query and return the sealed labels.

    Args:
        session: This query's.
        secrets: MU's.
        shape: Of the query.
        ciphertexts: The query's, its proof verified.
        table: MU's share of the table of the model that answers.
        client_key: h_C.
        pool: Threads for the powers.

    Security:
        MU sees uniform masks' counterparts only: bit shares, word shares, masked labels.

    Cost:
        Per ciphertext of bits one short power at each unit, per ciphertext of labels two at
        each; per bit three transfers and one row of labels; three round trips.
    """
    parameters, tenant = session.tenant.parameters, session.tenant
    features, classes = tenant.schema.onehot_columns, tenant.schema.class_count
    # 1: open. The carry of a bit slot needs MU's r⁰ and SU's d⁰.
    coins = session.coins("mask", encode_ciphertexts(parameters, ciphertexts))
    opened = mask_vector(parameters, shape.layout, ciphertexts, secrets.theta, coins, pool)
    carries = choose(session, secrets, "carries", bit_choices(opened.digits), opened.masked)
    salt, corrections, *peer_bits = yield (opened.masked, *carries.sections)
    rows = carries.rows.take(shape.bits)
    bits = share_bits_master(opened.digits, rows, corrections, session.reply_hash("carries", salt))
    # 2: score. First the products with MU's table, chosen by SU's bits; then the other way.
    per_row = bits.reshape(shape.rows, features)
    own_salt = session.salt("products", array_bytes(bits, table.entries))
    peer_rows = chosen_rows(secrets, peer_bits, shape.bits).take(shape.bits)
    own_hash = session.request_hash("products", own_salt)
    scores, products = send_row_sums(peer_rows, per_row, table.entries, own_hash)
    chosen = choose(session, secrets, "bits", bits, products)
    salt, corrections = yield (own_salt, products, *chosen.sections)
    peer_hash = session.reply_hash("products", salt)
    sizes = (shape.rows, features, classes)
    received = receive_row_sums(
        chosen.rows.take(shape.bits), corrections, sizes, shape.table.dtype, peer_hash
    )
    scores = scores + received + table.priors
    # 3: decide. The rows that were pads are spent: labels need their own.
    inputs = {"scores_mu": shape.score_bits(scores), "query": np.ascontiguousarray(per_row.T)}
    choices = shape.circuit.choices(shape.rows, inputs)
    labels = choose(session, secrets, "labels", choices)
    *garbled, sealed = yield labels.sections
    (revealed,) = evaluate_garbled(session, shape.circuit, shape.rows, labels.rows, tuple(garbled))
    shares = words_of_bits(np.ascontiguousarray(revealed.T)).tolist()
    from_peer = decode_ciphertexts(parameters, sealed)
    seal_coins = session.coins("seal", sealed, array_bytes(revealed))
    return seal_master(client_key, shape.labels, from_peer, shares, seal_coins, pool)


def query_secondary(
    session: Session,
    secrets: UnitSecrets,
    shape: QueryShape,
    t2s: tuple[int, ...],
    table: TableShare,
    client_key: PublicKey,
    pool: ThreadPoolExecutor | None = None,
) -> SecondaryProgram[None]:
    """Run SU's half of a query.

    Args:
        session: This query's.
        secrets: SU's.
        shape: Of the query.
        t2s: T2 of the query's ciphertexts, from SU's own copy of the client's signed message.
        table: SU's share of the table of the model that answers.
        client_key: h_C.
        pool: Threads for the powers.

    Security:
        SU sees the masked plaintexts S, which are 2^-80-close to uniform, and shares.
    """
    parameters, tenant = session.tenant.parameters, session.tenant
    features, classes = tenant.schema.onehot_columns, tenant.schema.class_count
    # 1: open.
    request: Sections = yield ()
    masked, *transfer = request
    digits = open_masked(parameters, shape.layout, masked, t2s, secrets.theta, pool)
    salt = session.salt("carries", array_bytes(digits))
    rows = chosen_rows(secrets, transfer, shape.bits).take(shape.bits)
    bits, corrections = share_bits_secondary(digits, rows, session.reply_hash("carries", salt))
    chosen = choose(session, secrets, "bits", bits, corrections)
    request = yield (salt, corrections, *chosen.sections)
    # 2: score.
    peer_salt, products, *transfer = request
    per_row = bits.reshape(shape.rows, features)
    peer_hash = session.request_hash("products", peer_salt)
    sizes = (shape.rows, features, classes)
    scores = receive_row_sums(chosen.rows.take(shape.bits), products, sizes, shape.table.dtype, peer_hash)
    salt = session.salt("products", array_bytes(bits, table.entries))
    rows = chosen_rows(secrets, transfer, shape.bits).take(shape.bits)
    sums, corrections = send_row_sums(rows, per_row, table.entries, session.reply_hash("products", salt))
    scores = scores + sums + table.priors
    request = yield (salt, corrections)
    # 3: decide. The label's mask is SU's share of it, used nowhere else.
    own_bits = {"scores_su": shape.score_bits(scores), "query": np.ascontiguousarray(per_row.T)}
    mask = session.coins("label share", b"", array_bytes(scores, bits)).words(shape.rows, np.uint16)
    own_bits["mask"] = np.ascontiguousarray(bits_of_words(mask, LABEL_BITS).T)
    rows_of_labels = chosen_rows(secrets, request, shape.circuit.choice_count(shape.rows))
    garbled = garble_reply(session, shape.circuit, shape.rows, rows_of_labels, own_bits, secrets.sender.delta)
    seal_coins = session.coins("seal", encode_key(client_key), array_bytes(mask))
    sealed = seal_secondary(client_key, shape.labels, mask.tolist(), seal_coins, pool)
    yield (*garbled, encode_ciphertexts(parameters, sealed))


def encode_key(key: PublicKey) -> bytes:
    """Return h at fixed width."""
    return key.h.to_bytes(key.parameters.component_bytes, "big")
