"""One model on one data set, party by party, as the services do it; only the log is missing."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from benchmarks.data_sets import DataSet
from benchmarks.deployment import CLIENT, OWNER, Deployment
from benchmarks.exchange import receive, run_rounds, sign
from crypto.coins import Coins
from crypto.parameters import encode_ciphertexts
from roles.classifiers.learner import (
    QUERY,
    AskedQuery,
    Lesson,
    MasterCall,
    Result,
    TaughtChunk,
    TaughtLearner,
    Teaching,
)
from roles.client import make_query, read_answer
from roles.data_owner import make_chunk
from roles.encoding import EncodedRecords
from roles.entry_content import EntryContent
from roles.kept_model import KeptModel
from roles.learners import AnyLearner, learner_of
from roles.master_unit import MasterUnit
from roles.model_state import ModelState
from roles.plan import Plan
from roles.receipts import receipts_due
from roles.screening import ScreenedChunk, failing_proofs
from roles.secondary_unit import SecondaryUnit
from roles.session import Session
from roles.tenant import Tenant
from roles.twins import Twin, twin_of
from roles.vectors import decode_vectors
from schemas.codec import decode, encode
from schemas.envelope import message_id
from schemas.heads import Head
from schemas.journal import JournalEntry
from schemas.models import ModelSpec
from schemas.queries import Answer, Query
from schemas.snapshots import SealedModel, SealedPlace
from schemas.topics import TopicName

CHUNK_RECORDS = 500


@dataclass(frozen=True, slots=True)
class Asked:
    """A query on its topic: its wire forms, and the labels it should be answered with."""

    query: Query
    wires: list[bytes]
    expected: list[int]


class Learner:
    """A model on one data set: a tenant, the model trained on all records, and what answers need.

    Args:
        deployment: Everybody's keys.
        data: The data set.
        spec: The model.
        pool: Threads of both units, for their powers; none where CPU alone is measured.
    """

    def __init__(
        self,
        deployment: Deployment,
        data: DataSet,
        spec: ModelSpec,
        pool: ThreadPoolExecutor | None = None,
    ) -> None:
        self.deployment = deployment
        self.data = data
        self.spec = spec
        self._pool = pool

    @cached_property
    def tenant(self) -> Tenant:
        """The tenant whose schema is the data set's."""
        return self.deployment.tenant(self.data.schema, self.spec)

    @cached_property
    def learner(self) -> AnyLearner:
        """What is public of the model."""
        return learner_of(self.tenant, self.spec)

    # --- owner

    def publish(self, records: EncodedRecords, sequence: int) -> list[bytes]:
        """Encode, encrypt, prove and sign one chunk."""
        chunk = make_chunk(self.tenant, OWNER, sequence, records, Coins.fresh())
        keys = self.deployment.signing_keys
        return sign(keys, self.tenant, OWNER, TopicName.CHUNKS, "chunk", encode(chunk), sequence)

    def chunks(self, number: int) -> list[list[bytes]]:
        """Return that many published chunks."""
        return [self.publish(self.data.batch(CHUNK_RECORDS, i), i) for i in range(number)]

    # --- MU

    def learn(self, chunks: list[list[bytes]], together: int = 1) -> MasterUnit:
        """Do all that MU does with chunks, so many at a time, lessons with SU included; return it."""
        unit = MasterUnit.starting(self.tenant)
        for first in range(0, len(chunks), together):
            screened = []
            for offset, wires in enumerate(chunks[first : first + together], start=first):
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
                entry_id = self._journal(entry)
                unit.apply(entry, entry_id, EntryContent(chunk.vectors))
                for _, receipt in receipts_due(entry, entry_id, chunk.arrival.sequence):
                    self._sign_as_mu(TopicName.RECEIPTS, "receipt", encode(receipt))
                self._teach(unit, chunk)
        return unit

    def _teach(self, unit: MasterUnit, chunk: ScreenedChunk) -> None:
        """Run the lesson that a chunk makes full, seal what was learnt and journal it."""
        kept = unit.models[self.spec.model_id]
        learner: AnyLearner = kept.learner
        if not isinstance(learner, TaughtLearner) or not kept.lesson_size():
            return
        arrival = chunk.arrival
        taught = TaughtChunk(arrival.sender, chunk.records, arrival.message_hash, chunk.vectors)
        lesson = self._lesson(learner.teach(kept.model, [taught]))
        model = kept.model.taking(taught.owner, taught.records - lesson.invalid[0], lesson.content)
        ciphertexts = encode_ciphertexts(self.tenant.parameters, model.ciphertexts)
        owners, detail = tuple(model.records_of.items()), self.learner.detail(model.content)
        sealed = SealedModel(
            self.spec.model_id, model.version, model.chunks, model.records, owners, detail, ciphertexts
        )
        wires = self._sign_as_mu(TopicName.SNAPSHOTS, "model", encode(sealed), model.version)
        place = SealedPlace(0, model.version, message_id(wires[0]), hashlib.sha256(ciphertexts).digest())
        entry = unit.decide_learnt(self.spec.model_id, lesson.invalid, place)
        unit.apply(entry, self._journal(entry), EntryContent(learnt=lesson.content))

    def _lesson(self, teaching: Teaching) -> Lesson:
        secondary = self.deployment.secondary_unit(self.tenant, self.deployment.bases[1], pool=self._pool)
        try:
            call = next(teaching)
            while True:
                call = teaching.send(self._run(call, secondary))
        except StopIteration as finished:
            lesson: Lesson = finished.value
            return lesson

    @cached_property
    def model(self) -> ModelState:
        """The model of all records of the data set."""
        return self.learn([self.publish(self.data.records, 0)]).models[self.spec.model_id].model

    @cached_property
    def prepared(self) -> Any:
        """What MU keeps of the session that precedes queries; nothing for models without one."""
        return self.refresh()

    def refresh(self) -> Any:
        """Publish the head about the model and run the session that precedes queries, both units."""
        secondary = self.deployment.secondary_unit(self.tenant, self.deployment.bases[1], pool=self._pool)
        self._publish_head(secondary)
        call = self.learner.preparation(self.model)
        return None if call is None else self._run(call, secondary)

    def answer(self, wires: list[bytes], prepared: Any) -> list[bytes]:
        """Do all that both units do with a query on its topic, and return the signed answer.

        The head is there already: it is published once for all queries to a version.
        """
        tenant, model = self.tenant, self.model
        unit = MasterUnit(tenant, {self.spec.model_id: KeptModel(self.learner, model, model)})
        screened = unit.screen_query(receive(tenant, TopicName.QUERIES, wires))
        if failing_proofs([screened.proven]):
            raise RuntimeError("a proof failed")
        query, arrival = screened.query, screened.arrival
        entry = unit.decide_query(screened)
        unit.apply(entry, self._journal(entry), EntryContent(query_id=query.query_id))
        secondary = self.deployment.secondary_unit(tenant, self.deployment.bases[1], pool=self._pool)
        secondary.heads.offer(unit.models[self.spec.model_id].head(tenant))
        # SU reads the client's message for itself.
        seen = decode(Query, receive(tenant, TopicName.QUERIES, wires).body)
        place: dict[str, Any] = {
            "client": arrival.sender,
            "message_hash": arrival.message_hash,
            "partition": arrival.partition,
            "offset": arrival.offset,
            "rows": query.rows,
        }
        asked = AskedQuery(self.learner.subject(QUERY, model, **place), query, screened.vectors)
        call = self.learner.answering(model, prepared, asked, tenant.client_keys[CLIENT])
        sealed = self._run(call, secondary, seen)
        ciphertexts = encode_ciphertexts(tenant.parameters, sealed)
        body = encode(Answer(query.query_id, query.rows, model.version, "", ciphertexts))
        closing = unit.decide_answered(entry, hashlib.sha256(body).digest())
        unit.apply(closing, self._journal(closing))
        return self._sign_as_mu(TopicName.ANSWERS, "answer", body)

    def query_plan(self, query: Query) -> Plan:
        """Return the plan of the session that answers a query."""
        layouts = self.learner.query_layouts(query.rows)
        vectors = decode_vectors(self.tenant, query.vectors, self.learner.query_encodings, layouts)
        subject = self.learner.subject(QUERY, self.model, client=CLIENT, rows=query.rows)
        asked = AskedQuery(subject, query, vectors)
        key = self.tenant.client_keys[CLIENT]
        return self.learner.answering(self.model, self.prepared, asked, key).plan

    def _run(self, call: MasterCall[Result], secondary: SecondaryUnit, query: Query | None = None) -> Result:
        secrets = self.deployment.unit_secrets("mu")
        session = Session(self.tenant, "mu", secrets.seed, call.subject, call.plan)
        program = call.program(session, secrets, self._pool)
        return run_rounds(self.deployment.ends, session, program, secondary, query)

    def _publish_head(self, secondary: SecondaryUnit) -> None:
        """Have MU sign a head, and SU read it and sign it as well."""
        kept = KeptModel(self.learner, self.model, self.model, (0, bytes(32)))
        wires = self._sign_as_mu(TopicName.HEADS, "head", encode(kept.head(self.tenant)))
        head = decode(Head, receive(self.tenant, TopicName.HEADS, wires).body)
        if not secondary.heads.offer(head):
            raise RuntimeError("SU does not go by the head")
        sign(self.deployment.signing_keys, self.tenant, "su", TopicName.HEADS, "head", encode(head))

    def _journal(self, entry: JournalEntry) -> bytes:
        return message_id(self._sign_as_mu(TopicName.JOURNAL, "entry", encode(entry), entry.sequence)[0])

    def _sign_as_mu(
        self, topic: TopicName, kind: str, body: bytes, sequence: int | None = None
    ) -> list[bytes]:
        return sign(self.deployment.signing_keys, self.tenant, "mu", topic, kind, body, sequence)

    # --- client

    def ask(self, rows: int) -> Asked:
        """Encrypt, prove and sign a query of the first rows of the data set."""
        records = self.data.batch(rows)
        query = make_query(self.learner, CLIENT, records, Coins.fresh())
        keys = self.deployment.signing_keys
        wires = sign(keys, self.tenant, CLIENT, TopicName.QUERIES, "query", encode(query))
        return Asked(query, wires, self.twin.predict(records).tolist())

    def read(self, asked: Asked, wires: list[bytes]) -> list[int]:
        """Verify and open an answer."""
        answer = decode(Answer, receive(self.tenant, TopicName.ANSWERS, wires).body)
        return list(read_answer(self.learner, self.deployment.client_key, asked.query, answer).labels)

    @cached_property
    def twin(self) -> Twin:
        """The same model in the clear."""
        limits = self.tenant.configuration.limits
        twin = twin_of(self.spec, self.tenant.schema, limits.max_total_records)
        if not twin.learn(self.data.records):
            raise RuntimeError("the model overflows")
        return twin
