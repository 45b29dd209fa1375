"""Signed messages between parties of one process: everything that a message costs but the log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crypto.unit_channel import UnitChannel
from pipeline.mailbox import PART_BUDGET_BYTES, PART_GROUPS_PER_SENDER, sequence_of
from pipeline.rounds import open_round, place_of_round
from roles.arrival import Arrival
from roles.plan import Plan
from roles.secondary_unit import SecondaryUnit
from roles.session import MasterProgram, Result, Session
from roles.tenant import Tenant
from schemas.codec import encode
from schemas.envelope import open_envelope
from schemas.parts import PartAssembler, seal_parts
from schemas.queries import Query
from schemas.rounds import Reply, Request
from schemas.topics import TopicName

SigningKeys = Mapping[str, Ed25519PrivateKey]


def sign(
    keys: SigningKeys,
    tenant: Tenant,
    sender: str,
    topic: TopicName,
    kind: str,
    body: bytes,
    sequence: int | None = None,
) -> list[bytes]:
    """Return the signed wire forms of a message."""
    return seal_parts(
        tenant=tenant.name,
        topic=topic,
        sender=sender,
        key_epoch=tenant.key_epoch,
        sequence=sequence_of(body) if sequence is None else sequence,
        kind=kind,
        body=body,
        signing_key=keys[sender],
    )


def receive(tenant: Tenant, topic: TopicName, wires: Sequence[bytes], offset: int = 0) -> Arrival:
    """Verify a message, put its parts together and return it as the roles get it."""
    assembler = PartAssembler(PART_BUDGET_BYTES, PART_GROUPS_PER_SENDER)
    for wire in wires:
        whole = assembler.offer(open_envelope(wire, topic, tenant.name, tenant.verifying.get)).whole
        if whole is not None:
            envelope = whole.envelope
            return Arrival(
                topic,
                0,
                offset,
                whole.message_id,
                envelope.sender,
                envelope.sequence,
                envelope.kind,
                whole.body,
            )
    raise RuntimeError("a part of the message is missing")


@dataclass(frozen=True, slots=True)
class UnitEnds:
    """What the units sign and seal their rounds with.

    Attributes:
        signing_keys: By party name.
        master: MU's end of the channel between the units.
        secondary: SU's.
    """

    signing_keys: SigningKeys = field(repr=False)
    master: UnitChannel = field(repr=False)
    secondary: UnitChannel = field(repr=False)

    def ask(self, tenant: Tenant, request: Request) -> tuple[Request, bytes]:
        """Seal, sign, verify and unseal a request; return it with its body, as SU reads it."""
        body = encode(request)
        topic = TopicName.ROUND_REQUESTS
        sealed = self.master.seal(body, *place_of_round(topic, 0))
        wires = sign(self.signing_keys, tenant, "mu", topic, "request", sealed, sequence_of(body))
        asked = open_round(self.secondary, Request, receive(tenant, topic, wires))
        return asked, encode(asked)

    def tell(self, tenant: Tenant, reply: Reply) -> Reply:
        """Seal, sign, verify and unseal a reply; return it as MU reads it."""
        body = encode(reply)
        topic = TopicName.ROUND_REPLIES
        sealed = self.secondary.seal(body, *place_of_round(topic, 0))
        wires = sign(self.signing_keys, tenant, "su", topic, "reply", sealed, sequence_of(body))
        return open_round(self.master, Reply, receive(tenant, topic, wires))


def run_rounds(
    ends: UnitEnds,
    session: Session,
    program: MasterProgram[Result],
    secondary: SecondaryUnit,
    query: Query | None = None,
) -> Result:
    """Run a session between MU's program and SU, every request and reply sealed, signed and verified.

    Args:
        ends: What both units sign and seal with.
        session: MU's, fresh.
        program: MU's half, not yet started.
        secondary: SU, which does not know the session yet, but the head about the model.
        query: SU's copy of the client's message, for query sessions.
    """
    tenant = session.tenant
    try:
        sections = next(program)
        while True:
            session.absorb_request(sections)
            request = Request(session.name, session.subject, session.plan.digest, session.step, sections)
            asked, body = ends.ask(tenant, request)
            reply = ends.tell(tenant, secondary.answer(asked, body, query))
            if reply.reason:
                raise RuntimeError(f"SU refused a step: {reply.reason}")
            session.plan.check_reply(session.step, reply.sections)
            session.absorb_reply(reply.sections)
            sections = program.send(reply.sections)
    except StopIteration as finished:
        result: Result = finished.value
        return result


def exchanged(plan: Plan) -> str:
    """Say how much a session's units send each other."""
    total = sum(step.bytes_exchanged for step in plan.steps)
    word = "round trip" if len(plan.steps) == 1 else "round trips"
    return f"{total:,} bytes between the units in {len(plan.steps)} {word}"
