"""The public audit: signatures of all topics, the journal against the rules, the model from the log."""

from dataclasses import dataclass, field

from pipeline.ahead_messages import AheadMessages
from pipeline.audit_report import AuditReport, Checked, audited_models, unkept_chunks
from pipeline.audit_start import NOT_READABLE
from pipeline.check_pool import CheckPool
from pipeline.journal_audit import GRACE_SECONDS, JournalAudit
from pipeline.meter import Meter
from pipeline.sealed_models import KEPT_VERSIONS, sealed_model
from pipeline.signed_messages import place_of, signatures_seen
from pipeline.succession import stray_configurations
from pipeline.transport import Transport
from roles.classifiers.learner import TaughtLearner
from roles.findings import FindingCode, Findings, Place
from roles.journal_chain import Link
from roles.kept_model import sealed_place
from roles.master_unit import MasterUnit
from roles.model_state import Content
from roles.tenant import Tenant
from schemas.envelope import Envelope
from schemas.topics import TOPICS, TopicName, topic_name

# Journal, chunks, queries, receipts and heads are read as they are folded.
_SIGNATURES_ONLY = (
    TopicName.CONFIG,
    TopicName.REKEYED,
    TopicName.ROUND_REQUESTS,
    TopicName.ROUND_REPLIES,
    TopicName.ANSWERS,
    TopicName.SNAPSHOTS,
    TopicName.DEAD_LETTERS,
)
PROOFS = "proofs"
SEALED_MODELS = "sealed models"


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
    async with CheckPool() as checks:
        return await _audit(transport, tenant, checks, proofs=proofs, grace_seconds=grace_seconds)


async def _audit(
    transport: Transport, tenant: Tenant, checks: CheckPool, *, proofs: bool, grace_seconds: float
) -> AuditReport:
    findings, meter = Findings(), Meter()
    lessons = SealedLessons(transport, findings)
    journal = JournalAudit(
        *(transport, tenant, findings, meter, checks),
        lesson=lessons.learnt,
        proofs=proofs,
        grace_seconds=grace_seconds,
    )
    signatures = _Signatures(transport, tenant, findings, meter, checks)
    unreadable = [topic for topic in _SIGNATURES_ONLY if not await signatures.check(topic)]
    await journal.run()
    for stray in await stray_configurations(transport, tenant):
        detail = "the authority signed a configuration that does not continue the versions in force"
        findings.add(FindingCode.CONFIGURATION_FORKED, place_of(stray), detail)
    auditor = journal.auditor
    lessons.end(auditor.unit)
    return AuditReport(
        findings.found,
        Checked(
            signatures=signatures_seen(meter),
            journal_entries=auditor.counts.journal_entries,
            chunks_accepted=auditor.counts.chunks_accepted,
            chunks_rejected=auditor.counts.chunks_rejected,
            withdrawals=auditor.counts.withdrawals,
            receipts=journal.receipts.checked,
            snapshots=journal.snapshots.checked,
        ),
        audited_models(tenant, auditor),
        start=journal.start,
        last=journal.last_sequence,
        skipped=[
            *([] if proofs else [PROOFS]),
            *([SEALED_MODELS] if lessons.compacted else []),
            *unkept_chunks(auditor),
            *map(str, (*unreadable, *journal.unreadable)),
        ],
    )


@dataclass(frozen=True, slots=True)
class _Signatures:
    transport: Transport
    tenant: Tenant
    findings: Findings
    meter: Meter
    checks: CheckPool

    async def check(self, topic: TopicName) -> bool:
        """Open every envelope of a topic; return whether the topic can be read."""
        try:
            for partition in range(TOPICS[topic].partitions):
                await self._check_partition(topic, partition)
        except NOT_READABLE:
            return False
        return True

    async def _check_partition(self, topic: TopicName, partition: int) -> None:
        name = topic_name(self.tenant.name, topic)
        beginning = await self.transport.beginning_offset(name, partition)
        end = await self.transport.end_offset(name, partition)
        # Whoever may see the offsets may still not be allowed to read.
        await self.transport.read(name, partition, beginning, max_messages=1)
        messages = AheadMessages(
            *(self.transport, self.tenant, topic, self.checks, end), partition=partition, offset=beginning
        )
        while batch := await messages.next():
            for message, opened in batch:
                if isinstance(opened, Envelope):
                    self.meter.saw(topic, opened.kind, len(message.value))
                else:
                    _report(self.findings, Place(topic, partition, message.offset), opened.code)


@dataclass(slots=True)
class SealedLessons:
    """What models became, as MU sealed it: it must be what such a lesson can lead to.

    The newest versions must be there; older ones may have been compacted away.

    Attributes:
        unknown: Models of which the newest version so far is not there.
        compacted: Whether versions are gone that need not be there any more.
    """

    transport: Transport
    findings: Findings
    unknown: set[str] = field(default_factory=set)
    compacted: bool = False
    _missing: list[tuple[str, int, Place, str]] = field(default_factory=list)

    async def learnt(self, link: Link, unit: MasterUnit) -> Content | None:
        """Return what a model became by an entry; None if it did not change, or that is not known."""
        entry = link.entry
        if entry.reason:
            return None
        kept = unit.models[entry.model_id]
        learner = kept.learner
        sealed = await sealed_model(self.transport, unit.tenant, learner, sealed_place(entry))
        if sealed is None:
            place = Place(TopicName.SNAPSHOTS, entry.partition, entry.offset)
            detail = f"the model that entry {entry.sequence} names is not there"
            self._missing.append((entry.model_id, entry.model_version, place, detail))
            self.unknown.add(entry.model_id)
            return None
        if entry.model_id in self.unknown:
            # Nothing is known of what it follows on.
            self.unknown.remove(entry.model_id)
            return sealed.content
        sizes = [chunk.records for chunk in unit.closed_chunks(entry)]
        if isinstance(learner, TaughtLearner) and not learner.follows(kept.model, sizes, sealed.content):
            detail = f"no lesson of these chunks leads to the model of entry {entry.sequence}"
            self.findings.add(FindingCode.MODEL_DIFFERS, link.place, detail)
        return sealed.content

    def end(self, unit: MasterUnit) -> None:
        """Report the versions that are not there and should be."""
        for model_id, version, place, detail in self._missing:
            if version + KEPT_VERSIONS > unit.models[model_id].model.version:
                self.findings.add(FindingCode.MODEL_MISSING, place, detail)
            else:
                self.compacted = True


def _report(findings: Findings, place: Place, reason: str) -> None:
    detail = f"not a message of who writes this topic ({reason!s})"
    findings.add(FindingCode.BAD_MESSAGE, place, detail)
