"""SU re-checks itself: every session run again from MU's requests, every reply compared.

Only SU's own keystore is opened. Replies are functions of the requests, the clients' queries and
SU's keys, so a reply that is not the same to the last byte was not made by this program with these
keys, or was changed since.
"""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from pipeline import succession
from pipeline.asked_query import asked_query
from pipeline.audit_report import AuditedModel, AuditReport, Checked
from pipeline.check_pool import CheckPool
from pipeline.meter import Meter
from pipeline.rounds import PARTITIONS, partition_of
from pipeline.rounds_record import RecordedReply, RoundsRecord, body_hash
from pipeline.signed_messages import SignedMessages, place_of, signatures_seen
from pipeline.transport import Transport
from roles.arrival import Arrival
from roles.building_blocks.base_transfers import TransferBases, base_subject
from roles.classifiers.learner import QUERY
from roles.findings import FindingCode, Findings, Place
from roles.head_watch import HeadWatch
from roles.secondary_unit import SecondaryUnit
from roles.tenant import Tenant
from roles.unit_channels import UnitChannels
from roles.unit_keys import UnitKeys, keys_in
from schemas.codec import encode
from schemas.heads import Head
from schemas.reasons import ReasonCode
from schemas.rounds import Request
from schemas.topics import TopicName, topic_name

MOMENTARY_REASONS = frozenset(
    {
        ReasonCode.PLAN_VIOLATION,
        ReasonCode.CONFLICTING_REQUEST,
        ReasonCode.UNKNOWN_HEAD,
        ReasonCode.QUOTA_EXCEEDED,
        ReasonCode.WRONG_KEY_EPOCH,
    }
)
"""Refusals for what SU held at that moment, which the requests do not tell."""
SESSIONS_CUT_OFF = "sessions whose beginning, or query, is not kept"


async def audit_secondary(
    transport: Transport, tenant: Tenant, keys: UnitKeys, pool: ThreadPoolExecutor | None = None
) -> AuditReport:
    """Run all of SU's sessions again and compare every reply that is on its topic.

    Args:
        transport: Where the topics are; only read.
        tenant: Public facts.
        keys: SU's; nothing is saved to its keystore.
        pool: Threads for the powers.
    """
    run = _SelfAudit(transport, tenant, keys, pool)
    await run.record.open()
    await run.read_heads()
    # Everything else needs the base transfers, which the keystore may not hold yet.
    first = partition_of(base_subject())
    for partition in sorted(PARTITIONS, key=lambda number: number != first):
        await run.check_partition(partition)
    return AuditReport(
        run.findings.found,
        Checked(signatures=signatures_seen(run.meter), sessions_recomputed=len(run.begun)),
        [AuditedModel(spec.model_id) for spec in tenant.configuration.models],
        skipped=[SESSIONS_CUT_OFF] if run.cut_off else [],
    )


@dataclass(slots=True)
class _SelfAudit:
    """The re-run so far.

    Attributes:
        heads: What MU has signed about its models.
        units: SU as after a start, by key epoch.
        begun: Sessions of which the first reply was computed again.
        cut_off: Whether a session was left out because its beginning is not kept.
    """

    transport: Transport
    tenant: Tenant
    keys: UnitKeys
    pool: ThreadPoolExecutor | None = field(repr=False)
    findings: Findings = field(default_factory=Findings)
    meter: Meter = field(default_factory=Meter)
    record: RoundsRecord = field(init=False)
    heads: HeadWatch = field(init=False)
    units: dict[int, SecondaryUnit] = field(default_factory=dict)
    begun: set[bytes] = field(default_factory=set)
    cut_off: bool = False
    _at: Place = field(default_factory=lambda: Place(TopicName.ROUND_REQUESTS, 0, 0))

    def __post_init__(self) -> None:
        channels = UnitChannels(self.tenant, "su", self.keys)
        self.record = RoundsRecord(self.transport, self.tenant, channels, self.findings, self.meter)
        # As an old session is looked at as well, none is forgotten.
        self.heads = HeadWatch(self.tenant, limit=sys.maxsize)

    def _unit_in(self, key_epoch: int) -> SecondaryUnit:
        if key_epoch not in self.units:
            began = self.tenant.roster.beginning_of(key_epoch) or self.tenant.configuration
            tenant = self.tenant.in_key_epoch(began)
            keys = keys_in(tenant, "su", self.keys)

            def compare(bases: TransferBases) -> None:
                self._compare_bases(keys.bases, bases)

            secrets = keys.theta, keys.seed, keys.delta, keys.bases, compare
            unit = SecondaryUnit(tenant, *secrets, self.pool, keys.strong_share)
            unit.heads = self.heads
            self.units[key_epoch] = unit
        return self.units[key_epoch]

    async def read_heads(self) -> None:
        """Take in every head of MU, and every version of the configuration that it told of."""
        watch = succession.SuccessionWatch(self.transport, self.tenant)
        async for word in succession.words(self.transport, self.tenant):
            if not await watch.take(word):
                detail = "MU told of versions of the configuration that do not continue one another"
                self.findings.add(FindingCode.HEAD_CONTRADICTS, place_of(word), detail)
        heads = SignedMessages(
            *(self.transport, self.tenant, TopicName.HEADS, Head, self.findings, self.meter),
            CheckPool(processes=0),
            passing=succession.KIND,
        )
        await heads.open()
        async for arrival, head in heads.all():
            if arrival.sender == self.tenant.party("mu").name:
                self.heads.offer(head)

    async def check_partition(self, partition: int) -> None:
        """Run the sessions of a partition again, request after request."""
        self.record.replies.clear()
        await self.record.read_replies(partition)
        unanswered: list[Place] = []
        seen: set[tuple[bytes, int, bytes]] = set()
        async for arrival, request_hash, request in self.record.requests(partition):
            key = (request.session, request.step, request_hash)
            given = self.record.replies.get(key, [])
            if key not in seen:
                # MU repeats what is not answered at once; the same bytes have the same reply.
                seen.add(key)
                await self._check(arrival, request, given)
            if not given:
                unanswered.append(place_of(arrival))
                continue
            # SU answers a partition in order, so only the last requests may be waiting.
            for place in unanswered:
                detail = "SU's reply to this request is not on its topic, though one to a later request is"
                self.findings.add(FindingCode.REPLY_MISSING, place, detail)
            unanswered.clear()
        if not await self.record.is_whole(partition):
            self.cut_off = True
            return
        for key in self.record.replies.keys() - seen:
            for reply in self.record.replies[key]:
                detail = "SU signed a reply to a request that is not on its topic"
                self.findings.add(FindingCode.REPLY_UNEXPLAINED, reply.place, detail)

    async def _check(self, arrival: Arrival, request: Request, given: list[RecordedReply]) -> None:
        """Compute the reply to a request again and compare it with those on the topic."""
        if given and {reply.reason for reply in given} <= MOMENTARY_REASONS:
            return
        if request.step > 1 and request.session not in self.begun:
            self.cut_off = True
            return
        query = None
        if request.subject.purpose == QUERY and request.step == 1:
            query = await asked_query(self.transport, self.tenant, request.subject)
            if query is None and request.subject.offset < await self._oldest_query():
                self.cut_off = True
                return
        self._at = place_of(arrival)
        body = await asyncio.to_thread(encode, request)
        reply = await asyncio.to_thread(self._unit_in(arrival.key_epoch).answer, request, body, query)
        if not reply.reason and request.step == 1:
            self.begun.add(request.session)
        own_hash = await asyncio.to_thread(lambda: body_hash(encode(reply)))
        for other in given:
            if other.body_hash != own_hash and other.reason not in MOMENTARY_REASONS:
                now = f"a refusal ({reply.reason})" if reply.reason else "another reply"
                detail = (
                    f"step {request.step} of a {request.subject.purpose} session, computed again, has {now}"
                )
                self.findings.add(FindingCode.REPLY_DIFFERS, other.place, detail)

    async def _oldest_query(self) -> int:
        return await self.transport.beginning_offset(topic_name(self.tenant.name, TopicName.QUERIES), 0)

    def _compare_bases(self, stored: TransferBases | None, bases: TransferBases) -> None:
        if stored is not None and bases != stored:
            detail = "the base transfers, run again, give other seeds than the keystore has"
            self.findings.add(FindingCode.BASES_DIFFER, self._at, detail)
