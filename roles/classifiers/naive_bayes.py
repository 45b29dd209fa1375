"""Priv-NB as a learner: a plain product of chunks, and the sessions that make answers of it.

Training is ciphertext multiplication alone: no interaction, no decryption, and anyone who holds the
log computes the same bytes (docs/protocols.md §5).
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from crypto.arithmetic import inverses, products_pairwise
from crypto.dtpkc import Ciphertext, PublicKey
from crypto.packing import SlotLayout
from roles.chunk_encodings import BITS, COUNTS, Vectors
from roles.classifiers.learner import (
    QUERY,
    REFRESH,
    AskedQuery,
    BitQueries,
    CountingLearner,
    MasterCall,
    SecondaryCall,
    check_sufficiency,
    refresh_subject_of,
)
from roles.classifiers.naive_bayes_query import QueryShape, query_master, query_secondary
from roles.classifiers.naive_bayes_table import (
    TableShape,
    TableShare,
    refresh_master,
    refresh_secondary,
    table_share_secondary,
)
from roles.model_state import Content, ModelState
from roles.plan import Plan, PlanViolationError
from roles.session import MasterProgram, SecondaryProgram, Session
from roles.tenant import Tenant
from roles.unit_secrets import UnitSecrets
from roles.vectors import query_t2s
from schemas.models import NaiveBayesSpec
from schemas.queries import Query
from schemas.rounds import Subject


@dataclass(frozen=True, slots=True)
class CountTable:
    """[2·counts] of some records.

    Attributes:
        layout: Of the counts, bounded by the records.
        public_ciphertexts: In layout order.
    """

    layout: SlotLayout
    public_ciphertexts: tuple[Ciphertext, ...] = field(repr=False)


class NaiveBayesLearner(BitQueries[CountTable], CountingLearner[CountTable]):
    """One naive-Bayes model."""

    def __init__(self, tenant: Tenant, spec: NaiveBayesSpec) -> None:
        super().__init__(tenant, spec)
        self._alpha_256 = spec.alpha_256

    def table_shape(self, records: int) -> TableShape:
        """Return the shape of the table of a model of so many records."""
        return TableShape(self.tenant, self._alpha_256, records)

    # --- state

    def empty(self) -> CountTable:
        """Return the content before any chunk: public encryptions of zero."""
        layout = self.tenant.counts_layout(0)
        return CountTable(layout, (Ciphertext(1, 1),) * layout.ciphertexts)

    def detail(self, content: Content) -> bytes:
        """Return nothing: all follows from the records."""
        del content
        return b""

    def restored(self, detail: bytes, records: int, ciphertexts: tuple[Ciphertext, ...]) -> CountTable:
        """Return the content of a sealed model."""
        layout = self.tenant.counts_layout(records)
        if detail or len(ciphertexts) != layout.ciphertexts:
            raise ValueError("these are no counts of this tenant")
        return CountTable(layout, ciphertexts)

    def check_room(self, state: ModelState, records: int, waiting: int) -> None:
        """Refuse a chunk whose counts could overflow a slot."""
        _counts(state).layout.plus(self.tenant.counts_layout(records + waiting))

    def layout(self, state: ModelState) -> SlotLayout:
        """Return the layout of the counts."""
        return _counts(state).layout

    def learn(self, state: ModelState, owner: str, records: int, vectors: Vectors) -> ModelState:
        """Return the version with one more chunk of counts in it.

        Cost:
            Two multiplications mod N² per ciphertext.
        """
        table = _counts(state)
        layout = table.layout.plus(self.tenant.counts_layout(records))
        product = self._product(table.public_ciphertexts, vectors[COUNTS])
        return state.taking(owner, records, CountTable(layout, product))

    def withdraw(self, state: ModelState, owner: str, records: int, vectors: Vectors) -> ModelState:
        """Return the version without a chunk that is in it, exactly as if it had never come.

        The caller has made sure that the chunk was accepted and not withdrawn before: anything
        else would borrow across slots.

        Cost:
            Two multiplications per ciphertext and one batch inversion mod N².
        """
        table = _counts(state)
        layout = table.layout.minus(self.tenant.counts_layout(records))
        components = [part for c in vectors[COUNTS] for part in (c.t1, c.t2)]
        inverted = inverses(components, self.tenant.parameters.n_squared)
        pairs = [Ciphertext(*inverted[i : i + 2]) for i in range(0, len(inverted), 2)]
        return state.losing(
            owner, records, CountTable(layout, self._product(table.public_ciphertexts, pairs))
        )

    def _product(self, model: Sequence[Ciphertext], factors: Sequence[Ciphertext]) -> tuple[Ciphertext, ...]:
        n_squared = self.tenant.parameters.n_squared
        t1s = products_pairwise([c.t1 for c in model], [c.t1 for c in factors], n_squared)
        t2s = products_pairwise([c.t2 for c in model], [c.t2 for c in factors], n_squared)
        return tuple(Ciphertext(t1, t2) for t1, t2 in zip(t1s, t2s, strict=True))

    # --- answering

    def preparation(self, state: ModelState) -> MasterCall[TableShare]:
        """Return the refresh: counts become shares of logarithms."""
        shape = self.table_shape(state.records)

        def program(
            session: Session, secrets: UnitSecrets, pool: ThreadPoolExecutor | None
        ) -> MasterProgram[TableShare]:
            return refresh_master(session, secrets, shape, state.ciphertexts, pool)

        return MasterCall(refresh_subject_of(self.subject(REFRESH, state)), shape.plan, program)

    def answering(
        self, state: ModelState, prepared: Any, asked: AskedQuery, client_key: PublicKey
    ) -> MasterCall[list[Ciphertext]]:
        """Return the query's session; `prepared` is MU's share of the table."""
        shape = QueryShape(self.table_shape(state.records), asked.query.rows)

        def program(
            session: Session, secrets: UnitSecrets, pool: ThreadPoolExecutor | None
        ) -> MasterProgram[list[Ciphertext]]:
            return query_master(session, secrets, shape, asked.vectors[BITS], prepared, client_key, pool)

        return MasterCall(asked.subject, shape.plan, program)

    # --- SU

    def secondary(self, subject: Subject, query: Query | None, client_key: PublicKey | None) -> SecondaryCall:
        """Return SU's half of a refresh or a query."""
        check_sufficiency(self.tenant, subject)
        table = self.table_shape(subject.records)
        if subject.detail:
            raise PlanViolationError("naive Bayes has no such detail")
        if subject.purpose == REFRESH:
            if query is not None or subject != refresh_subject_of(subject):
                raise PlanViolationError("a refresh is about a model's counts alone")
            return SecondaryCall(
                table.plan, lambda session, secrets, pool: refresh_secondary(session, secrets, table, pool)
            )
        if subject.purpose != QUERY or query is None or client_key is None:
            raise PlanViolationError("no session of that purpose")
        shape = QueryShape(table, query.rows)
        t2s = query_t2s(self.tenant, query, self.query_encodings, (shape.layout,))

        def program(
            session: Session, secrets: UnitSecrets, pool: ThreadPoolExecutor | None
        ) -> SecondaryProgram[None]:
            share = table_share_secondary(secrets, table, subject)
            return query_secondary(session, secrets, shape, t2s[BITS], share, client_key, pool)

        return SecondaryCall(shape.plan, program)

    def largest_plans(self) -> Iterator[Plan]:
        """Yield refresh and query at their largest."""
        limits = self.tenant.configuration.limits
        table = self.table_shape(limits.max_total_records)
        yield table.plan
        yield QueryShape(table, limits.max_query_rows).plan


def _counts(state: ModelState) -> CountTable:
    content = state.content
    if not isinstance(content, CountTable):
        raise TypeError("the version is of another learner")
    return content
