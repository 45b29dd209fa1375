"""A tree and its twin on the same stream: for tests of the encrypted Hoeffding tree."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from doubles import seeded_coins
from tenants import SmallTenant

from crypto.dtpkc import Ciphertext
from crypto.packing import SlotLayout
from crypto.service_key import finish_open, half_open
from roles.building_blocks.seal import unseal
from roles.classifiers.hoeffding_tree_labels import LabelShape, labels_master, labels_secondary
from roles.classifiers.hoeffding_tree_padded_attempt import PaddedAttemptShape, attempt_shape
from roles.classifiers.hoeffding_tree_padded_split import pad_master, pad_secondary
from roles.classifiers.hoeffding_tree_query import TreeQueryShape, query_master, query_secondary
from roles.classifiers.hoeffding_tree_shape import TreeModel, TreeState
from roles.classifiers.hoeffding_tree_split import split_master, split_secondary
from roles.classifiers.hoeffding_tree_training import train_master, train_secondary
from roles.classifiers.hoeffding_tree_twin import HoeffdingTreeTwin
from roles.classifiers.hoeffding_tree_window import WindowShape
from roles.plan import Plan, Sections
from roles.session import MasterProgram, Result, SecondaryProgram, Session, run_linked
from schemas.rounds import Subject

Bits = npt.NDArray[np.uint8]
Chunk = tuple[Bits, Bits]


@dataclass
class Messages:
    """The fields that the units exchanged."""

    requests: list[Sections] = field(default_factory=list)
    replies: list[Sections] = field(default_factory=list)

    def sizes(self) -> list[tuple[int, ...]]:
        """Return the sizes of all fields, in order."""
        return [tuple(len(part) for part in message) for message in (*self.requests, *self.replies)]

    def watch(self, program: MasterProgram[Result]) -> MasterProgram[Result]:
        """Run MU's half and note what passes."""
        request = next(program)
        while True:
            self.requests.append(request)
            reply = yield request
            self.replies.append(reply)
            try:
                request = program.send(reply)
            except StopIteration as finished:
                result: Result = finished.value
                return result


@dataclass
class LinkedTree:
    """The encrypted tree with both units in one process, and its twin beside it.

    `opened` and the like use everybody's keys: what no party of a real tenant can do.
    """

    small: SmallTenant
    model: TreeModel
    state: TreeState
    twin: HoeffdingTreeTwin
    messages: Messages = field(default_factory=Messages)
    sessions: int = 0

    @classmethod
    def of(cls, small: SmallTenant, model: TreeModel) -> "LinkedTree":
        """Return a tree before any record."""
        twin = HoeffdingTreeTwin.empty(model.attributes, model.classes, model.settings)
        return cls(small, model, TreeState.empty(model), twin)

    def pair(self, purpose: str, plan: Plan) -> tuple[Session, Session]:
        """Return both units' sessions about something new."""
        self.sessions += 1
        subject = Subject(purpose, "m", self.sessions)
        tenant = self.small.tenant
        return (
            Session(tenant, "mu", self.small.master.seed, subject, plan),
            Session(tenant, "su", self.small.secondary.seed, subject, plan),
        )

    def link(
        self,
        master: MasterProgram[Result],
        secondary: SecondaryProgram[object],
        sessions: tuple[Session, Session],
    ) -> Result:
        """Run both halves and keep what passed between them."""
        self.messages = Messages()
        return run_linked(self.messages.watch(master), sessions[0], secondary, sessions[1])

    def encrypt(self, chunk: Chunk) -> list[Ciphertext]:
        """Encrypt the bits of a chunk as its owner does."""
        rows = np.concatenate(chunk, axis=1)
        layout = self.model.records_layout(len(rows))
        coins = seeded_coins(f"chunk {rows.tobytes().hex()}")
        return self.small.tenant.service_key.encrypt_many(layout.pack(rows.reshape(-1)), coins)

    def learn(self, chunks: Sequence[Chunk]) -> tuple[int, ...]:
        """Train both on the chunks of one window; valid records of each as MU learns them."""
        shape = WindowShape(self.model, self.state.growth, tuple(len(bits) for bits, _ in chunks))
        sessions = self.pair("train", shape.plan)
        ciphertexts = [self.encrypt(chunk) for chunk in chunks]
        result = self.link(
            train_master(sessions[0], self.small.master, shape, ciphertexts, self.state),
            train_secondary(sessions[1], self.small.secondary, shape),
            sessions,
        )
        self.state = result.state
        assert self.twin.learn_window(chunks) == list(result.valid)
        return result.valid

    def attempt(self) -> list[bool]:
        """Try the leaves that are due, in both."""
        shape = attempt_shape(self.model, self.state.growth)
        sessions = self.pair("split", shape.plan)
        if isinstance(shape, PaddedAttemptShape):
            self.state = self.link(
                pad_master(sessions[0], self.small.master, shape, self.state),
                pad_secondary(sessions[1], self.small.secondary, shape),
                sessions,
            )
        else:
            self.state = self.link(
                split_master(sessions[0], self.small.master, shape, self.state),
                split_secondary(sessions[1], self.small.secondary, shape),
                sessions,
            )
        return [decision.splits for decision in self.twin.attempt()]

    def refresh_labels(self) -> None:
        """Find every leaf's majority class, in both."""
        shape = LabelShape(self.model, self.state.growth)
        sessions = self.pair("labels", shape.plan)
        self.state = self.link(
            labels_master(sessions[0], self.small.master, shape, self.state),
            labels_secondary(sessions[1], self.small.secondary, shape),
            sessions,
        )
        self.twin.refresh_labels()

    def ask(self, rows: Bits) -> list[int]:
        """Ask the encrypted tree as a client does."""
        tenant = self.small.tenant
        layout = tenant.query_layout(len(rows))
        coins = seeded_coins("query")
        ciphertexts = tuple(tenant.service_key.encrypt_many(layout.pack(rows.reshape(-1)), coins))
        shape = TreeQueryShape(self.model, self.state.growth, len(rows))
        sessions = self.pair("query", shape.plan)
        key = self.small.client_key.public
        t2s = tuple(ciphertext.t2 for ciphertext in ciphertexts)
        sealed = self.link(
            query_master(sessions[0], self.small.master, shape, ciphertexts, self.state, key),
            query_secondary(sessions[1], self.small.secondary, shape, t2s, key),
            sessions,
        )
        return list(unseal(self.small.client_key, shape.answers, sealed))

    def stream(self, chunks: Sequence[Chunk]) -> int:
        """Train on a stream by the public schedule, comparing everything; how many leaves split."""
        waiting, splits = list(chunks), 0
        while taken := self.state.growth.window([len(bits) for bits, _ in waiting]):
            self.learn(waiting[:taken])
            waiting = waiting[taken:]
            if self.state.growth.attempt_is_due:
                splits += sum(self.attempt())
            self.assert_agreement()
        return splits

    def opened(
        self, layout: SlotLayout, ciphertexts: Sequence[Ciphertext], bits: int
    ) -> npt.NDArray[np.int64]:
        """Return the values of a sealed vector: slots hold twice the value and shares' carries."""
        parameters = self.small.tenant.parameters
        halves = half_open(parameters, ciphertexts, self.small.master.theta, [0] * len(ciphertexts))
        t2s = [ciphertext.t2 for ciphertext in ciphertexts]
        slots = layout.unpack(finish_open(parameters, halves, t2s, self.small.secondary.theta))
        assert all(slot % 2 == 0 for slot in slots)
        return np.array([slot >> 1 & (1 << bits) - 1 for slot in slots])

    def assert_agreement(self) -> None:
        """Compare everything hidden with the twin."""
        state, twin, model = self.state, self.twin, self.model
        assert state.growth == twin.growth
        nodes = len(state.growth.nodes)
        totals = self.opened(model.totals_layout(nodes), state.totals, 32).reshape(nodes, -1)
        assert totals.tolist() == [twin.totals[node].tolist() for node in range(nodes)]
        assert set(state.statistics) == set(state.growth.leaves)
        if state.growth.is_growing:
            for leaf, ciphertexts in state.statistics.items():
                counts = self.opened(model.statistics_layout(), ciphertexts, 32)
                assert counts.reshape(-1, model.classes).tolist() == twin.counts[leaf].tolist()
        inner = state.growth.inner
        if inner:
            tests = self.opened(model.tests_layout(len(inner)), state.tests, 1).reshape(len(inner), -1)
            found = [row.index(1) if sum(row) == 1 else None for row in tests.tolist()]
            assert found == [twin.tests.get(node) for node in inner]
            # A node without a test asks for nothing at all, and there is none unless the tree is padded.
            assert tests.sum(axis=1).tolist() == [int(node in twin.tests) for node in inner]
            assert model.settings.pad_depth or set(twin.tests) == set(inner)


def random_chunk(model: TreeModel, size: int, seed: int | str) -> Chunk:
    """Draw valid records whose class depends on two attributes, with some noise."""
    coins = seeded_coins(f"tree records {seed}")
    indices = [coins.words(size, np.uint32) % np.uint32(width) for width, _ in model.attributes]
    noise = coins.words(size, np.uint32) % np.uint32(5) == 0
    label = (indices[0] == 1) * np.uint32(1) + (indices[-1] > 0) * np.uint32(1)
    label = np.where(noise, coins.words(size, np.uint32), label) % np.uint32(model.classes)
    onehot = [
        np.eye(width, dtype=np.uint8)[column]
        for (width, _), column in zip(model.attributes, indices, strict=True)
    ]
    return np.concatenate(onehot, axis=1), np.eye(model.classes, dtype=np.uint8)[label]
