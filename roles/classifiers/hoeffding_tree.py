"""Priv-DT as a learner: windows of chunks, attempts to split, labels, queries (docs/protocols.md §7)."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import msgspec

from crypto.dtpkc import Ciphertext, PublicKey
from crypto.errors import LayoutError, SchemaError
from crypto.packing import SlotLayout
from roles.chunk_encodings import BITS
from roles.classifiers.hoeffding_tree_attempt import AttemptShape
from roles.classifiers.hoeffding_tree_detail import decode_growth, encode_growth
from roles.classifiers.hoeffding_tree_growth import MAX_RECORDS, MAX_STATISTICS, Growth, TreeSettings
from roles.classifiers.hoeffding_tree_labels import LabelShape, labels_master, labels_secondary
from roles.classifiers.hoeffding_tree_padded_attempt import PaddedAttemptShape, attempt_shape
from roles.classifiers.hoeffding_tree_padded_split import pad_master, pad_secondary
from roles.classifiers.hoeffding_tree_query import TreeQueryShape, query_master, query_secondary
from roles.classifiers.hoeffding_tree_shape import TreeModel, TreeState
from roles.classifiers.hoeffding_tree_split import split_master, split_secondary
from roles.classifiers.hoeffding_tree_training import WindowResult, train_master, train_secondary
from roles.classifiers.hoeffding_tree_window import WindowShape
from roles.classifiers.learner import (
    GROW,
    LEARN,
    QUERY,
    REFRESH,
    AskedQuery,
    BitQueries,
    Lesson,
    MasterCall,
    SecondaryCall,
    TaughtChunk,
    TaughtLearner,
    Teaching,
    check_sufficiency,
    refresh_subject_of,
)
from roles.model_settings import tree_settings
from roles.model_state import Content, ModelState
from roles.plan import Plan, PlanViolationError
from roles.session import MasterProgram, SecondaryProgram, Session
from roles.tenant import Tenant
from roles.unit_secrets import UnitSecrets
from roles.vectors import query_t2s
from schemas.models import TreeSpec
from schemas.queries import Query
from schemas.rounds import Subject


class TreeLearner(BitQueries[TreeState], TaughtLearner[TreeState]):
    """One Hoeffding tree."""

    def __init__(self, tenant: Tenant, spec: TreeSpec) -> None:
        super().__init__(tenant, spec)
        self._settings = tree_settings(spec)

    @cached_property
    def model(self) -> TreeModel:
        """Schema, settings and layouts."""
        return TreeModel(self.tenant, self.model_id, self._settings)

    # --- state

    def empty(self) -> TreeState:
        """Return the tree before any chunk."""
        return TreeState.empty(self.model)

    def detail(self, content: Content) -> bytes:
        """Return the growth."""
        return encode_growth(_tree(content).growth)

    def restored(self, detail: bytes, records: int, ciphertexts: tuple[Ciphertext, ...]) -> TreeState:
        """Return the content of a sealed model."""
        del records
        growth, sizes = decode_growth(self._settings, detail)
        inner, leaves = len(growth.inner), growth.leaves
        tests = self.model.tests_layout(inner).ciphertexts if inner else 0
        totals = self.model.totals_layout(len(growth.nodes)).ciphertexts
        per_leaf = self.model.statistics_layout().ciphertexts
        if sizes or len(ciphertexts) != tests + totals + len(leaves) * per_leaf:
            raise ValueError("this is no tree of that growth")
        first = tests + totals
        statistics = {
            leaf: ciphertexts[first + place * per_leaf : first + (place + 1) * per_leaf]
            for place, leaf in enumerate(leaves)
        }
        return TreeState(growth, ciphertexts[:tests], ciphertexts[tests:first], MappingProxyType(statistics))

    def check_room(self, state: ModelState, records: int, waiting: int) -> None:
        """Refuse a chunk that no window can hold, or that the tree cannot count."""
        held = _tree(state.content).growth.records + waiting
        if records > MAX_STATISTICS or held + records > MAX_RECORDS:
            raise LayoutError("the tree cannot count that many records")

    def layout(self, state: ModelState) -> SlotLayout:
        """Return the layout of the nodes' class counts."""
        return self.model.totals_layout(len(_tree(state.content).growth.nodes))

    def described(self, state: ModelState) -> dict[str, Any]:
        """Return the shape of the tree: per node its depth and its children."""
        growth = _tree(state.content).growth
        nodes = [
            {"depth": node.depth, "children": None if node.is_leaf else [node.left, node.right]}
            for node in growth.nodes
        ]
        return {"leaves": len(growth.leaves), "nodes": nodes}

    def lesson_size(self, state: ModelState, waiting: Sequence[int]) -> int:
        """Return how many chunks the next window takes; 0 if it waits for more."""
        return _tree(state.content).growth.window(waiting)

    def teach(self, state: ModelState, chunks: Sequence[TaughtChunk]) -> Teaching:
        """Teach the tree a window of chunks, then try the leaves that are due."""
        tree = _tree(state.content)
        sizes = tuple(chunk.records for chunk in chunks)
        window = WindowShape(self.model, tree.growth, sizes)
        about = {
            "message_hash": hashlib.sha256(b"".join(chunk.message_hash for chunk in chunks)).digest(),
            "rows": sum(sizes),
        }
        subject = msgspec.structs.replace(
            self.subject(LEARN, state, **about), detail=encode_growth(tree.growth, sizes)
        )
        vectors = [chunk.vectors[BITS] for chunk in chunks]

        def train(
            session: Session, secrets: UnitSecrets, pool: ThreadPoolExecutor | None
        ) -> MasterProgram[WindowResult]:
            return train_master(session, secrets, window, vectors, tree, pool)

        learnt: WindowResult = yield MasterCall(subject, window.plan, train)
        counted = grown = learnt.state
        if counted.growth.attempt_is_due:
            attempt = attempt_shape(self.model, counted.growth)
            before = ModelState(state.spec, counted, state.version, 0, state.records, state.records_of)

            def split(
                session: Session, secrets: UnitSecrets, pool: ThreadPoolExecutor | None
            ) -> MasterProgram[TreeState]:
                if isinstance(attempt, PaddedAttemptShape):
                    return pad_master(session, secrets, attempt, counted, pool)
                return split_master(session, secrets, attempt, counted, pool)

            grown = yield MasterCall(self.subject(GROW, before, **about), attempt.plan, split)
        invalid = tuple(size - valid for size, valid in zip(sizes, learnt.valid, strict=True))
        return Lesson(grown, invalid)

    def follows(self, state: ModelState, records: Sequence[int], content: Content) -> bool:
        """Return whether the tree has grown by the public schedule."""
        try:
            after = WindowShape(self.model, _tree(state.content).growth, tuple(records)).after
        except LayoutError:
            return False
        grown = _tree(content).growth
        if not after.attempt_is_due:
            return grown == after
        if self._settings.pad_depth:
            return grown == after.after_padded_attempt()
        splits = [leaf < len(grown.nodes) and not grown.nodes[leaf].is_leaf for leaf in after.due]
        return grown == after.after_attempt(splits)

    def culprit(self, step: str) -> int | None:
        """Return the chunk whose number stands in the step's name; attempts are about none."""
        number = re.search(r"\A(?:open|test|route|count) (\d+)", step)
        return None if number is None else int(number[1])

    # --- answering

    def preparation(self, state: ModelState) -> MasterCall[TreeState]:
        """Return the session that finds the leaves' labels; its result is the tree with them."""
        tree = _tree(state.content)
        shape = LabelShape(self.model, tree.growth)

        def program(
            session: Session, secrets: UnitSecrets, pool: ThreadPoolExecutor | None
        ) -> MasterProgram[TreeState]:
            return labels_master(session, secrets, shape, tree, pool)

        return MasterCall(refresh_subject_of(self.subject(REFRESH, state)), shape.plan, program)

    def answering(
        self, state: ModelState, prepared: Any, asked: AskedQuery, client_key: PublicKey
    ) -> MasterCall[list[Ciphertext]]:
        """Return the query's session; `prepared` is the tree with its labels."""
        shape = TreeQueryShape(self.model, _tree(state.content).growth, asked.query.rows)

        def program(
            session: Session, secrets: UnitSecrets, pool: ThreadPoolExecutor | None
        ) -> MasterProgram[list[Ciphertext]]:
            return query_master(session, secrets, shape, asked.vectors[BITS], prepared, client_key, pool)

        return MasterCall(asked.subject, shape.plan, program)

    # --- SU

    def secondary(self, subject: Subject, query: Query | None, client_key: PublicKey | None) -> SecondaryCall:
        """Return SU's half of a window, an attempt, of finding labels, or of a query."""
        try:
            growth, sizes = decode_growth(self._settings, subject.detail)
        except SchemaError as error:
            raise PlanViolationError("no tree grows like that") from error
        if any(size > self.tenant.configuration.limits.max_chunk_records for size in sizes):
            raise PlanViolationError("no chunk has so many records")
        if subject.purpose == QUERY and query is not None and client_key is not None and not sizes:
            return self._query_secondary(subject, growth, query, client_key)
        if query is not None:
            raise PlanViolationError("only a query is about a query")
        match subject.purpose:
            case "learn" if 0 < len(sizes) <= self._settings.chunks_per_seal:
                window = WindowShape(self.model, growth, sizes)
                return SecondaryCall(
                    window.plan,
                    lambda session, secrets, pool: train_secondary(session, secrets, window, pool),
                )
            case "grow" if not sizes and growth.attempt_is_due and growth.has_counted(growth.due):
                return self._attempt_secondary(attempt_shape(self.model, growth))
            case "refresh" if subject == refresh_subject_of(subject) and not sizes:
                check_sufficiency(self.tenant, subject)
                labels = LabelShape(self.model, growth)
                return SecondaryCall(
                    labels.plan,
                    lambda session, secrets, pool: labels_secondary(session, secrets, labels, pool),
                )
            case _:
                raise PlanViolationError("no session of that purpose")

    def _attempt_secondary(self, attempt: AttemptShape) -> SecondaryCall:
        def program(
            session: Session, secrets: UnitSecrets, pool: ThreadPoolExecutor | None
        ) -> SecondaryProgram[object]:
            if isinstance(attempt, PaddedAttemptShape):
                return pad_secondary(session, secrets, attempt, pool)
            return split_secondary(session, secrets, attempt, pool)

        return SecondaryCall(attempt.plan, program)

    def _query_secondary(
        self, subject: Subject, growth: Growth, query: Query, client_key: PublicKey
    ) -> SecondaryCall:
        check_sufficiency(self.tenant, subject)
        shape = TreeQueryShape(self.model, growth, query.rows)
        t2s = query_t2s(self.tenant, query, self.query_encodings, (shape.layout,))

        def program(
            session: Session, secrets: UnitSecrets, pool: ThreadPoolExecutor | None
        ) -> SecondaryProgram[None]:
            return query_secondary(session, secrets, shape, t2s[BITS], client_key, pool)

        return SecondaryCall(shape.plan, program)

    def largest_plans(self) -> Iterator[Plan]:
        """Yield a window of one largest chunk, the largest attempt, and the largest query.

        A window is largest where the last leaf has yet to split, or where none has; an attempt where
        it tries most leaves, or where most nodes are there before it.
        """
        limits = self.tenant.configuration.limits
        if limits.max_chunk_records > MAX_STATISTICS:
            raise LayoutError(f"a tree counts at most {MAX_STATISTICS} records of a chunk")
        growths = list(growing(self._settings))
        full, growing_still = growths[-1], growths[:-1]
        records = min(MAX_RECORDS, limits.max_total_records)
        for growth in {full: None, **dict.fromkeys(growing_still[-1:])}:
            yield WindowShape(self.model, growth, (limits.max_chunk_records,)).plan
        if self._settings.pad_depth:
            turns = (replace(growth, records=records) for growth in _turns(full))
            shapes = [PaddedAttemptShape(self.model, growth) for growth in turns]
            yield max(shapes, key=lambda shape: (len(shape.due), len(shape.spine_nodes))).plan
        elif growing_still:
            widest = max(growing_still, key=lambda growth: (len(growth.due), len(growth.nodes)))
            for growth in dict.fromkeys((widest, growing_still[-1])):
                yield AttemptShape(self.model, replace(growth, records=records)).plan
        yield LabelShape(self.model, full).plan
        yield TreeQueryShape(self.model, full, limits.max_query_rows).plan


def growing(settings: TreeSettings) -> Iterator[Growth]:
    """Yield a tree from its root to as many leaves as the settings permit.

    One split at a time, or, of a padded tree, one attempt.
    """
    growth = Growth(settings)
    yield growth
    while len(growth.leaves) < 1 << settings.pad_depth:
        growth = growth.after_padded_attempt()
        yield growth
    if settings.pad_depth:
        return
    while growth.due:
        growth = growth.after_attempt([True] + [False] * (len(growth.due) - 1))
        yield growth


def _turns(full: Growth) -> Iterator[Growth]:
    """Yield a padded tree of full size before every attempt until the same leaves are due again."""
    seen: set[int] = set()
    while full.last_tried not in seen:
        seen.add(full.last_tried)
        yield full
        full = full.after_padded_attempt()


def _tree(content: Content) -> TreeState:
    if not isinstance(content, TreeState):
        raise TypeError("the version is of another learner")
    return content
