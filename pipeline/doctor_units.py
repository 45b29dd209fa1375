"""Checks that both units speak of the same: from what they publish, and from their metrics."""

import asyncio
import http.client
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

from prometheus_client.parser import text_string_to_metric_families

from crypto.errors import SchemaError
from pipeline.doctor_finding import Finding
from pipeline.errors import BrokerRefusedError
from pipeline.health_server import MetricsAddress
from pipeline.transport import Transport
from roles.tenant import Tenant, configuration_digest
from schemas.codec import decode
from schemas.envelope import open_envelope
from schemas.heads import Head
from schemas.journal import DeadLetter
from schemas.topics import Role, TopicName, topic_name

T = TypeVar("T")

RECENT_MESSAGES = 512
"""Messages at the end of a topic that are looked at."""
RECENT_SECONDS = 3600
"""Older refusals are past: somebody may have put right what they came from."""
REFUSED = frozenset({"bad_signature", "unknown_sender", "wrong_tenant", "wrong_key_epoch"})
"""Reasons for which one unit refuses the other when their keys, configurations or versions differ."""
HTTP_SECONDS = 10.0
_HINTS = {
    "version": "run the same version everywhere",
    "key_epoch": "a new key epoch begins when nothing is under way: run both units, and look again",
}
_FOREIGN = "give both units the same settings file, and each the keystore made with it"


async def check_heads(transport: Transport, tenant: Tenant) -> Finding:
    """Compare what MU and SU have signed about the versions that answer."""
    master = tenant.party(Role.MU).name
    said: dict[tuple[str, int], bytes] = {}
    heads: list[tuple[str, Head]] = []
    async for sender, _, head in _last(transport, tenant, TopicName.HEADS, Head):
        heads.append((sender, head))
        if sender == master:
            said[head.model_id, head.model_version] = head.model_hash
    signed = 0
    for sender, head in heads:
        if sender == master:
            continue
        signed += 1
        expected = said.get((head.model_id, head.model_version))
        if expected is not None and expected != head.model_hash:
            return Finding.failed(
                "heads",
                f"the units signed different contents of version {head.model_version} of {head.model_id}",
                "stop both units, and run `privml audit` and each unit's self-audit before they answer again",
            )
    if not heads:
        return Finding.ok("heads", "no model has answered yet, so that there is nothing to compare")
    return Finding.ok("heads", f"MU and SU agree on the versions that answer; SU signed {signed} of the last")


async def check_refused_rounds(transport: Transport, tenant: Tenant) -> Finding:
    """Look whether one unit refuses the other's messages."""
    rounds = {TopicName.ROUND_REQUESTS, TopicName.ROUND_REPLIES}
    reasons: Counter[tuple[str, str]] = Counter()
    since = time.time_ns() - RECENT_SECONDS * 10**9
    try:
        async for _, written_at, letter in _last(transport, tenant, TopicName.DEAD_LETTERS, DeadLetter):
            if written_at >= since and letter.topic in rounds and letter.reason in REFUSED:
                reasons[letter.reported_by, letter.reason] += 1
    except BrokerRefusedError:
        return Finding.skipped(
            "refused_rounds", "this login may not read dead letters", "run it with the operator's login"
        )
    if reasons:
        (unit, reason), count = reasons.most_common(1)[0]
        return Finding.failed(
            "refused_rounds",
            f"{unit} refused {count} messages on the rounds topics in the last hour as {reason}",
            f"{_FOREIGN}; if they are the same, somebody else writes to these topics",
        )
    return Finding.ok("refused_rounds", "in the last hour neither unit refused the other's messages")


async def check_units(
    tenant: Tenant, key_epoch: int, addresses: Sequence[MetricsAddress], version: str
) -> Finding:
    """Compare who the units say that they are, at their metrics.

    Args:
        tenant: As the first version of the configuration has it.
        key_epoch: That of the newest version.
        addresses: Of the units' metrics.
        version: Of this program.
    """
    if not addresses:
        return Finding.skipped(
            "units", "no unit was asked", "name the units' metrics: --metrics HOST:PORT for each"
        )
    expected = {
        "tenant": tenant.name,
        "key_epoch": str(key_epoch),
        "configuration": configuration_digest(tenant.configuration).hex(),
        "version": version,
    }
    roles = []
    for address in addresses:
        place = f"{address.host}:{address.port}"
        try:
            info = await asyncio.to_thread(_unit_info, address)
            _, ready = await asyncio.to_thread(_get, address, "/readyz")
        except (OSError, http.client.HTTPException, ValueError):
            return Finding.failed(
                "units", f"no unit answers at {place}", "check that it runs, and its --metrics address"
            )
        role = info.get("role", "?")
        for name, value in expected.items():
            if info.get(name) != value:
                shown = f"{name} {info.get(name, '?')[:16]}, here {value[:16]}"
                hint = _HINTS.get(name, _FOREIGN)
                return Finding.failed("units", f"{role} at {place} has another {shown}", hint)
        if ready.strip() != "ready":
            return Finding.failed(
                "units",
                f"{role} at {place} is not ready: {ready.strip()[:128]}",
                "wait; else look at its log",
            )
        roles.append(role)
    if len(set(roles)) < len(roles):
        return Finding.failed(
            "units", f"two addresses lead to a {roles[0]}", "run one of each; check the addresses"
        )
    return Finding.ok("units", f"{' and '.join(roles)} answer, are ready, and agree with this configuration")


def clock_finding(newest: int | None) -> Finding:
    """Compare this host's clock with the newest message's time."""
    now = time.time_ns()
    if newest is None:
        return Finding.skipped("clock", "no message to compare the clock with")
    ahead = (newest - now) / 1e9
    if ahead > 5.0:
        return Finding.failed(
            "clock",
            f"the newest message was written {ahead:.0f} s in the future of this host's clock",
            "synchronise the clocks of all hosts, by NTP for instance",
        )
    return Finding.ok("clock", "no message comes from the future of this host's clock")


def _unit_info(address: MetricsAddress) -> dict[str, str]:
    status, text = _get(address, "/metrics")
    if status != 200:
        raise ValueError("no metrics")
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "privml_unit_info":
                return dict(sample.labels)
    raise ValueError("not a unit of PrivML")


def _get(address: MetricsAddress, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(address.host, address.port, timeout=HTTP_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


async def _last(
    transport: Transport, tenant: Tenant, topic: TopicName, kind: type[T]
) -> AsyncIterator[tuple[str, int, T]]:
    """Yield sender, time and body of the last messages of a topic that are what it is for."""
    name = topic_name(tenant.name, topic)
    end = await transport.end_offset(name, 0)
    offset = max(await transport.beginning_offset(name, 0), end - RECENT_MESSAGES)
    while offset < end and (messages := await transport.read(name, 0, offset)):
        for message in messages:
            offset = message.offset + 1
            try:
                envelope = open_envelope(message.value, topic, tenant.name, tenant.verifying.get)
                yield envelope.sender, message.written_at, decode(kind, envelope.body)
            except SchemaError:
                continue
