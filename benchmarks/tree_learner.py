"""A Hoeffding tree on one data set, grown to so many leaves, party by party."""

import hashlib
from collections.abc import Sequence
from dataclasses import fields, replace
from functools import cached_property
from types import MappingProxyType

from benchmarks.data_sets import DataSet
from benchmarks.deployment import OWNER, Deployment
from benchmarks.exchange import receive
from benchmarks.learner import Learner
from crypto.coins import Coins
from crypto.dtpkc import Ciphertext
from crypto.packing import SlotLayout
from crypto.parameters import encode_ciphertexts
from roles.classifiers.hoeffding_tree import TreeLearner
from roles.classifiers.hoeffding_tree_attempt import AttemptShape
from roles.classifiers.hoeffding_tree_shape import TreeState
from roles.classifiers.hoeffding_tree_twin import Decision, HoeffdingTreeTwin
from roles.classifiers.hoeffding_tree_window import WindowShape
from roles.classifiers.learner import TaughtChunk
from roles.entry_content import EntryContent
from roles.kept_model import KeptModel
from roles.master_unit import MasterUnit
from roles.model_settings import tree_settings
from roles.model_state import ModelState
from roles.plan import Plan
from roles.receipts import receipts_due
from roles.screening import ScreenedChunk, failing_proofs
from roles.twins import PlainTree, Twin
from schemas.codec import encode
from schemas.journal import JournalEntry
from schemas.models import TreeSpec
from schemas.snapshots import SealedModel, SealedPlace, WaitingChunk
from schemas.topics import TopicName

MODEL = "dt"
SPEC = TreeSpec(MODEL, max_leaves=128)
"""Room for more leaves than any tree here has, so that all of them still count and are tried."""


class _Eager(HoeffdingTreeTwin):
    """A tree whose leaves split whenever they are tried."""

    def decide(self, leaf: int) -> Decision:
        found = HoeffdingTreeTwin.decide(self, leaf)
        return replace(found, splits=True, test=max(0, found.test))


class GrownTree(Learner):
    """A tree of so many leaves that still grows, with the statistics of the whole data set.

    Args:
        deployment: Everybody's keys.
        data: The data set.
        leaves: How many.
    """

    chunk_records = 200

    def __init__(self, deployment: Deployment, data: DataSet, leaves: int) -> None:
        super().__init__(deployment, data, SPEC)
        self.leaves = leaves

    @cached_property
    def tree(self) -> TreeLearner:
        """What is public of the tree."""
        if not isinstance(self.learner, TreeLearner):
            raise TypeError("the model is another one")
        return self.learner

    @cached_property
    def grown(self) -> HoeffdingTreeTwin:
        """The tree in the clear: every attempt splits until it is full, then it is set as it is measured."""
        options = {name: getattr(SPEC, name) for name in SPEC.__struct_fields__}
        plain = PlainTree(TreeSpec(**options | {"max_leaves": self.leaves}), self.data.schema)
        empty = plain.twin
        plain.twin = twin = _Eager.empty(empty.attributes, empty.classes, empty.growth.settings)
        for number in range(len(self.data.records) // self.chunk_records):
            plain.learn(self.data.batch(self.chunk_records, number))
        growth = twin.growth
        twin.growth = replace(growth, settings=tree_settings(SPEC), tried_at=growth.records, last_tried=-1)
        twin.refresh_labels()
        return HoeffdingTreeTwin(**{field.name: getattr(twin, field.name) for field in fields(twin)})

    @cached_property
    def model(self) -> ModelState:
        """The same tree encrypted."""
        twin, model = self.grown, self.tree.model
        nodes, inner = range(len(twin.growth.nodes)), twin.growth.inner
        tests = [int(twin.tests[node] == test) for node in inner for test in range(model.tests)]
        totals = [count for node in nodes for count in twin.totals[node].tolist()]
        layout = model.statistics_layout()
        statistics = {
            leaf: self._encrypted(layout, twin.counts[leaf].reshape(-1).tolist())
            for leaf in twin.growth.leaves
        }
        state = TreeState(
            twin.growth,
            self._encrypted(model.tests_layout(len(inner)), tests),
            self._encrypted(model.totals_layout(len(nodes)), totals),
            MappingProxyType(statistics),
        )
        records = twin.growth.records
        held = MappingProxyType({OWNER: records})
        chunks = records // self.chunk_records
        return ModelState(self.tree.spec, state, chunks, chunks, records, held)

    def _encrypted(self, layout: SlotLayout, values: Sequence[int]) -> tuple[Ciphertext, ...]:
        return tuple(self.tenant.service_key.encrypt_many(layout.pack(values), Coins.fresh()))

    @cached_property
    def window(self) -> list[list[bytes]]:
        """The chunks of one window, after which an attempt falls due."""
        size = self.tree.lesson_size(self.model, [self.chunk_records] * SPEC.chunks_per_seal)
        return [self.publish(self.data.batch(self.chunk_records, number), number) for number in range(size)]

    @property
    def window_records(self) -> int:
        """Records of a window."""
        return len(self.window) * self.chunk_records

    def accepted(self) -> tuple[MasterUnit, list[TaughtChunk]]:
        """Have MU check, journal and acknowledge the window's chunks, which then wait for the tree."""
        unit = MasterUnit(self.tenant, {MODEL: KeptModel(self.learner, self.model, self.model)})
        screened = []
        for offset, wires in enumerate(self.window):
            found = unit.screen_chunk(receive(self.tenant, TopicName.CHUNKS, wires, offset))
            if not isinstance(found, ScreenedChunk):
                raise TypeError("a chunk was taken for a withdrawal")
            screened.append(found)
        if failing_proofs([chunk.proven for chunk in screened]):
            raise RuntimeError("a proof failed")
        for chunk in screened:
            entry = unit.decide_chunk(chunk)
            if entry.reason:
                raise RuntimeError(f"a chunk was refused: {entry.reason}")
            self._apply(unit, entry, EntryContent(chunk.vectors), chunk.arrival.sequence)
        return unit, [
            TaughtChunk(OWNER, chunk.records, chunk.arrival.message_hash, chunk.vectors) for chunk in screened
        ]

    def _apply(
        self,
        unit: MasterUnit,
        entry: JournalEntry,
        content: EntryContent,
        sequence: int = 0,
        closed: Sequence[WaitingChunk] = (),
    ) -> None:
        entry_id = self._journal(entry)
        unit.apply(entry, entry_id, content)
        for _, receipt in receipts_due(entry, entry_id, sequence, closed):
            self._sign_as_mu(TopicName.RECEIPTS, "receipt", encode(receipt))

    def teach(self) -> ModelState:
        """Accept a window, run its session and the attempt, seal and journal the tree after it."""
        unit, chunks = self.accepted()
        kept = unit.models[MODEL]
        lesson = self._lesson(self.tree.teach(kept.model, chunks))
        learnt = kept.model
        for chunk, invalid in zip(chunks, lesson.invalid, strict=True):
            learnt = learnt.taking(OWNER, chunk.records - invalid, lesson.content)
        ciphertexts = encode_ciphertexts(self.tenant.parameters, learnt.ciphertexts)
        body = SealedModel(
            MODEL,
            learnt.version,
            learnt.chunks,
            learnt.records,
            tuple(learnt.records_of.items()),
            self.tree.detail(learnt.content),
            ciphertexts,
        )
        self._sign_as_mu(TopicName.SNAPSHOTS, "model", encode(body))
        place = SealedPlace(0, 0, bytes(32), hashlib.sha256(ciphertexts).digest())
        entry = unit.decide_learnt(MODEL, lesson.invalid, place)
        self._apply(unit, entry, EntryContent(learnt=lesson.content), closed=unit.closed_chunks(entry))
        return unit.models[MODEL].model

    @property
    def plans(self) -> tuple[Plan, Plan]:
        """The plans of the window's session and of the attempt's after it."""
        sizes = (self.chunk_records,) * len(self.window)
        window = WindowShape(self.tree.model, self.grown.growth, sizes)
        return window.plan, AttemptShape(self.tree.model, window.after).plan

    @cached_property
    def labels_plan(self) -> Plan:
        """The plan of the session that finds the leaves' labels."""
        return self.tree.preparation(self.model).plan

    @cached_property
    def twin(self) -> Twin:
        """The tree in the clear, as it is asked."""
        plain = PlainTree(SPEC, self.data.schema)
        plain.twin = self.grown
        return plain
