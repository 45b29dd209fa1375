"""Sessions for tests: a whole journey from records to answers, and MU's half run against an SU."""

import hashlib
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from doubles import seeded_coins
from msgspec import structs
from tenants import SmallTenant

from crypto.parameters import Ciphertext
from roles.arrival import Arrival
from roles.building_blocks.base_transfers import TransferBases
from roles.chunk_encodings import BITS, ChunkEncodings, Vectors
from roles.classifiers.learner import QUERY, REFRESH, AskedQuery, MasterCall, refresh_subject_of
from roles.classifiers.naive_bayes import NaiveBayesLearner
from roles.classifiers.naive_bayes_table import TableShare
from roles.client import make_query
from roles.data_owner import make_chunk
from roles.encoding import Counts, EncodedRecords, count_table
from roles.learners import learner_of
from roles.model_state import ModelState
from roles.plan import Sections
from roles.proving import encrypt_and_prove
from roles.secondary_unit import SecondaryUnit
from roles.session import MasterProgram, Session
from roles.tenant import statement_context
from roles.vectors import decode_vectors, encode_vectors
from roles.word_encoding import numeric_columns
from schemas.chunks import Chunk
from schemas.codec import encode
from schemas.heads import Head
from schemas.queries import QUERY_ID_BYTES, Query
from schemas.rounds import Reply, Request, Subject
from schemas.topics import TopicName

Result = TypeVar("Result")


def random_records(small: SmallTenant, size: int, seed: int | str) -> EncodedRecords:
    """Return records of every class, the same for the same seed."""
    coins = seeded_coins(f"records {seed}")
    schema = small.tenant.schema
    columns = [coins.words(size, np.uint32) % np.uint32(v) for v in schema.attribute_sizes]
    labels = coins.words(size, np.uint32) % np.uint32(schema.class_count)
    numbers = coins.words((size, len(numeric_columns(schema))), np.uint32).astype(np.int64) % 2047 - 1023
    indices = np.stack(columns, axis=1).astype(np.int32)
    return EncodedRecords(indices, labels.astype(np.int32), numbers.astype(np.int32))


def random_counts(small: SmallTenant, size: int, seed: int | str) -> Counts:
    """Return the counts of such records."""
    return count_table(small.tenant.schema, random_records(small, size, seed))


def chunk_of(small: SmallTenant, sequence: int, size: int = 20, owner: str = "a", seed: str = "") -> Chunk:
    """Return an owner's encrypted chunk."""
    records = random_records(small, size, f"{owner} {sequence} {seed}")
    return make_chunk(small.tenant, owner, sequence, records, seeded_coins(f"{owner} {sequence} {seed}"))


def vectors_of(small: SmallTenant, chunk: Chunk) -> Vectors:
    """Return a chunk's ciphertexts by encoding."""
    encodings = ChunkEncodings(small.tenant)
    layouts = encodings.layouts(chunk.records)
    return decode_vectors(small.tenant, chunk.vectors, encodings.names, layouts)


def naive_bayes(small: SmallTenant) -> NaiveBayesLearner:
    """Return the learner of model ``m``."""
    learner = learner_of(small.tenant, small.tenant.model("m"))
    assert isinstance(learner, NaiveBayesLearner)
    return learner


def arrival_of(
    body: bytes,
    *,
    sender: str = "a",
    sequence: int = 0,
    kind: str = "chunk",
    topic: str = TopicName.CHUNKS,
    offset: int = 0,
) -> Arrival:
    """Return a verified message; its id is a hash of the body and its place in the sender's numbers."""
    message_hash = hashlib.sha256(f"{sender} {sequence} {kind}".encode() + body).digest()
    return Arrival(topic, 0, offset, message_hash, sender, sequence, kind, body)


def trained(small: SmallTenant, sizes: tuple[int, ...] = (20,)) -> ModelState:
    """Return a model of chunks of these sizes."""
    learner = naive_bayes(small)
    model = learner.starting()
    for sequence, size in enumerate(sizes):
        chunk = chunk_of(small, sequence, size)
        model = learner.learn(model, "a", chunk.records, vectors_of(small, chunk))
    return model


def secondary_unit(small: SmallTenant, *, with_bases: bool = True) -> SecondaryUnit:
    """Return an SU as after a start; new bases are kept by the unit itself."""
    secrets = small.secondary
    bases = TransferBases(secrets.sender, secrets.receiver) if with_bases else None
    return SecondaryUnit(
        small.tenant, secrets.theta, secrets.seed, secrets.sender.delta, bases, lambda bases: None
    )


def head_of(small: SmallTenant, model: ModelState, sequence: int = 0) -> Head:
    """Return what MU would sign about a version, as after some journal entry."""
    model_hash = model.hash(small.tenant)
    return Head("m", model.version, sequence, bytes(32), model.records, model.owners, model_hash, 0)


def request_of(session: Session, sections: Sections) -> Request:
    """Return MU's request of the step in progress."""
    return Request(session.name, session.subject, session.plan.digest, session.step, sections)


def answer(unit: SecondaryUnit, request: Request, query: Query | None = None) -> Reply:
    """Have SU answer a request as it comes off the wire."""
    return unit.answer(request, encode(request), query)


class Rounds:
    """MU's half of a session run against an SU; remembers what travelled."""

    def __init__(self, unit: SecondaryUnit, query: Query | None = None) -> None:
        self.unit = unit
        self.query = query
        self.requests: list[Request] = []
        self.replies: list[Reply] = []

    def run(self, session: Session, program: MasterProgram[Result]) -> Result:
        """Run the session to its end; every request must be answered."""
        try:
            sections = next(program)
            while True:
                session.absorb_request(sections)
                self.requests.append(request_of(session, sections))
                reply = answer(self.unit, self.requests[-1], self.query)
                assert not reply.reason, reply.reason
                self.replies.append(reply)
                session.plan.check_reply(session.step, reply.sections)
                session.absorb_reply(reply.sections)
                sections = program.send(reply.sections)
        except StopIteration as finished:
            result: Result = finished.value
            return result


def started(small: SmallTenant, call: MasterCall[Result]) -> tuple[Session, MasterProgram[Result]]:
    """Return MU's half of a session, ready to run."""
    session = Session(small.tenant, "mu", small.master.seed, call.subject, call.plan)
    return session, call.program(session, small.master, None)


def refresh_session(small: SmallTenant, model: ModelState) -> tuple[Session, MasterProgram[TableShare]]:
    """Return MU's half of a refresh, ready to run."""
    return started(small, naive_bayes(small).preparation(model))


def refresh_subject(small: SmallTenant, model: ModelState) -> Subject:
    """Return the subject of the refresh of a version."""
    return refresh_subject_of(naive_bayes(small).subject(REFRESH, model))


def query_for(small: SmallTenant, rows: EncodedRecords, seed: str = "query") -> Query:
    """Return the client's query about rows."""
    return make_query(naive_bayes(small), "c", rows, seeded_coins(seed))


def subject_of_query(small: SmallTenant, model: ModelState, query: Query) -> Subject:
    """Return the subject of the session that answers a query."""
    message_hash = hashlib.sha256(encode(query)).digest()
    return naive_bayes(small).subject(QUERY, model, client="c", message_hash=message_hash, rows=query.rows)


def replace_subject(subject: Subject, **changes: object) -> Subject:
    """Return a subject with other fields."""
    return structs.replace(subject, **changes)


def query_session(
    small: SmallTenant, model: ModelState, query: Query, table: TableShare
) -> tuple[Session, MasterProgram[list[Ciphertext]]]:
    """Return MU's half of a query session, ready to run."""
    learner = naive_bayes(small)
    layouts = learner.query_layouts(query.rows)
    vectors = decode_vectors(small.tenant, query.vectors, learner.query_encodings, layouts)
    asked = AskedQuery(subject_of_query(small, model, query), query, vectors)
    return started(small, learner.answering(model, table, asked, small.client_key.public))


def query_of_bits(small: SmallTenant, bits: npt.NDArray[np.uint8], seed: str = "query") -> Query:
    """Return a query about rows of bits, one-hot or not: what a client's own program may send."""
    coins = seeded_coins(seed)
    query_id = coins.bytes(QUERY_ID_BYTES)
    layout = small.tenant.query_layout(len(bits))
    context = statement_context(small.tenant, "client", "c", TopicName.QUERIES, query_id, (layout,))
    packed = {BITS: layout.pack(bits.reshape(-1))}
    vectors, proof = encrypt_and_prove(small.tenant.service_key, packed, context, coins)
    encoded = encode_vectors(small.tenant, vectors)
    return Query(query_id, "m", small.tenant.schema.digest, len(bits), False, encoded, proof)
