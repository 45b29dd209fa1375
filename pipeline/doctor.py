"""All checks of a set-up, in the order in which one rests on the other."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version as installed_version
from pathlib import Path

from crypto.errors import PrivMLError
from pipeline.configurations import fetch_versions, newest_tenant
from pipeline.doctor_finding import Finding, Status
from pipeline.doctor_host import check_disk, check_keystores, check_passphrase, check_settings_file
from pipeline.doctor_topics import (
    check_access,
    check_topic_settings,
    check_topics,
    check_transport,
    newest_message,
)
from pipeline.doctor_units import check_heads, check_refused_rounds, check_units, clock_finding
from pipeline.errors import StorageError, TransportError
from pipeline.health_server import MetricsAddress
from pipeline.settings import Settings, load_settings
from pipeline.topic_urls import open_transport
from pipeline.transport import Transport

CHECKS = (
    *("settings", "passphrase", "disk", "transport", "topics", "topic_settings", "clock"),
    *("configuration", "access", "keystores", "heads", "refused_rounds", "units"),
)


@dataclass(frozen=True, slots=True)
class Examination:
    """What to examine.

    Attributes:
        config: Settings file.
        transport: URL instead of the settings'; None for these.
        passphrase_file: Instead of the settings'; None for these.
        metrics: Where units serve their metrics.
    """

    config: Path
    transport: str | None = None
    passphrase_file: Path | None = None
    metrics: tuple[MetricsAddress, ...] = ()


async def examine(what: Examination) -> list[Finding]:
    """Run every check; return one finding for each, in order."""
    findings: list[Finding] = []
    try:
        settings = load_settings(what.config)
    except PrivMLError as error:
        findings.append(Finding.of_error("settings", error))
        return _completed(findings, "the settings cannot be read")
    if what.transport is not None:
        settings = replace(settings, transport=what.transport)
    findings += [check_settings_file(settings), check_passphrase(settings, what.passphrase_file)]
    findings.append(check_disk(_folders(settings)))
    try:
        transport = open_transport(settings.transport)
    except PrivMLError as error:
        findings.append(Finding.of_error("transport", error))
        return _completed(findings, "the transport cannot be opened")
    async with transport:
        findings.append(await check_transport(transport, settings.transport, settings.tenant))
        if findings[-1].status is not Status.OK:
            return _completed(findings, "the transport cannot be reached")
        await _check_reachable(findings, transport, settings, what)
    return _completed(findings, "what it rests on failed")


async def _check_reachable(
    findings: list[Finding], transport: Transport, settings: Settings, what: Examination
) -> None:
    url, name = settings.transport, settings.tenant
    findings.append(await _guarded("topics", check_topics(transport, url, name)))
    if findings[-1].status is Status.FAILED:
        return
    findings.append(await _guarded("topic_settings", check_topic_settings(url, name)))
    findings.append(clock_finding(await newest_message(transport, name)))
    try:
        versions = await fetch_versions(settings, transport, insecure=True)
        tenant = newest_tenant(versions, insecure=True)
    except PrivMLError as error:
        findings.append(Finding.of_error("configuration", error))
        return
    pinned = f"the pinned one is on its topic and checks: {settings.configuration.hex()[:16]}…"
    findings.append(Finding.ok("configuration", pinned))
    findings.append(await _guarded("access", check_access(url, tenant)))
    findings.append(check_keystores(settings, tenant, what.passphrase_file))
    findings.append(await _guarded("heads", check_heads(transport, tenant)))
    findings.append(await _guarded("refused_rounds", check_refused_rounds(transport, tenant)))
    first, version = versions.first, installed_version("privml")
    findings.append(await check_units(first, tenant.key_epoch, what.metrics, version))


async def _guarded(check: str, look: Awaitable[Finding]) -> Finding:
    """Return a finding; one of the transport's or the storage's errors is one, too."""
    try:
        return await look
    except (TransportError, StorageError) as error:
        return Finding.of_error(check, error)


def _folders(settings: Settings) -> Sequence[Path]:
    own = [settings.state]
    if settings.transport.startswith("log:"):
        own.append(Path(settings.transport.removeprefix("log:")))
    return own


def _completed(findings: list[Finding], reason: str) -> list[Finding]:
    """Add the checks that were not reached."""
    done = {finding.check for finding in findings}
    return [*findings, *(Finding.skipped(check, reason) for check in CHECKS if check not in done)]
