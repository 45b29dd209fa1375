"""Naive Bayes on one data set, party by party, as the services do it; only the log is missing."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

from benchmarks.data_sets import DataSet
from benchmarks.deployment import CLIENT, OWNER, Deployment
from benchmarks.exchange import receive, run_rounds, sign
from crypto.coins import Coins
from crypto.parameters import encode_ciphertexts
from roles.classifiers.naive_bayes_query import QueryShape, query_master
from roles.classifiers.naive_bayes_table import TableShape, TableShare, refresh_master, table_shape
from roles.classifiers.naive_bayes_twin import NaiveBayesTwin
from roles.client import make_query, read_answer
from roles.data_owner import make_chunk
from roles.encoding import EncodedRecords, count_table, encode_bits
from roles.master_unit import MasterUnit, ScreenedChunk, query_subject, refresh_subject
from roles.model_state import ModelState
from roles.plan import Plan
from roles.session import Session
from roles.tenant import Tenant
from schemas.codec import decode, encode
from schemas.envelope import message_id
from schemas.journal import JournalEntry, Receipt
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

    # --- owner

    def publish(self, records: EncodedRecords, sequence: int) -> list[bytes]:
        """Count, encrypt, prove and sign one chunk."""
        counts = count_table(self.tenant.schema, records)
        chunk = make_chunk(self.tenant, OWNER, sequence, counts, Coins.fresh())
        keys = self.deployment.signing_keys
        return sign(keys, self.tenant, OWNER, TopicName.CHUNKS, "chunk", encode(chunk), sequence)

    def chunks(self, number: int) -> list[list[bytes]]:
        """Return that many published chunks."""
        return [self.publish(self.data.batch(CHUNK_RECORDS, i), i) for i in range(number)]

    # --- MU

    def learn(self, chunks: list[list[bytes]], together: int) -> MasterUnit:
        """Do all that MU does with chunks, so many at a time, and return it."""
        unit = MasterUnit.starting(self.tenant, self.tenant.configuration.models[0])
        for first in range(0, len(chunks), together):
            screened = []
            for offset, wires in enumerate(chunks[first : first + together], start=first):
                found = unit.screen_chunk(receive(self.tenant, TopicName.CHUNKS, wires, offset))
                if not isinstance(found, ScreenedChunk):
                    raise TypeError("a chunk was taken for a withdrawal")
                screened.append(found)
            if unit.failing_proofs([chunk.statement for chunk in screened]):
                raise RuntimeError("a proof failed")
            for chunk in screened:
                entry = unit.decide_chunk(chunk)
                if entry.reason:
                    raise RuntimeError(f"a chunk was refused: {entry.reason}")
                entry_id = self._journal(entry)
                unit.apply(entry, entry_id, chunk.ciphertexts)
                receipt = Receipt(
                    chunk.arrival.message_hash, chunk.arrival.sequence, "", entry.sequence, entry_id
                )
                self._sign_as_mu(TopicName.RECEIPTS, "receipt", encode(receipt))
        return unit

    @cached_property
    def model(self) -> ModelState:
        """The model of all records of the data set."""
        return self.learn([self.publish(self.data.records, 0)], 1).model

    @cached_property
    def table(self) -> TableShare:
        """MU's share of the model's table."""
        return self.refresh()

    @property
    def refresh_shape(self) -> TableShape:
        """The shape of the table, as a unit works it out for every session."""
        return table_shape(self.tenant, refresh_subject(self.tenant, self.model))

    def refresh(self) -> TableShare:
        """Run a refresh session, both units."""
        subject, shape = refresh_subject(self.tenant, self.model), self.refresh_shape
        secrets = self.deployment.unit_secrets("mu")
        session = Session(self.tenant, "mu", secrets.seed, subject, shape.plan)
        program = refresh_master(session, secrets, shape, self.model)
        secondary = self.deployment.secondary_unit(self.tenant, self.deployment.bases[1])
        return run_rounds(self.deployment.signing_keys, session, program, secondary)

    def answer(self, wires: list[bytes], table: TableShare) -> list[bytes]:
        """Do all that both units do with a query on its topic, and return the signed answer."""
        tenant, model = self.tenant, self.model
        unit = MasterUnit(tenant, tenant.configuration.models[0], model, model)
        screened = unit.screen_query(receive(tenant, TopicName.QUERIES, wires))
        if unit.failing_proofs([screened.statement]):
            raise RuntimeError("a proof failed")
        entry = unit.decide_query(screened)
        unit.apply(entry, self._journal(entry), query_id=screened.query.query_id)
        # SU reads the client's message for itself.
        seen = decode(Query, receive(tenant, TopicName.QUERIES, wires).body)
        subject = query_subject(tenant, model, entry)
        shape = QueryShape(table_shape(tenant, subject), screened.query.rows)
        secrets = self.deployment.unit_secrets("mu")
        session = Session(tenant, "mu", secrets.seed, subject, shape.plan)
        key = tenant.client_keys[CLIENT]
        program = query_master(session, secrets, shape, screened.ciphertexts, table, key)
        secondary = self.deployment.secondary_unit(tenant, self.deployment.bases[1])
        sealed = run_rounds(self.deployment.signing_keys, session, program, secondary, seen)
        ciphertexts = encode_ciphertexts(tenant.parameters, sealed)
        body = encode(Answer(screened.query.query_id, screened.query.rows, model.version, "", ciphertexts))
        closing = unit.decide_answered(entry, hashlib.sha256(body).digest())
        unit.apply(closing, self._journal(closing))
        return self._sign_as_mu(TopicName.ANSWERS, "answer", body)

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
        query = make_query(
            self.tenant, CLIENT, MODEL, encode_bits(self.tenant.schema, records), Coins.fresh()
        )
        keys = self.deployment.signing_keys
        wires = sign(keys, self.tenant, CLIENT, TopicName.QUERIES, "query", encode(query))
        return Asked(query, wires, self.twin.predict(records.indices).tolist())

    def read(self, asked: Asked, wires: list[bytes]) -> list[int]:
        """Verify and open an answer."""
        answer = decode(Answer, receive(self.tenant, TopicName.ANSWERS, wires).body)
        return list(read_answer(self.tenant, self.deployment.client_key, asked.query, answer))

    @cached_property
    def twin(self) -> NaiveBayesTwin:
        """The same model in the clear."""
        schema = self.tenant.schema
        width = self.refresh_shape.score_width
        twin = NaiveBayesTwin.empty(schema.attribute_sizes, schema.class_count, width)
        return twin.learn(count_table(schema, self.data.records))
