"""Signed messages between parties of one process: everything that a message costs but the log."""

from collections.abc import Mapping, Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pipeline.mailbox import PART_BUDGET_BYTES, PART_GROUPS_PER_SENDER, sequence_of
from pipeline.rounds import MAX_BODY_BYTES
from roles.arrival import Arrival
from roles.secondary_unit import SecondaryUnit
from roles.session import MasterProgram, Result, Session
from roles.tenant import Tenant
from schemas.codec import decode, encode
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


def run_rounds(
    keys: SigningKeys,
    session: Session,
    program: MasterProgram[Result],
    secondary: SecondaryUnit,
    query: Query | None = None,
) -> Result:
    """Run a session between MU's program and SU, every request and reply signed and verified.

    Args:
        keys: Signing keys of both units.
        session: MU's, fresh.
        program: MU's half, not yet started.
        secondary: SU, which does not know the session yet.
        query: SU's copy of the client's message, for query sessions.
    """
    tenant = session.tenant
    try:
        sections = next(program)
        while True:
            session.absorb_request(sections)
            request = Request(session.name, session.subject, session.plan.digest, session.step, sections)
            wires = sign(keys, tenant, "mu", TopicName.ROUND_REQUESTS, "request", encode(request))
            asked = receive(tenant, TopicName.ROUND_REQUESTS, wires)
            reply = secondary.answer(decode(Request, asked.body, MAX_BODY_BYTES), asked.body, query)
            wires = sign(keys, tenant, "su", TopicName.ROUND_REPLIES, "reply", encode(reply))
            answered = receive(tenant, TopicName.ROUND_REPLIES, wires)
            reply = decode(Reply, answered.body, MAX_BODY_BYTES)
            if reply.reason:
                raise RuntimeError(f"SU refused a step: {reply.reason}")
            session.plan.check_reply(session.step, reply.sections)
            session.absorb_reply(reply.sections)
            sections = program.send(reply.sections)
    except StopIteration as finished:
        result: Result = finished.value
        return result
