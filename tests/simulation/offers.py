"""What owners and clients put on the topics: made once, as encrypting is dear, and put in any order.

Every record has a feature value of its own. So a count of the model is 0 or 1: a 2 is a record that
was counted twice, and a huge number a factor that did not belong there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from doubles import seeded_coins
from integration.hostile import sealed, with_fields
from integration.services import House

from crypto.arithmetic import jacobi
from roles.client import make_query
from roles.data_owner import make_chunk
from roles.encoding import EncodedRecords
from schemas.chunks import Chunk, EncodedVector, Withdrawal
from schemas.codec import decode, encode
from schemas.configuration import Limits
from schemas.data_schema import SCHEMA_VERSION, CategoricalAttribute, ClassLabel, DataSchema, Missing
from schemas.journal import EntryKind
from schemas.models import LogisticSpec, ModelSpec, NaiveBayesSpec
from schemas.queries import Query
from schemas.topics import TopicName

VALUES = 10
CLASSES = 2
SCHEMA = DataSchema(
    SCHEMA_VERSION,
    (CategoricalAttribute("value", tuple(f"v{i}" for i in range(VALUES)), Missing.REFUSE),),
    ClassLabel("kind", ("even", "odd")),
)
LIMITS = Limits(4, 63, 2, 1, 1, 0)
NB: tuple[ModelSpec, ...] = (NaiveBayesSpec("m"),)
# A step of 48 times the gradient: whether a chunk overflows depends on those that were learnt before it.
WITH_LR: tuple[ModelSpec, ...] = (NaiveBayesSpec("m"), LogisticSpec("lr", rate_256=48 * 256))


@dataclass(frozen=True, slots=True)
class Offer:
    """A message that somebody may put on a topic, as often as somebody likes.

    Attributes:
        name: What schedules call it.
        topic: Where it goes.
        wire: Its bytes.
        sender: Who signed it.
        sequence: The sender's number for it.
        kind: What MU decides if all is well, ``reject`` if nothing ever is.
        reason: Why it is refused whatever came before; empty if it is not.
        values: The feature values of its records.
        withdraws: For a withdrawal which of the owner's chunks.
        query: For a query what the client needs to open the answer.
    """

    name: str
    topic: TopicName
    wire: bytes = field(repr=False)
    sender: str = ""
    sequence: int = 0
    kind: EntryKind = EntryKind.REJECT
    reason: str = ""
    values: tuple[int, ...] = ()
    withdraws: int = -1
    query: Query | None = field(default=None, repr=False)


def records(values: Sequence[int]) -> EncodedRecords:
    """Return records with these feature values; the class is the value's parity."""
    indices = np.array(values, dtype=np.int32).reshape(-1, 1)
    return EncodedRecords(indices, indices[:, 0] % CLASSES, np.zeros((len(values), 0), dtype=np.int32))


@cache
def house(models: tuple[ModelSpec, ...] = NB) -> House:
    """Return the tenant with everybody's keys, those of a second key epoch too; nothing else is used."""
    home = House(Path("unused"), schema=SCHEMA, limits=LIMITS, models=models)
    home.configurations.append(home.renewed())
    return home


@cache
def first_configuration(models: tuple[ModelSpec, ...] = NB) -> bytes:
    """Return the message that the config topic begins with."""
    return _configuration(house(models), 0)


def _configuration(home: House, number: int) -> bytes:
    body, kind = encode(home.configurations[number]), "configuration"
    return sealed(home, TopicName.CONFIG, "authority", body, kind=kind, sequence=number + 1)


@cache
def offers(models: tuple[ModelSpec, ...] = NB) -> dict[str, Offer]:
    """Return all offers by name."""
    return {offer.name: offer for offer in _offers(house(models), models)}


def _offers(home: House, models: tuple[ModelSpec, ...]) -> list[Offer]:
    tenant = home.tenant

    def body(owner: str, number: int, values: Sequence[int]) -> bytes:
        return encode(make_chunk(tenant, owner, number, records(values), seeded_coins(f"{owner}{values}")))

    def chunk(name: str, number: int, *values: int) -> Offer:
        wire = sealed(
            home, TopicName.CHUNKS, name[0], body(name[0], number, values), kind="chunk", sequence=number
        )
        return Offer(name, TopicName.CHUNKS, wire, name[0], number, EntryKind.ACCEPT, values=values)

    def withdrawal(name: str, owner: str, number: int, of: int) -> Offer:
        wire = sealed(
            home, TopicName.CHUNKS, owner, encode(Withdrawal(of)), kind="withdrawal", sequence=number
        )
        return Offer(name, TopicName.CHUNKS, wire, owner, number, EntryKind.WITHDRAW, withdraws=of)

    def refused(name: str, reason: str, content: bytes, number: int, tenant_name: str = "small") -> Offer:
        wire = sealed(home, TopicName.CHUNKS, "a", content, kind="chunk", sequence=number, tenant=tenant_name)
        return Offer(name, TopicName.CHUNKS, wire, "a", number, reason=reason)

    def query(name: str, client: str, value: int, model: str = "m", epoch: int = 1) -> Offer:
        asked = make_query(home.learner(model), client, records([value]), seeded_coins(name), key_epoch=epoch)
        wire = sealed(home, TopicName.QUERIES, client, encode(asked), kind="query", epoch=epoch)
        return Offer(
            name, TopicName.QUERIES, wire, client, kind=EntryKind.QUERY, values=(value,), query=asked
        )

    # Signed for another tenant; everything else in it would be accepted here.
    foreign = body("a", 20, (9,))
    queries = [query("query c", "c", 4), query("query d", "d", 3)]
    if len(models) > 1:
        queries.append(query("query lr", "c", 3, "lr"))
    return [
        chunk("a0", 0, 0, 1),
        chunk("a1", 1, 2),
        chunk("a2", 2, 3),
        chunk("b0", 0, 4, 5),
        chunk("b1", 1, 6),
        chunk("a1 otherwise", 1, 8),
        withdrawal("withdraw a1", "a", 10, 1),
        withdrawal("withdraw b0", "b", 11, 0),
        withdrawal("withdraw b0 once more", "b", 12, 0),
        Offer("junk", TopicName.CHUNKS, b"not a message", reason="malformed"),
        refused("of another tenant", "wrong_tenant", foreign, 20, "large"),
        refused("outside the group", "invalid_ciphertext", _outside(home, body("a", 21, (9,))), 21),
        refused("proven by another", "bad_proof", body("b", 22, (9,)), 22),
        *queries,
        Offer("junk query", TopicName.QUERIES, b"not a message", reason="malformed"),
        query("query c in the second key epoch", "c", 4, epoch=2),
        Offer("renew", TopicName.CONFIG, _configuration(home, 1), "authority"),
    ]


def _outside(home: House, body: bytes) -> bytes:
    """Return a chunk whose first component has the Jacobi symbol −1."""
    parameters = home.tenant.parameters
    chunk = decode(Chunk, body)
    vector, *others = chunk.vectors
    width = parameters.component_bytes
    first = int.from_bytes(vector.ciphertexts[:width], "big")
    factor = next(x for x in range(2, 1000) if jacobi(x, parameters.n) == -1)
    moved = (first * factor % parameters.n_squared).to_bytes(width, "big")
    changed = EncodedVector(vector.encoding, moved + vector.ciphertexts[width:])
    return with_fields(chunk, vectors=(changed, *others))
