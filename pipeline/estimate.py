"""What a tenant would cost, before there is one: operations, bytes, round trips and seconds by phase.

Counted operations and bytes follow from the plans that the units would run; seconds are these times
measured rates, plus what a message and a round trip take. No key is drawn: only sizes matter.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crypto.coins import Coins
from crypto.counting import Tally
from crypto.dtpkc import PublicKey
from crypto.parameters import Parameters
from crypto.plaintext_proof import masking_bits, proof_bytes
from crypto.profiles import Profile
from crypto.unit_channel import OVERHEAD_BYTES
from pipeline.operation_rates import MESSAGE_BYTE_SECONDS, MESSAGE_SECONDS, ROUND_SECONDS, OperationRates
from pipeline.rounds import check_plan_size
from roles.building_blocks.base_transfers import base_plan
from roles.chunk_encodings import ChunkEncodings
from roles.forecast import Forecast
from roles.learners import learners_of
from roles.plan import Plan
from roles.plan_cost import session_cost
from roles.tenant import Tenant
from schemas.chunks import Chunk, EncodedVector
from schemas.codec import encode
from schemas.configuration import Configuration, Limits
from schemas.data_schema import DataSchema, encode_schema
from schemas.envelope import seal_envelope
from schemas.journal import JournalEntry, Receipt
from schemas.models import ModelSpec
from schemas.parts import MAX_PART_BODY_BYTES
from schemas.queries import QUERY_ID_BYTES, Answer, Query
from schemas.rounds import Reply, Request, Subject
from schemas.snapshots import SealedModel
from schemas.topics import TopicName

CORES = 2
TENANT = "tenant"
HASH = bytes(32)
_LARGE_HEADER = (1 << 16) + 1
"""From here on a header does not grow with its body."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What is to be estimated.

    Attributes:
        records: In all chunks of all owners.
        chunk_size: Records of a chunk.
        owners: Who have equally many records and encrypt at the same time.
        queries: Rows asked of every model.
        query_rows: Rows of a query message.
        leaves: Leaves of a tree in the end; None for the forecast's own rule.
    """

    records: int
    chunk_size: int
    owners: int
    queries: int
    query_rows: int
    leaves: int | None = None

    @property
    def chunks(self) -> list[int]:
        """Records of every chunk, the owners having equally many."""
        each, rest = divmod(self.records, self.owners)
        held = (each + (owner < rest) for owner in range(self.owners))
        return [records for own in held for records in _shares(own, self.chunk_size)]

    @property
    def messages(self) -> list[int]:
        """Rows of every query message."""
        return _shares(self.queries, self.query_rows)


@dataclass(slots=True)
class Phase:
    """One kind of work of a workload, summed.

    Attributes:
        name: ``encrypt``, ``accept``, ``base_transfers``, ``learn``, ``refresh`` or ``query``.
        model: Of which model; None where all share it.
        workers: Processes that do it at the same time.
        times: How often.
        rounds: Round trips between the units.
        layers: Layers of gates.
        counts: Counted operations by party.
        sent: Bytes by topic.
        messages: How many of them.
    """

    name: str
    model: str | None = None
    workers: int = 1
    times: int = 0
    rounds: int = 0
    layers: int = 0
    counts: dict[str, Tally] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    messages: int = 0

    def add(self, party: str, **amounts: int) -> None:
        """Add counted operations of a party."""
        self.counts.setdefault(party, Tally()).add(Tally(**amounts))

    def send(self, topic: TopicName, kind: str, body: int) -> None:
        """Add a message."""
        self.sent[topic.value] = self.sent.get(topic.value, 0) + wire_bytes(topic, kind, body)
        self.messages += 1

    def run(self, plan: Plan, parameters: Parameters, *, under_client_key: bool = False) -> None:
        """Add a session."""
        check_plan_size(plan)
        cost = session_cost(plan, parameters, under_client_key=under_client_key)
        for party, tally in (("mu", cost.master), ("su", cost.secondary)):
            self.counts.setdefault(party, Tally()).add(tally)
        self.layers += cost.layers
        self.rounds += cost.rounds
        for request, reply in zip(cost.requests, cost.replies, strict=True):
            self.send(TopicName.ROUND_REQUESTS, "request", _REQUEST + request)
            self.send(TopicName.ROUND_REPLIES, "reply", _REPLY + reply)

    def cpu_seconds(self, rates: OperationRates) -> float:
        """Return the CPU seconds of all parties."""
        # Either unit passes through every layer of gates.
        operations = (
            sum(rates.seconds(tally) for tally in self.counts.values()) + rates.layer * 2 * self.layers
        )
        carried = MESSAGE_SECONDS * self.messages + MESSAGE_BYTE_SECONDS * sum(self.sent.values())
        return operations + carried

    def wall_seconds(self, rates: OperationRates) -> float:
        """Return the seconds on two cores, one message after the other, units by turns."""
        cpu = self.cpu_seconds(rates)
        shared = sum(rates.powers(tally) for tally in self.counts.values())
        if self.workers > 1:
            return cpu / min(self.workers, CORES)
        return cpu - shared + shared / CORES + ROUND_SECONDS * self.rounds

    def as_dict(self, rates: OperationRates) -> dict[str, Any]:
        """Return the phase as JSON values."""
        cpu = self.cpu_seconds(rates)
        return {
            "phase": self.name,
            "model": self.model,
            "times": self.times,
            "round_trips": self.rounds,
            "messages": self.messages,
            "bytes": dict(sorted(self.sent.items())),
            "counts": {party: tally.as_dict() for party, tally in sorted(self.counts.items())},
            "pm": cpu / rates.power_full,
            "cpu_seconds": cpu,
            "wall_seconds": self.wall_seconds(rates),
        }


def imagined_tenant(
    profile: Profile, schema: DataSchema, models: tuple[ModelSpec, ...], limits: Limits
) -> Tenant:
    """Return a tenant of the right sizes whose modulus nobody made of primes and whose keys have no θ."""
    coins = Coins.fresh()
    n = coins.integer_bits(profile.modulus_bits) | 1 << profile.modulus_bits - 1 | 1
    parameters = Parameters(profile, n, coins.below(n * n - 2) + 2)
    key = PublicKey(parameters, coins.below(n * n - 2) + 2)
    configuration = Configuration(
        TENANT, 1, 1, profile.name, b"", b"", encode_schema(schema), models, limits, ()
    )
    return Tenant(configuration, HASH, parameters, {"mu": key, "su": key}, key, schema, {}, {})


def estimated_phases(tenant: Tenant, work: Workload) -> list[Phase]:
    """Return all phases of a workload.

    Raises:
        LayoutError, PlanTooLargeError: Chunks or queries of that size cannot be handled.
    """
    phases = [*_of_chunks(tenant, work), base := Phase("base_transfers", times=1)]
    base.run(base_plan(tenant), tenant.parameters)
    for name, learner in learners_of(tenant).items():
        forecast = Forecast(learner, work.chunks, work.leaves)
        if forecast.lessons:
            phases.append(_lessons(forecast, name))
        if not work.queries:
            continue
        preparation = forecast.preparation()
        if preparation is not None:
            refresh = Phase("refresh", name, times=1)
            refresh.run(preparation, tenant.parameters)
            phases.append(refresh)
        phases.append(_queries(forecast, name, work))
    return phases


def totals(phases: Iterable[Phase], rates: OperationRates) -> dict[str, Any]:
    """Return sums over phases as JSON values."""
    kept = list(phases)
    sent: dict[str, int] = {}
    for phase in kept:
        for topic, size in phase.sent.items():
            sent[topic] = sent.get(topic, 0) + size
    cpu = sum(phase.cpu_seconds(rates) for phase in kept)
    return {
        "round_trips": sum(phase.rounds for phase in kept),
        "bytes": dict(sorted(sent.items())),
        "bytes_owner_to_mu": _sum(sent, TopicName.CHUNKS),
        "bytes_mu_su": _sum(sent, TopicName.ROUND_REQUESTS, TopicName.ROUND_REPLIES),
        "bytes_client": _sum(sent, TopicName.QUERIES, TopicName.ANSWERS),
        "pm": cpu / rates.power_full,
        "cpu_seconds": cpu,
        "wall_seconds": sum(phase.wall_seconds(rates) for phase in kept),
    }


def wire_bytes(topic: TopicName, kind: str, body: int) -> int:
    """Return the bytes of a signed message, in as many parts as its body takes."""
    whole, rest = divmod(body, MAX_PART_BODY_BYTES)
    parts = [MAX_PART_BODY_BYTES] * whole + ([rest] if rest or not whole else [])
    return sum(size + _header(topic.value, kind, min(size, _LARGE_HEADER)) for size in parts)


@lru_cache(maxsize=4096)
def _header(topic: str, kind: str, body: int) -> int:
    sealed = seal_envelope(
        tenant=TENANT,
        topic=topic,
        sender="owner-1",
        key_epoch=1,
        sequence=1 << 40,
        kind=kind,
        body=bytes(body),
        signing_key=Ed25519PrivateKey.from_private_bytes(HASH),
    )
    return len(sealed) - body


def _of_chunks(tenant: Tenant, work: Workload) -> tuple[Phase, Phase]:
    encrypt, accept = Phase("encrypt", workers=work.owners), Phase("accept")
    encodings = ChunkEncodings(tenant)
    for records in work.chunks:
        layouts = encodings.layouts(records)
        ciphertexts = sum(layout.ciphertexts for layout in layouts)
        vectors = tuple(
            EncodedVector(name, bytes(tenant.parameters.ciphertext_bytes * layout.ciphertexts))
            for name, layout in zip(encodings.names, layouts, strict=True)
        )
        proof = bytes(proof_bytes(tenant.parameters.profile, ciphertexts))
        encrypt.add("owner", fixed_base=2 * ciphertexts + 2)
        encrypt.send(TopicName.CHUNKS, "chunk", len(encode(Chunk(HASH, records, vectors, proof))))
        accept.add("mu", fixed_base=2, multi_bases=2 * (ciphertexts + 1))
        _decide(accept)
        accept.send(TopicName.RECEIPTS, "receipt", len(encode(Receipt(HASH, records, "", records, HASH))))
    encrypt.times = accept.times = len(work.chunks)
    return encrypt, accept


def _decide(phase: Phase) -> None:
    entry = JournalEntry(1 << 16, HASH, "accept", "chunks", 0, 1 << 16, HASH, "owner-1", 1 << 16, 500, "")
    phase.send(TopicName.JOURNAL, "entry", len(encode(entry)))


def _lessons(forecast: Forecast, name: str) -> Phase:
    phase, parameters = Phase("learn", name, times=len(forecast.lessons)), forecast.learner.tenant.parameters
    receipt = len(encode(Receipt(HASH, 1 << 16, "", 1 << 16, HASH, name)))
    for lesson in forecast.lessons:
        for plan in lesson.plans:
            phase.run(plan, parameters)
        sealed = bytes(parameters.ciphertext_bytes * lesson.ciphertexts)
        phase.send(TopicName.SNAPSHOTS, "model", len(encode(SealedModel(name, 1, 1, 1, (), b"", sealed))))
        _decide(phase)
        for _ in range(lesson.chunks):
            phase.send(TopicName.RECEIPTS, "receipt", receipt)
    return phase


def _queries(forecast: Forecast, name: str, work: Workload) -> Phase:
    learner = forecast.learner
    parameters, profile = learner.tenant.parameters, learner.tenant.parameters.profile
    phase = Phase("query", name, times=len(work.messages))
    plans: dict[int, Plan] = {}
    for rows in work.messages:
        layouts = learner.query_layouts(rows)
        ciphertexts = sum(layout.ciphertexts for layout in layouts)
        answer = learner.answer_layout(rows, scores=False).ciphertexts
        vectors = tuple(
            EncodedVector(encoding, bytes(parameters.ciphertext_bytes * layout.ciphertexts))
            for encoding, layout in zip(learner.query_encodings, layouts, strict=True)
        )
        proof = bytes(proof_bytes(profile, ciphertexts))
        query = Query(bytes(QUERY_ID_BYTES), name, HASH, rows, False, vectors, proof)
        sealed = bytes(parameters.ciphertext_bytes * answer)
        # A client keeps no tables; its proof's exponents are longer than the others.
        is_full = masking_bits(profile, ciphertexts) > profile.modulus_bits // 2
        phase.add("client", powers_short=2 * ciphertexts + answer + (0 if is_full else 2))
        phase.add("client", powers_full=2 if is_full else 0)
        phase.add("mu", fixed_base=2, multi_bases=2 * (ciphertexts + 1))
        phase.send(TopicName.QUERIES, "query", len(encode(query)))
        if rows not in plans:
            plans[rows] = forecast.query(rows)
        phase.run(plans[rows], parameters, under_client_key=True)
        phase.send(TopicName.ANSWERS, "answer", len(encode(Answer(bytes(16), rows, 1, "", sealed))))
        for _ in range(2):
            _decide(phase)
    return phase


def _sum(sent: Mapping[str, int], *topics: TopicName) -> int:
    return sum(sent.get(topic.value, 0) for topic in topics)


def _shares(whole: int, size: int) -> list[int]:
    return [min(size, whole - start) for start in range(0, whole, size)]


_SUBJECT = Subject("query", "model", 1 << 16, HASH, 1 << 16, 3, "client", HASH, 0, 1 << 16, 100)
_REQUEST = len(encode(Request(HASH, _SUBJECT, HASH, 1, (bytes(1 << 16),) * 4))) - (4 << 16) + OVERHEAD_BYTES
_REPLY = len(encode(Reply(HASH, 1, HASH, "", (bytes(1 << 16),) * 4))) - (4 << 16) + OVERHEAD_BYTES
"""What a round carries beside its fields."""
