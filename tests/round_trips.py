"""Sessions for tests: a whole journey from records to answers, and MU's half run against an SU."""

import hashlib
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from doubles import seeded_coins
from tenants import SmallTenant

from crypto.parameters import Ciphertext, decode_ciphertexts
from roles.arrival import Arrival
from roles.building_blocks.base_transfers import TransferBases
from roles.classifiers.naive_bayes_query import QueryShape, query_master
from roles.classifiers.naive_bayes_table import TableShape, TableShare, refresh_master, table_shape
from roles.client import make_query
from roles.data_owner import make_chunk
from roles.encoding import Counts, EncodedRecords, count_table
from roles.master_unit import refresh_subject
from roles.model_state import ModelState
from roles.plan import Sections
from roles.secondary_unit import SecondaryUnit
from roles.session import MasterProgram, Session
from schemas.chunks import Chunk
from schemas.codec import encode
from schemas.queries import Query
from schemas.rounds import Reply, Request, Subject
from schemas.topics import TopicName

Result = TypeVar("Result")


def random_records(small: SmallTenant, size: int, seed: int | str) -> EncodedRecords:
    """Return records of every class, the same for the same seed."""
    coins = seeded_coins(f"records {seed}")
    schema = small.tenant.schema
    columns = [coins.words(size, np.uint32) % np.uint32(v) for v in schema.attribute_sizes]
    labels = coins.words(size, np.uint32) % np.uint32(schema.class_count)
    return EncodedRecords(np.stack(columns, axis=1).astype(np.int32), labels.astype(np.int32))


def random_counts(small: SmallTenant, size: int, seed: int | str) -> Counts:
    """Return the counts of such records."""
    return count_table(small.tenant.schema, random_records(small, size, seed))


def chunk_of(small: SmallTenant, sequence: int, size: int = 20, owner: str = "a", seed: str = "") -> Chunk:
    """Return an owner's encrypted chunk."""
    counts = random_counts(small, size, f"{owner} {sequence} {seed}")
    return make_chunk(small.tenant, owner, sequence, counts, seeded_coins(f"{owner} {sequence} {seed}"))


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
    model = ModelState.empty(small.tenant, small.tenant.model("m"))
    for sequence, size in enumerate(sizes):
        chunk = chunk_of(small, sequence, size)
        ciphertexts = decode_ciphertexts(small.tenant.parameters, chunk.vectors[0].ciphertexts)
        model = model.learn(small.tenant, "a", chunk.records, ciphertexts)
    return model


def secondary_unit(small: SmallTenant, *, with_bases: bool = True) -> SecondaryUnit:
    """Return an SU as after a start; new bases are kept by the unit itself."""
    secrets = small.secondary
    bases = TransferBases(secrets.sender, secrets.receiver) if with_bases else None
    return SecondaryUnit(
        small.tenant, secrets.theta, secrets.seed, secrets.sender.delta, bases, lambda bases: None
    )


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


def refresh_session(small: SmallTenant, model: ModelState) -> tuple[Session, MasterProgram[TableShare]]:
    """Return MU's half of a refresh, ready to run."""
    subject = refresh_subject(small.tenant, model)
    shape = table_shape(small.tenant, subject)
    session = Session(small.tenant, "mu", small.master.seed, subject, shape.plan)
    return session, refresh_master(session, small.master, shape, model)


def query_for(small: SmallTenant, rows: npt.NDArray[np.uint8], seed: str = "query") -> Query:
    """Return the client's query about rows of bits."""
    return make_query(small.tenant, "c", "m", rows, seeded_coins(seed))


def subject_of_query(small: SmallTenant, model: ModelState, query: Query) -> Subject:
    """Return the subject of the session that answers a query."""
    return replace_subject(
        refresh_subject(small.tenant, model),
        purpose="query",
        model_version=model.version,
        client="c",
        query_hash=hashlib.sha256(encode(query)).digest(),
        rows=query.rows,
    )


def replace_subject(subject: Subject, **changes: object) -> Subject:
    """Return a subject with other fields."""
    fields = {name: getattr(subject, name) for name in subject.__struct_fields__}
    return Subject(**{**fields, **changes})


def query_session(
    small: SmallTenant, model: ModelState, query: Query, table: TableShare
) -> tuple[Session, MasterProgram[list[Ciphertext]]]:
    """Return MU's half of a query session, ready to run."""
    subject = subject_of_query(small, model, query)
    shape = QueryShape(TableShape(small.tenant, "m", model.records), query.rows)
    session = Session(small.tenant, "mu", small.master.seed, subject, shape.plan)
    ciphertexts = tuple(decode_ciphertexts(small.tenant.parameters, query.ciphertexts))
    program = query_master(session, small.master, shape, ciphertexts, table, small.client_key.public)
    return session, program
