"""The cost lines of Priv-LR, evaluated and compared with counted operations and bytes."""

import re
from pathlib import Path

import pytest
from linked_logistic import Learner, encrypt_records, plain_records
from tenants import SmallTenant, small_tenant

from crypto.counting import Tally, counting
from roles.classifiers.logistic_regression import LogisticLearner
from roles.classifiers.logistic_regression_query import QueryShape, query_master, query_secondary
from roles.classifiers.logistic_regression_schedule import LogisticSchedule
from roles.classifiers.logistic_regression_shape import LogisticRecords, OpeningShape
from roles.classifiers.logistic_regression_training import TrainingShape, learn_master, learn_secondary
from roles.session import MasterProgram, SecondaryProgram, Session
from schemas.models import LogisticSpec, TreeSpec

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "protocols.md"
Counted = dict[str, int]


def documented(name: str, variables: Counted) -> Counted:
    """Evaluate a cost block."""
    (block,) = re.findall(rf"^```cost {name}\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    functions = {"up128": lambda x: -(-x // 128) * 128, "up8": lambda x: -(-x // 8)}
    scope = {"__builtins__": {}, **functions, **variables}
    lines = (line.split(" = ", 1) for line in block.splitlines())
    return {quantity: int(eval(formula, scope)) for quantity, formula in lines}


def run(
    mu: Session, master: MasterProgram[object], su: Session, secondary: SecondaryProgram[None]
) -> Counted:
    """Run a session; return what each unit counted and what travelled."""
    tallies = {"master": Tally(), "secondary": Tally()}
    rounds = request_bytes = reply_bytes = 0
    next(secondary)
    reply = None
    try:
        while True:
            with counting() as tally:
                try:
                    request = next(master) if reply is None else master.send(reply)
                finally:
                    tallies["master"].add(tally)
            for session in (mu, su):
                session.absorb_request(request)
            with counting() as tally:
                reply = secondary.send(request)
            tallies["secondary"].add(tally)
            for session in (mu, su):
                session.absorb_reply(reply)
            rounds += 1
            request_bytes += sum(map(len, request))
            reply_bytes += sum(map(len, reply))
    except StopIteration:
        found = {"rounds": rounds, "request_bytes": request_bytes, "reply_bytes": reply_bytes}
    for unit, tally in tallies.items():
        found[f"{unit}.powers"] = tally.powers_short + tally.powers_full + tally.fixed_base
        found |= {f"{unit}.{name}": getattr(tally, name) for name in ("cots", "cot_payload_bytes", "ands")}
    return found


SHAPES = [
    (LogisticRecords(3, (), (), 2), LogisticSchedule(passes=3)),
    (LogisticRecords(2, (3, 4), (1,), 3), LogisticSchedule(passes=2, momentum_16=9, l2_shift=5)),
    (LogisticRecords(0, (3, 2), (0, 1), 2), LogisticSchedule(momentum_16=14)),
]


@pytest.fixture(scope="module")
def small() -> SmallTenant:
    return small_tenant()


def variables(small: SmallTenant, learner: Learner, rows: int, *, labelled: bool) -> Counted:
    records, shape = learner.records, learner.shape
    words, bits = shape.words_layout(rows), shape.bits_layout(rows, labelled=labelled)
    return {
        "c": small.tenant.parameters.component_bytes,
        "n": rows,
        "w": records.words,
        "b": shape.columns,
        "q": records.query_bits + records.classes * labelled,
        "K": shape.problems,
        "k_w": words.ciphertexts if words else 0,
        "k_b": bits.ciphertexts if bits else 0,
    }


@pytest.mark.parametrize(("records", "schedule"), SHAPES)
def test_learn(small: SmallTenant, records: LogisticRecords, schedule: LogisticSchedule) -> None:
    learner, rows = Learner(small, records, schedule), 40
    encrypted = encrypt_records(small, learner.shape, plain_records(records, rows, "c"), "c", labelled=True)
    training = TrainingShape(learner.shape, rows, 0)
    subject = learner.subject("learn", rows, "costs")
    mu = Session(small.tenant, "mu", small.master.seed, subject, training.plan)
    su = Session(small.tenant, "su", small.secondary.seed, subject, training.plan)
    master = learn_master(mu, small.master, training, learner.state, encrypted)
    found = run(mu, master, su, learn_secondary(su, small.secondary, training))
    choices = [step.update.choice_count(1) for step in training.steps]
    values = learner.shape.state.values
    sizes = {
        "k_s": learner.shape.state.ciphertexts,
        "V": values,
        "T": len(training.steps),
        "A": training.opening.state_circuit.and_gates(values),
        "S": training.steps[0].sigmoid.and_gates(rows * learner.shape.problems),
        "U": sum(step.update.and_gates(1) for step in training.steps),
        "I": sum(choices),
        "J": sum(16 + 16 * -(-count // 128) * 128 for count in choices),
    }
    assert found == documented("lr_learn", variables(small, learner, rows, labelled=True) | sizes)


@pytest.mark.parametrize("probabilities", [False, True])
@pytest.mark.parametrize(("records", "schedule"), SHAPES)
def test_query(
    small: SmallTenant, records: LogisticRecords, schedule: LogisticSchedule, probabilities: bool
) -> None:
    learner, rows = Learner(small, records, schedule), 40
    encrypted = encrypt_records(small, learner.shape, plain_records(records, rows, "c"), "c", labelled=False)
    query = QueryShape(learner.shape, rows, probabilities)
    subject = learner.subject("query", rows, "costs")
    mu = Session(small.tenant, "mu", small.master.seed, subject, query.plan)
    su = Session(small.tenant, "su", small.secondary.seed, subject, query.plan)
    t2s = {"words": tuple(c.t2 for c in encrypted.words), "bits": tuple(c.t2 for c in encrypted.bits)}
    key = small.client_key.public
    master = query_master(mu, small.master, query, learner.state, encrypted, key)
    found = run(mu, master, su, query_secondary(su, small.secondary, query, t2s, key))
    sizes = {
        "k_s": query.opening.state.ciphertexts,
        "V": query.opening.values,
        "A": query.opening.state_circuit.and_gates(query.opening.values),
        "G": query.circuit.and_gates(rows),
        "v": query.circuit.values,
        "l": query.answers.ciphertexts,
    }
    assert found == documented("lr_query", variables(small, learner, rows, labelled=False) | sizes)


def test_bins_of_numbers_are_opened_only_beside_models_that_read_them() -> None:
    # small_schema: colour (3) and size (3, with missing) as bits, weight (4 bins) as a number; 3 classes.
    scaled = LogisticSpec("lr")
    found = {}
    for beside in ((), (TreeSpec("dt"),)):
        tenant = small_tenant(models=(scaled, *beside)).tenant
        learner = LogisticLearner(tenant, scaled)
        for name, shape, labelled in (("learn", learner.training, 1), ("query", learner.asked, 0)):
            layout = shape.bits_layout(10, labelled=bool(labelled))
            assert layout is not None
            opened = OpeningShape(shape, 10, training=bool(labelled))
            q = shape.records.query_bits + shape.records.classes * labelled
            assert layout.values == 10 * q
            assert (opened.feature_bits, opened.carries) == (10 * 6, 10)
            found[name, len(beside)] = (shape.records.words, shape.columns, q)
    b, classes, bins = 6, 3, 4
    assert found == {
        ("learn", 0): (1, b, b + classes),
        ("query", 0): (1, b, b),
        ("learn", 1): (1, b, b + classes + bins),
        ("query", 1): (1, b, b),
    }
