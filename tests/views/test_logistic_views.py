"""What each unit receives in Priv-LR: the same kinds, counts and sizes for any two inputs of one shape."""

from dataclasses import dataclass

import numpy as np
import pytest
from linked_logistic import Learner, PlainRecords, encrypt_records, plain_records
from tenants import SmallTenant, small_tenant

from crypto.counting import Tally, counting
from roles.classifiers.logistic_regression_query import QueryShape, query_master, query_secondary
from roles.classifiers.logistic_regression_schedule import LogisticSchedule
from roles.classifiers.logistic_regression_shape import LogisticRecords
from roles.classifiers.logistic_regression_training import TrainingShape, learn_master, learn_secondary
from roles.plan import Plan, Sections
from roles.session import MasterProgram, SecondaryProgram, Session

RECORDS = LogisticRecords(2, (3,), (0,), 2)
SCHEDULE = LogisticSchedule(passes=2, rate_256=1024)
View = list[tuple[str, int]]


@dataclass(frozen=True)
class Views:
    """What both units saw of one training session and one query, and what they computed."""

    at_master: View
    at_secondary: View
    operations: Tally
    contents: frozenset[bytes]
    salts: tuple[bytes, ...]


class Recorder:
    """Runs linked sessions and keeps every field that travelled."""

    def __init__(self) -> None:
        self.salts: list[bytes] = []
        self.at_master: View = []
        self.at_secondary: View = []
        self.contents: set[bytes] = set()

    def run(
        self, mu: Session, master: MasterProgram[object], su: Session, other: SecondaryProgram[None]
    ) -> object:
        next(other)
        try:
            request = next(master)
            while True:
                for session in (mu, su):
                    session.absorb_request(request)
                self._note(self.at_secondary, mu.plan, mu.step, request, "request")
                reply = other.send(request)
                self._note(self.at_master, mu.plan, mu.step, reply, "reply")
                for session in (mu, su):
                    session.absorb_reply(reply)
                request = master.send(reply)
        except StopIteration as finished:
            return finished.value

    def _note(self, view: View, plan: Plan, step: int, sections: Sections, kind: str) -> None:
        planned = plan.steps[step - 1]
        fields = planned.request if kind == "request" else planned.reply
        for field, data in zip(fields, sections, strict=True):
            view.append((f"{planned.name}/{field.name}", len(data)))
            self.contents.add(data)
            if field.name.endswith(("salt", "nonce")):
                self.salts.append(data)


def journey(small: SmallTenant, train: PlainRecords, asked: PlainRecords, seed: str) -> Views:
    learner = Learner(small, RECORDS, SCHEDULE)
    recorder = Recorder()
    with counting() as tally:
        encrypted = encrypt_records(small, learner.shape, train, seed, labelled=True)
        training = TrainingShape(learner.shape, len(train.words), 0)
        subject = learner.subject("learn", len(train.words), seed)
        mu = Session(small.tenant, "mu", small.master.seed, subject, training.plan)
        su = Session(small.tenant, "su", small.secondary.seed, subject, training.plan)
        master = learn_master(mu, small.master, training, learner.state, encrypted)
        recorder.run(mu, master, su, learn_secondary(su, small.secondary, training))
        rows = encrypt_records(small, learner.shape, asked, f"ask {seed}", labelled=False)
        query = QueryShape(learner.shape, len(asked.words))
        subject = learner.subject("query", len(asked.words), seed)
        mu = Session(small.tenant, "mu", small.master.seed, subject, query.plan)
        su = Session(small.tenant, "su", small.secondary.seed, subject, query.plan)
        key = small.client_key.public
        t2s = {"words": tuple(c.t2 for c in rows.words), "bits": tuple(c.t2 for c in rows.bits)}
        asking = query_master(mu, small.master, query, learner.state, rows, key)
        recorder.run(mu, asking, su, query_secondary(su, small.secondary, query, t2s, key))
    return Views(
        recorder.at_master, recorder.at_secondary, tally, frozenset(recorder.contents), tuple(recorder.salts)
    )


@pytest.fixture(scope="module")
def two_journeys() -> tuple[Views, Views]:
    small = small_tenant()
    flat = PlainRecords(
        np.zeros((9, 2), np.int64), np.tile(np.eye(3, dtype=np.uint8)[0], (9, 1)), np.zeros(9, np.int64)
    )
    wild = PlainRecords(np.full((2, 2), 1023), np.ones((2, 3), dtype=np.uint8), np.zeros(2, np.int64))
    first = journey(small, flat, plain_records(RECORDS, 2, "asked"), "first")
    second = journey(small, plain_records(RECORDS, 9, "other"), wild, "second")
    return first, second


def test_both_inputs_show_the_same_kinds_counts_and_sizes(two_journeys: tuple[Views, Views]) -> None:
    first, second = two_journeys
    assert first.at_master == second.at_master
    assert first.at_secondary == second.at_secondary


def test_both_inputs_cost_the_same_operations(two_journeys: tuple[Views, Views]) -> None:
    first, second = two_journeys
    assert first.operations == second.operations


def test_no_long_field_is_the_same(two_journeys: tuple[Views, Views]) -> None:
    first, second = two_journeys
    # The state of a model without records is public: its T2 is the same. One-bit fields may agree.
    same = {data for data in first.contents & second.contents if len(data) > 4}
    assert len(same) == 1


def test_no_salt_or_nonce_recurs(two_journeys: tuple[Views, Views]) -> None:
    # Rows of the records' bits serve in every pass: only the salts keep their pads apart.
    first, second = two_journeys
    salts = first.salts + second.salts
    assert len(set(salts)) == len(salts) > 50


def test_the_views_are_those_of_the_documents(two_journeys: tuple[Views, Views]) -> None:
    first, _ = two_journeys
    step_su = [
        "forward/weights_mu.nonce",
        "forward/weights_mu.extension",
        "sigmoid/forward.salt",
        "sigmoid/forward.words",
        "sigmoid/forward.bits",
        "sigmoid/scores.nonce",
        "sigmoid/scores.extension",
        "gradient/gradient.salt",
        "gradient/gradient.words",
        "gradient/gradient.bits",
        "gradient/errors_mu.nonce",
        "gradient/errors_mu.extension",
        "update/gradients.nonce",
        "update/gradients.extension",
    ]
    opening = ["open/state.masked", "open/state.t2", "open/words.masked", "open/words.t2", "open/bits.masked"]
    digits = ["open/digits.nonce", "open/digits.extension"]
    conversion = [
        f"forward/{name}.{part}" for name in ("carries_mu", "bits_mu") for part in ("nonce", "extension")
    ]
    query = [name for name in opening if name not in {"open/words.t2", "open/bits.t2"}]
    assert [name for name, _ in first.at_secondary] == [
        *opening,
        "open/bits.t2",
        *digits,
        *conversion,
        *step_su,
        *step_su,
        *query,
        *digits,
        *conversion,
        *step_su[:2],
        "decide/forward.salt",
        "decide/forward.words",
        "decide/forward.bits",
        "decide/scores.nonce",
        "decide/scores.extension",
    ]
    shown = [
        name for name, _ in first.at_master if name.split("/")[1].split(".")[-1] in {"colours", "sealed"}
    ]
    # Masked words of weights and errors by turns; then the masked state and the overflow bit.
    assert shown == [
        "open/state.colours",
        "sigmoid/sigmoid.colours",
        "update/update.colours",
        "sigmoid/sigmoid.colours",
        "update/update.colours",
        "update/sealed",
        "open/state.colours",
        "decide/colours",
        "decide/sealed",
    ]
