"""The public audit: signatures of all topics, the journal against the rules, the model from the log."""

import asyncio

from crypto.errors import SchemaError
from pipeline.audit_report import AuditedModel, AuditReport, Checked
from pipeline.journal_audit import GRACE_SECONDS, NOT_READABLE, JournalAudit
from pipeline.mailbox import Inbox
from pipeline.meter import Meter
from pipeline.rounds import MAX_BODY_BYTES
from pipeline.signed_messages import place_of, signatures_seen
from pipeline.transport import Message, Transport
from roles.arrival import Arrival, Refused
from roles.findings import FindingCode, Findings, Place
from roles.model_record import ModelRecord
from roles.tenant import Tenant
from schemas.codec import decode
from schemas.envelope import open_envelope
from schemas.rounds import Request, Subject
from schemas.topics import TOPICS, TopicName, topic_name

# Journal, chunks, queries, receipts and heads are read as they are folded, requests for their subjects.
_SIGNATURES_ONLY = (
    TopicName.CONFIG,
    TopicName.ROUND_REPLIES,
    TopicName.ANSWERS,
    TopicName.SNAPSHOTS,
    TopicName.DEAD_LETTERS,
)
PROOFS = "proofs"


async def audit(
    transport: Transport, tenant: Tenant, *, proofs: bool = True, grace_seconds: float = GRACE_SECONDS
) -> AuditReport:
    """Hold a tenant's log against the rules, from public data alone.

    Args:
        transport: Where the topics are; only read.
        tenant: Public facts.
        proofs: Whether to verify the proofs of plaintext knowledge.
        grace_seconds: How long to wait for receipts of the last decisions.

    Raises:
        PipelineError: Journal, chunks or receipts cannot be read.
    """
    findings, meter = Findings(), Meter()
    journal = JournalAudit(transport, tenant, findings, meter, proofs=proofs, grace_seconds=grace_seconds)
    unreadable = [
        topic
        for topic in _SIGNATURES_ONLY
        if not await _check_signatures(transport, tenant, topic, findings, meter)
    ]
    # Before the journal: whatever was asked by now is journaled by the time that is read.
    if not await _read_refreshes(transport, tenant, journal.auditor.record, findings, meter):
        unreadable.append(TopicName.ROUND_REQUESTS)
    await journal.run()
    auditor = journal.auditor
    auditor.record.close(complete=auditor.complete and auditor.model_known)
    return AuditReport(
        findings.found,
        Checked(
            signatures=signatures_seen(meter),
            journal_entries=auditor.counts.journal_entries,
            chunks_accepted=auditor.counts.chunks_accepted,
            chunks_rejected=auditor.counts.chunks_rejected,
            withdrawals=auditor.counts.withdrawals,
            receipts=journal.receipts.checked,
        ),
        AuditedModel.of(tenant, auditor.unit.model.version, auditor.current_model(), auditor.record),
        first=0,
        last=journal.last_sequence,
        skipped=[*([] if proofs else [PROOFS]), *map(str, (*unreadable, *journal.unreadable))],
    )


async def _check_signatures(
    transport: Transport, tenant: Tenant, topic: TopicName, findings: Findings, meter: Meter
) -> bool:
    """Open every envelope of a topic; return whether the topic can be read."""
    name = topic_name(tenant.name, topic)

    def check(messages: list[Message]) -> None:
        for message in messages:
            try:
                envelope = open_envelope(message.value, topic, tenant.name, tenant.verifying.get)
            except SchemaError as error:
                _report(findings, Place(topic, message.partition, message.offset), error.code)
            else:
                meter.saw(topic, envelope.kind, len(message.value))

    try:
        for partition in range(TOPICS[topic].partitions):
            offset = await transport.beginning_offset(name, partition)
            end = await transport.end_offset(name, partition)
            # Read at least once: whoever may see the offsets may still not be allowed to read.
            while messages := await transport.read(name, partition, offset):
                await asyncio.to_thread(check, messages)
                offset = messages[-1].offset + 1
                if offset >= end:
                    break
    except NOT_READABLE:
        return False
    return True


async def _read_refreshes(
    transport: Transport, tenant: Tenant, record: ModelRecord, findings: Findings, meter: Meter
) -> bool:
    """Take from the requests which models MU had SU refresh; return whether they can be read."""
    topic = TopicName.ROUND_REQUESTS
    name = topic_name(tenant.name, topic)
    try:
        for partition in range(TOPICS[topic].partitions):
            inbox = Inbox(
                *(transport, tenant, topic),
                partition=partition,
                offset=await transport.beginning_offset(name, partition),
                meter=meter,
                part_budget=MAX_BODY_BYTES,
            )
            end = await transport.end_offset(name, partition)
            before = -1
            while before < inbox.next_offset < max(end, 1):
                before = inbox.next_offset
                for message in await inbox.receive(0.0):
                    if isinstance(message, Refused):
                        _report(findings, place_of(message.arrival), message.reason)
                    elif (subject := _subject(message)) is not None and subject.purpose == "refresh":
                        record.offer_refresh(place_of(message), subject)
    except NOT_READABLE:
        return False
    return True


def _subject(message: Arrival) -> Subject | None:
    """Return what a request is about; None if its body is not for everybody to read."""
    try:
        return decode(Request, message.body, MAX_BODY_BYTES).subject
    except SchemaError:
        return None


def _report(findings: Findings, place: Place, reason: str) -> None:
    detail = f"not a message of who writes this topic ({reason!s})"
    findings.add(FindingCode.BAD_MESSAGE, place, detail)
