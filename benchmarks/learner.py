"""Naive Bayes on one data set, party by party, as the services do it; only the log is missing."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from benchmarks.data_sets import DataSet
from benchmarks.deployment import CLIENT, OWNER, Deployment
from benchmarks.exchange import receive, run_rounds, sign
from crypto.coins import Coins
from crypto.parameters import encode_ciphertexts
from roles.classifiers.learner import QUERY, AskedQuery, MasterCall, Result
from roles.classifiers.naive_bayes import NaiveBayesLearner
from roles.classifiers.naive_bayes_query import QueryShape
from roles.classifiers.naive_bayes_table import TableShape, TableShare
from roles.classifiers.naive_bayes_twin import NaiveBayesTwin
from roles.client import make_query, read_answer
from roles.data_owner import make_chunk
from roles.encoding import EncodedRecords, count_table
from roles.kept_model import KeptModel
from roles.learners import learner_of
from roles.master_unit import EntryContent, MasterUnit
from roles.model_state import ModelState
from roles.plan import Plan
from roles.receipts import receipts_due
from roles.screening import ScreenedChunk, failing_proofs
from roles.secondary_unit import SecondaryUnit
from roles.session import Session
from roles.tenant import Tenant
from schemas.codec import decode, encode
from schemas.envelope import message_id
from schemas.heads import Head
from schemas.journal import JournalEntry
from schemas.queries import Answer, Query
from schemas.topics import TopicName

CHUNK_RECORDS = 500
MODEL = "nb"


@dataclass(frozen=True, slots=True)
class Asked:
    """A query on its topic: its wire forms, and the labels it should be answered with."""

    query: Query
    wires: list[bytes]
    expected: list[int]


class Learner:
    """Naive Bayes on one data set: a tenant, a trained model and its table."""

    def __init__(self, deployment: Deployment, data: DataSet) -> None:
        self.deployment = deployment
        self.data = data

    @cached_property
    def tenant(self) -> Tenant:
        """The tenant whose schema is the data set's."""
        return self.deployment.tenant(self.data.schema)

    @cached_property
    def bayes(self) -> NaiveBayesLearner:
        """What is public of the model."""
        learner = learner_of(self.tenant, self.tenant.model(MODEL))
        if not isinstance(learner, NaiveBayesLearner):
            raise TypeError("the model is another one")
        return learner

    # --- owner

    def publish(self, records: EncodedRecords, sequence: int) -> list[bytes]:
        """Count, encrypt, prove and sign one chunk."""
        chunk = make_chunk(self.tenant, OWNER, sequence, records, Coins.fresh())
        keys = self.deployment.signing_keys
        return sign(keys, self.tenant, OWNER, TopicName.CHUNKS, "chunk", encode(chunk), sequence)

    def chunks(self, number: int) -> list[list[bytes]]:
        """Return that many published chunks."""
        return [self.publish(self.data.batch(CHUNK_RECORDS, i), i) for i in range(number)]

    # --- MU

    def learn(self, chunks: list[list[bytes]], together: int) -> MasterUnit:
        """Do all that MU does with chunks, so many at a time, and return it."""
        unit = MasterUnit.starting(self.tenant)
        for first in range(0, len(chunks), together):
            screened = []
            for offset, wires in enumerate(chunks[first : first + together], start=first):
                found = unit.screen_chunk(receive(self.tenant, TopicName.CHUNKS, wires, offset))
                if not isinstance(found, ScreenedChunk):
                    raise TypeError("a chunk was taken for a withdrawal")
                screened.append(found)
            if failing_proofs(self.tenant, [chunk.statement for chunk in screened]):
                raise RuntimeError("a proof failed")
            for chunk in screened:
                entry = unit.decide_chunk(chunk)
                if entry.reason:
                    raise RuntimeError(f"a chunk was refused: {entry.reason}")
                entry_id = self._journal(entry)
                unit.apply(entry, entry_id, EntryContent(chunk.vectors))
                for _, receipt in receipts_due(entry, entry_id, chunk.arrival.sequence):
                    self._sign_as_mu(TopicName.RECEIPTS, "receipt", encode(receipt))
        return unit

    @cached_property
    def model(self) -> ModelState:
        """The model of all records of the data set."""
        return self.learn([self.publish(self.data.records, 0)], 1).models[MODEL].model

    @cached_property
    def table(self) -> TableShare:
        """MU's share of the model's table."""
        return self.refresh()

    @property
    def refresh_shape(self) -> TableShape:
        """The shape of the table, as a unit works it out for every session."""
        return self.bayes.table_shape(self.model.records)

    def refresh(self) -> TableShare:
        """Publish the head about the model and run a refresh session, both units."""
        secondary = self.deployment.secondary_unit(self.tenant, self.deployment.bases[1])
        self._publish_head(secondary)
        return self._run(self.bayes.preparation(self.model), secondary)

    def answer(self, wires: list[bytes], table: TableShare) -> list[bytes]:
        """Do all that both units do with a query on its topic, and return the signed answer.

        The head is there already: it is published once for all queries to a version.
        """
        tenant, model = self.tenant, self.model
        unit = MasterUnit(tenant, {MODEL: KeptModel(self.bayes, model, model)})
        screened = unit.screen_query(receive(tenant, TopicName.QUERIES, wires))
        if failing_proofs(tenant, [screened.statement]):
            raise RuntimeError("a proof failed")
        query, arrival = screened.query, screened.arrival
        entry = unit.decide_query(screened)
        unit.apply(entry, self._journal(entry), EntryContent(query_id=query.query_id))
        secondary = self.deployment.secondary_unit(tenant, self.deployment.bases[1])
        secondary.heads.offer(unit.models[MODEL].head(tenant))
        # SU reads the client's message for itself.
        seen = decode(Query, receive(tenant, TopicName.QUERIES, wires).body)
        place: dict[str, Any] = {
            "client": arrival.sender,
            "message_hash": arrival.message_hash,
            "partition": arrival.partition,
            "offset": arrival.offset,
            "rows": query.rows,
        }
        asked = AskedQuery(self.bayes.subject(QUERY, model, **place), query, screened.vectors)
        call = self.bayes.answering(model, table, asked, tenant.client_keys[CLIENT])
        sealed = self._run(call, secondary, seen)
        ciphertexts = encode_ciphertexts(tenant.parameters, sealed)
        body = encode(Answer(query.query_id, query.rows, model.version, "", ciphertexts))
        closing = unit.decide_answered(entry, hashlib.sha256(body).digest())
        unit.apply(closing, self._journal(closing))
        return self._sign_as_mu(TopicName.ANSWERS, "answer", body)

    def _run(self, call: MasterCall[Result], secondary: SecondaryUnit, query: Query | None = None) -> Result:
        secrets = self.deployment.unit_secrets("mu")
        session = Session(self.tenant, "mu", secrets.seed, call.subject, call.plan)
        program = call.program(session, secrets, None)
        return run_rounds(self.deployment.ends, session, program, secondary, query)

    def _publish_head(self, secondary: SecondaryUnit) -> None:
        """Have MU sign a head, and SU read it and sign it as well."""
        kept = KeptModel(self.bayes, self.model, self.model, (0, bytes(32)))
        wires = self._sign_as_mu(TopicName.HEADS, "head", encode(kept.head(self.tenant)))
        head = decode(Head, receive(self.tenant, TopicName.HEADS, wires).body)
        if not secondary.heads.offer(head):
            raise RuntimeError("SU does not go by the head")
        sign(self.deployment.signing_keys, self.tenant, "su", TopicName.HEADS, "head", encode(head))

    def query_plan(self, rows: int) -> Plan:
        """Return the plan of a query of so many rows."""
        return QueryShape(self.refresh_shape, rows).plan

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
        query = make_query(self.bayes, CLIENT, records, Coins.fresh())
        keys = self.deployment.signing_keys
        wires = sign(keys, self.tenant, CLIENT, TopicName.QUERIES, "query", encode(query))
        return Asked(query, wires, self.twin.predict(records.indices).tolist())

    def read(self, asked: Asked, wires: list[bytes]) -> list[int]:
        """Verify and open an answer."""
        answer = decode(Answer, receive(self.tenant, TopicName.ANSWERS, wires).body)
        return list(read_answer(self.bayes, self.deployment.client_key, asked.query, answer).labels)

    @cached_property
    def twin(self) -> NaiveBayesTwin:
        """The same model in the clear."""
        schema = self.tenant.schema
        width = self.refresh_shape.score_width
        twin = NaiveBayesTwin.empty(schema.attribute_sizes, schema.class_count, width)
        return twin.learn(count_table(schema, self.data.records))
