"""The cost lines of docs/protocols.md, evaluated and compared with counted operations and bytes.

A `cost` block lists `name = formula`. Formulas are integer arithmetic on the variables that the
protocol's text explains, with up128, up8 and log2up. Every block is checked on two shapes or more.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from doubles import seeded_coins
from linked_blocks import Pair, pair
from round_trips import (
    chunk_of,
    naive_bayes,
    query_for,
    random_records,
    refresh_session,
    refresh_subject,
    subject_of_query,
    trained,
    vectors_of,
)
from tenants import WIDE_LIMITS, SmallTenant, small_tenant, wide_schema

from crypto.circuits.circuit import Owner
from crypto.circuits.selection import NaiveBayesArgmax
from crypto.counting import Tally, counting
from crypto.dtpkc import Ciphertext
from crypto.ot_extension import draw_delta
from crypto.packing import SlotLayout
from crypto.plaintext_proof import PlaintextProof, Statement, verify_plaintexts
from roles.building_blocks.base_transfers import base_master, base_plan, base_secondary, base_subject
from roles.building_blocks.garble import evaluate_garbled, garble_reply
from roles.building_blocks.multiply import receive_row_sums, send_row_sums
from roles.building_blocks.opening import (
    bit_choices,
    mask_vector,
    open_masked,
    share_bits_master,
    share_bits_secondary,
)
from roles.building_blocks.rekey import rekey_master, rekey_plan, rekey_secondary
from roles.building_blocks.seal import seal_master, seal_secondary, unseal
from roles.building_blocks.transfers import choose, chosen_rows
from roles.chunk_encodings import BITS
from roles.classifiers.naive_bayes_query import QueryShape, query_master, query_secondary
from roles.classifiers.naive_bayes_table import (
    TableShape,
    TableShare,
    refresh_secondary,
    table_share_secondary,
)
from roles.model_state import ModelState
from roles.plan import Plan, Sections
from roles.session import MasterProgram, SecondaryProgram, Session, run_linked
from roles.tenant import LABEL_BITS
from roles.vectors import decode_vectors
from schemas.queries import Query
from schemas.rounds import Subject

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "protocols.md"
Result = TypeVar("Result")
Counted = dict[str, int]

TALLIED = ("multi_bases", "base_ots", "cots", "cot_payload_bytes", "ands")
FUNCTIONS = {
    "up128": lambda x: -(-x // 128) * 128,
    "up8": lambda x: -(-x // 8),
    "log2up": lambda x: (x - 1).bit_length(),
}


@cache
def cost_blocks() -> dict[str, dict[str, str]]:
    """Return every cost block of the document: formula by quantity, by name of the block."""
    blocks: dict[str, dict[str, str]] = {}
    for name, text in re.findall(
        r"^```cost (\w+)\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL
    ):
        assert name not in blocks, f"two cost blocks named {name}"
        blocks[name] = dict(line.split(" = ", 1) for line in text.splitlines())
    return blocks


def documented(name: str, variables: Mapping[str, int]) -> Counted:
    """Evaluate a block's formulas."""
    scope = {"__builtins__": {}, **FUNCTIONS, **variables}
    return {quantity: int(eval(formula, scope)) for quantity, formula in cost_blocks()[name].items()}


def counted(name: str, tallies: Mapping[str, Tally], **others: int) -> Counted:
    """Return what was counted of the quantities that a block names; everything else must be 0."""
    found = dict(others)
    for party, tally in tallies.items():
        # Under the odd sizes of the tests a longer exponent may count as full; the document counts powers.
        found[f"{party}.powers"] = tally.powers_short + tally.powers_full + tally.fixed_base
        found |= {f"{party}.{field}": getattr(tally, field) for field in TALLIED}
    named = cost_blocks()[name]
    unnamed = {quantity: amount for quantity, amount in found.items() if quantity not in named and amount}
    assert not unnamed, f"{name} does not mention {unnamed}"
    return {quantity: found[quantity] for quantity in named}


def compare(name: str, variables: Mapping[str, int], tallies: Mapping[str, Tally], **others: int) -> None:
    assert counted(name, tallies, **others) == documented(name, variables)


SMALL = small_tenant()
TENANT = SMALL.tenant
PARAMETERS = TENANT.parameters
C_BYTES = PARAMETERS.component_bytes
SIZES = {
    "c": C_BYTES,
    "modulus_bits": TENANT.modulus_bits,
    "exponent_bits": PARAMETERS.profile.exponent_bits,
}


def length(*messages: Sections) -> int:
    return sum(len(section) for message in messages for section in message)


# --- blocks


@pytest.mark.parametrize("values", [1, 87, 300])
def test_open_bits(values: int) -> None:
    layout = SlotLayout.fitting(TENANT.modulus_bits, "bits", values, 2, 2, 2)
    ciphertexts = TENANT.service_key.encrypt_many(layout.pack([1] * values), seeded_coins(1))
    both = pair(SMALL, values)
    with counting() as master:
        masked = mask_vector(PARAMETERS, layout, ciphertexts, SMALL.master.theta, seeded_coins(2))
        chosen = choose(both.mu, SMALL.master, "carries", bit_choices(masked.digits), masked.masked)
    request = (masked.masked, *chosen.sections)
    both.request(request)
    with counting() as secondary:
        t2s = [c.t2 for c in ciphertexts]
        digits = open_masked(PARAMETERS, layout, masked.masked, t2s, SMALL.secondary.theta)
        rows = chosen_rows(SMALL.secondary, chosen.sections, values).take(values)
        salt = both.su.salt("carries", digits.tobytes())
        _, corrections = share_bits_secondary(digits, rows, both.su.reply_hash("carries", salt))
    with counting() as again:
        share_bits_master(
            masked.digits, chosen.rows.take(values), corrections, both.mu.reply_hash("carries", salt)
        )
    master.add(again)
    compare(
        "open_bits",
        {**SIZES, "k": layout.ciphertexts, "values": values},
        {"master": master, "secondary": secondary},
        rounds=1,
        request_bytes=length(request),
        reply_bytes=length((salt, corrections)),
    )


@pytest.mark.parametrize("n", [1, 128, 129])
def test_choose(n: int) -> None:
    both = pair(SMALL, n)
    with counting() as receiver:
        chosen = choose(both.mu, SMALL.master, "choices", np.zeros(n, dtype=np.uint8))
    with counting() as sender:
        chosen_rows(SMALL.secondary, chosen.sections, n)
    compare(
        "choose",
        {**SIZES, "n": n},
        {"receiver": receiver, "sender": sender},
        message_bytes=length(chosen.sections),
    )


@pytest.mark.parametrize(("n", "features", "classes", "word"), [(1, 3, 2, 4), (5, 30, 3, 8)])
def test_multiply(n: int, features: int, classes: int, word: int) -> None:
    both = pair(SMALL, n)
    dtype = np.uint32 if word == 4 else np.uint64
    bits = np.zeros((n, features), dtype=np.uint8)
    salt = bytes(16)
    with counting() as receiver:
        chosen = choose(both.mu, SMALL.master, "choices", bits.reshape(-1))
    with counting() as sender:
        rows = chosen_rows(SMALL.secondary, chosen.sections, bits.size).take(bits.size)
        table = np.zeros((features, classes), dtype=dtype)
        _, corrections = send_row_sums(rows, bits, table, both.su.reply_hash("products", salt))
    with counting() as again:
        receive_row_sums(
            chosen.rows.take(bits.size),
            corrections,
            (n, features, classes),
            dtype,
            both.mu.reply_hash("products", salt),
        )
    receiver.add(again)
    compare(
        "multiply",
        {"n": n, "F": features, "C": classes, "w": word},
        {"receiver": receiver, "sender": sender},
        message_bytes=length((salt, corrections)),
    )


@pytest.mark.parametrize(("classes", "batch"), [(2, 1), (4, 9)])
def test_garble(classes: int, batch: int) -> None:
    circuit = NaiveBayesArgmax((2, 3), classes, score_bits=10, label_bits=4)
    both: Pair = pair(SMALL, batch)
    inputs = {
        item.name: np.zeros((*item.shape, batch), dtype=np.uint8)
        for item in circuit.inputs()
        if item.owner is not Owner.EVALUATOR
    }
    count = circuit.choice_count(batch)
    with counting() as master:
        chosen = choose(both.mu, SMALL.master, "choices", np.zeros(count, dtype=np.uint8))
    both.request(chosen.sections)
    with counting() as secondary:
        rows = chosen_rows(SMALL.secondary, chosen.sections, count)
        reply = garble_reply(both.su, circuit, batch, rows, inputs, SMALL.secondary.sender.delta)
    with counting() as again:
        evaluate_garbled(both.mu, circuit, batch, chosen.rows, reply)
    master.add(again)
    compare(
        "garble",
        {"gates": circuit.and_gates(batch), "choices": count, "outputs": 4 * batch},
        {"master": master, "secondary": secondary},
        rounds=1,
        request_bytes=length(chosen.sections),
        reply_bytes=length(reply),
    )


@pytest.mark.parametrize("rows", [1, 10, 25])
def test_seal(rows: int) -> None:
    layout = TENANT.label_layout(rows)
    shares = [1] * rows
    key = SMALL.client_key.public
    with counting() as secondary:
        sealed = seal_secondary(key, layout, shares, seeded_coins(1))
    with counting() as master:
        published = seal_master(key, layout, sealed, shares, seeded_coins(2))
    with counting() as client:
        unseal(SMALL.client_key, layout, published)
    compare(
        "seal",
        {**SIZES, "l": layout.ciphertexts},
        {"master": master, "secondary": secondary, "client": client},
        reply_bytes=len(sealed) * PARAMETERS.ciphertext_bytes,
    )


# --- messages from outside


def bits_of(small: SmallTenant, query: Query) -> tuple[Ciphertext, ...]:
    """Return a query's ciphertexts."""
    layouts = (small.tenant.query_layout(query.rows),)
    return decode_vectors(small.tenant, query.vectors, (BITS,), layouts)[BITS]


@pytest.mark.parametrize("rows", [1, 30])
def test_encrypt_and_prove(rows: int) -> None:
    asked = random_records(SMALL, rows, "costs")
    with counting() as sender:
        query = query_for(SMALL, asked)
    count = TENANT.query_layout(rows).ciphertexts
    compare(
        "encrypt_and_prove",
        {**SIZES, "k": count},
        {"sender": sender},
        message_bytes=sum(len(vector.ciphertexts) for vector in query.vectors) + len(query.proof),
    )


@pytest.mark.parametrize("rows", [1, 30])
def test_verify_proof(rows: int) -> None:
    query = query_for(SMALL, random_records(SMALL, rows, "costs"))
    ciphertexts = bits_of(SMALL, query)
    proof = PlaintextProof.decode(PARAMETERS, len(ciphertexts), query.proof)
    with counting() as master, pytest.raises(Exception, match="does not verify"):
        # Under another context: the work is the same.
        verify_plaintexts(TENANT.service_key, [Statement(ciphertexts, proof, b"")], seeded_coins(0))
    compare("verify_proof", {"k": len(ciphertexts)}, {"master": master})


@pytest.mark.parametrize("size", [1, 30])
def test_train(size: int) -> None:
    chunk = chunk_of(SMALL, 0, size)
    learner, vectors = naive_bayes(SMALL), vectors_of(SMALL, chunk)
    empty = learner.starting()
    with counting() as master:
        learnt = learner.learn(empty, "a", size, vectors)
        learner.withdraw(learnt, "a", size, vectors)
    compare("train", {}, {"master": master}, rounds=0)


# --- sessions


class Metered:
    """Both halves of a session, each with its own tally; and what travelled."""

    def __init__(self) -> None:
        self.master = Tally()
        self.secondary = Tally()
        self.requests: list[Sections] = []
        self.replies: list[Sections] = []

    def of_master(self, program: MasterProgram[Result]) -> MasterProgram[Result]:
        with counting() as part:
            sections = next(program)
        self.master.add(part)
        while True:
            self.requests.append(sections)
            reply = yield sections
            finished: list[Result] = []
            with counting() as part:
                try:
                    sections = program.send(reply)
                except StopIteration as end:
                    finished.append(end.value)
            self.master.add(part)
            if finished:
                return finished[0]

    def of_secondary(self, program: SecondaryProgram[object]) -> SecondaryProgram[object]:
        request = yield next(program)
        while True:
            with counting() as part:
                reply = program.send(request)
            self.secondary.add(part)
            self.replies.append(reply)
            request = yield reply

    def compare(self, name: str, variables: Mapping[str, int], plan: Plan) -> None:
        assert sum(step.bytes_exchanged for step in plan.steps) == length(*self.requests, *self.replies)
        compare(
            name,
            variables,
            {"master": self.master, "secondary": self.secondary},
            rounds=len(self.requests),
            request_bytes=length(*self.requests),
            reply_bytes=length(*self.replies),
        )


def run(
    metered: Metered,
    mu: Session,
    master: MasterProgram[Result],
    su: Session,
    secondary: SecondaryProgram[object],
) -> Result:
    return run_linked(metered.of_master(master), mu, metered.of_secondary(secondary), su)


def test_base_transfers() -> None:
    metered = Metered()
    plan = base_plan(TENANT)
    mu, su = (Session(TENANT, unit, unit.encode() * 16, base_subject(), plan) for unit in ("mu", "su"))
    master = base_master(mu, draw_delta(seeded_coins(1), garbling=False))
    secondary = base_secondary(su, draw_delta(seeded_coins(2), garbling=True))
    run(metered, mu, master, su, secondary)
    metered.compare("base_transfers", SIZES, plan)


@pytest.mark.parametrize("k", [1, 5])
def test_rekey(k: int) -> None:
    small = small_tenant(owner_keys=True)
    assert small.owner_key is not None
    subject, plan = Subject("rekey", client="a"), rekey_plan(small.tenant, k)
    mu, su = (Session(small.tenant, unit, unit.encode() * 16, subject, plan) for unit in ("mu", "su"))
    key, metered = small.owner_key.public, Metered()
    ciphertexts = key.encrypt_many(list(range(k)), seeded_coins("chunk"))
    master = rekey_master(mu, small.master, key, ciphertexts)
    run(metered, mu, master, su, rekey_secondary(su, small.secondary))
    metered.compare("rekey", {**SIZES, "k": k}, plan)
    assert metered.master.powers_full >= k
    assert metered.secondary.powers_full >= 2 * k


WIDE = small_tenant(wide_schema(), limits=WIDE_LIMITS)
SESSIONS = [(SMALL, (20,), 1), (SMALL, (20, 30, 90), 12), (WIDE, (3,), 5)]


def refreshed(small: SmallTenant, model: ModelState) -> tuple[Metered, TableShape, TableShare]:
    metered = Metered()
    subject = refresh_subject(small, model)
    shape = naive_bayes(small).table_shape(model.records)
    su = Session(small.tenant, "su", small.secondary.seed, subject, shape.plan)
    mu, master = refresh_session(small, model)
    table = run(metered, mu, master, su, refresh_secondary(su, small.secondary, shape))
    return metered, shape, table


@pytest.mark.parametrize(("small", "sizes", "rows"), SESSIONS)
def test_refresh(small: SmallTenant, sizes: tuple[int, ...], rows: int) -> None:
    model = trained(small, sizes)
    metered, shape, _ = refreshed(small, model)
    schema = small.tenant.schema
    distinct = len(set(schema.attribute_sizes))
    entries = schema.onehot_columns * schema.class_count + (distinct + 1) * schema.class_count
    variables = {
        **SIZES,
        "k": len(model.ciphertexts),
        "E": entries,
        "b": model.records.bit_length(),
        "W": shape.score_width,
        "G": shape.circuit.and_gates(entries),
    }
    metered.compare("refresh", variables, shape.plan)


@pytest.mark.parametrize(("small", "sizes", "rows"), SESSIONS)
def test_query(small: SmallTenant, sizes: tuple[int, ...], rows: int) -> None:
    model = trained(small, sizes)
    _, table_shape, table = refreshed(small, model)
    schema = small.tenant.schema
    query = query_for(small, random_records(small, rows, "asked"))
    subject = subject_of_query(small, model, query)
    shape = QueryShape(table_shape, rows)
    mu, su = (
        Session(small.tenant, secrets.role, secrets.seed, subject, shape.plan)
        for secrets in (small.master, small.secondary)
    )
    ciphertexts = bits_of(small, query)
    key = small.client_key.public
    share = table_share_secondary(small.secondary, table_shape, subject)
    metered = Metered()
    run(
        metered,
        mu,
        query_master(mu, small.master, shape, ciphertexts, table, key),
        su,
        query_secondary(su, small.secondary, shape, tuple(c.t2 for c in ciphertexts), share, key),
    )
    variables = {
        **SIZES,
        "n": rows,
        "F": schema.onehot_columns,
        "C": schema.class_count,
        "W": table_shape.score_width,
        "w": np.dtype(table_shape.dtype).itemsize,
        "k": shape.layout.ciphertexts,
        "l": shape.labels.ciphertexts,
        "G": shape.circuit.and_gates(rows),
    }
    assert LABEL_BITS == 16
    metered.compare("query", variables, shape.plan)


def test_the_words_of_the_wide_tenant_are_wide() -> None:
    assert naive_bayes(SMALL).table_shape(1).dtype is np.uint32
    assert naive_bayes(WIDE).table_shape(1).dtype is np.uint64


def test_every_cost_block_is_checked() -> None:
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    # Those are in test_logistic_costs.py and test_padded_tree_costs.py.
    others = {"lr_learn", "lr_query", "dt_padded_attempt"}
    assert set(cost_blocks()) - others <= tested
