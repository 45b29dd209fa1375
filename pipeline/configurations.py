"""Fetching a tenant: from the pinned configuration back to the first one and on to the newest.

Settings pin the hash of one version and the authority's key. Each version names the hash of the one before
it, so what lies before the pinned one needs no trust; what follows must be signed by the authority and
continue it. Of two versions under one number the first on the topic counts, for everybody.
"""

import asyncio
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import structs

from crypto.errors import SchemaError
from pipeline.errors import PipelineError
from pipeline.seen_configuration import SeenConfiguration
from pipeline.settings import Settings
from pipeline.succession import last_word
from pipeline.transport import Transport
from roles.enrolment import NotSuccessorError, change_between
from roles.tenant import Tenant, configuration_digest, tenant_from
from schemas.codec import decode
from schemas.configuration import MAX_CONFIGURATION_BYTES, Configuration
from schemas.envelope import VerifyingParty, open_envelope
from schemas.reasons import ReasonCode
from schemas.topics import Role, TopicName, topic_name

CONFIGURATION_KIND = "configuration"


class ConfigurationMissingError(PipelineError):
    """The pinned configuration is not on its topic, or is none that counts."""

    code = ReasonCode.INVALID_CONFIG


class ConfigurationRolledBackError(PipelineError):
    """The config topic lacks a version that this host has seen."""

    code = ReasonCode.LOG_ROLLED_BACK


@dataclass(frozen=True, slots=True)
class Versions:
    """All versions that count, in order.

    Attributes:
        first: The tenant as the first version has it.
        configurations: Every version, the first one included.
    """

    first: Tenant
    configurations: tuple[Configuration, ...]

    @property
    def newest(self) -> Configuration:
        """The last version."""
        return self.configurations[-1]


async def fetch_sending_tenant(settings: Settings, transport: Transport) -> Tenant:
    """Return the tenant for whoever sends: the newest version, in the key epoch that is in force.

    Raises:
        ConfigurationMissingError, ConfigurationRolledBackError, ConfigurationError: As `fetch_tenant`.
    """
    versions = await fetch_versions(settings, transport, remember=True)
    key_epoch = await _key_epoch(transport, versions)
    configuration = structs.replace(versions.newest, key_epoch=key_epoch)
    first = versions.first.key_epoch
    return tenant_from(configuration, allow_insecure=settings.insecure, first_key_epoch=first)


async def fetch_key_epoch(settings: Settings, transport: Transport) -> int:
    """Return the key epoch that is in force, by MU's word; raises as `fetch_tenant`."""
    return await _key_epoch(transport, await fetch_versions(settings, transport))


async def _key_epoch(transport: Transport, versions: Versions) -> int:
    first = versions.first
    if versions.newest.key_epoch == first.key_epoch:
        return first.key_epoch
    signed = {configuration_digest(one): one for one in versions.configurations}
    entered = [signed.get(one.configuration) for one in await last_word(transport, first)]
    return max((one.key_epoch for one in entered if one is not None), default=first.key_epoch)


async def fetch_tenant(
    settings: Settings, transport: Transport, *, insecure: bool = False, remember: bool = False
) -> Tenant:
    """Return the tenant as the newest version has it.

    Args:
        settings: What is pinned.
        transport: Where the topics are.
        insecure: Allow a profile below the standard.
        remember: Note the newest version in the state folder: none before it is taken any more.

    Raises:
        ConfigurationMissingError: No message signed by the authority has the pinned hash.
        ConfigurationRolledBackError: The topic ends before a version that this host has seen.
        ConfigurationError: The configuration does not check.
    """
    versions = await fetch_versions(settings, transport, insecure=insecure, remember=remember)
    return newest_tenant(versions, insecure=insecure or settings.insecure)


def newest_tenant(versions: Versions, *, insecure: bool) -> Tenant:
    """Return the tenant as the newest of these versions has it.

    Raises:
        ConfigurationError: The configuration does not check.
    """
    if len(versions.configurations) == 1:
        return versions.first
    first = versions.first.key_epoch
    return tenant_from(versions.newest, allow_insecure=insecure, first_key_epoch=first)


async def fetch_first_tenant(
    settings: Settings, transport: Transport, *, insecure: bool = False, remember: bool = False
) -> Tenant:
    """Return the tenant as the first version has it; raises as `fetch_tenant`.

    For whoever goes by MU's journal: it says since when later versions are in force.
    """
    return (await fetch_versions(settings, transport, insecure=insecure, remember=remember)).first


async def fetch_versions(
    settings: Settings, transport: Transport, *, insecure: bool = False, remember: bool = False
) -> Versions:
    """Return all versions; raises as `fetch_tenant`."""
    signed = await _signed(settings, transport)
    by_hash = {configuration_digest(configuration): configuration for configuration in signed}
    pinned = first = by_hash.get(settings.configuration)
    if pinned is None or first is None:
        raise ConfigurationMissingError(
            "the pinned configuration is not on the config topic",
            hint="check the transport in the settings file; the topic may belong to another set-up",
            file=settings.path,
        )
    while first.previous:
        before = by_hash.get(first.previous)
        if before is None or before.version != first.version - 1:
            raise ConfigurationMissingError(
                f"version {first.version - 1} of the configuration is not on the config topic",
                hint="restore the topic from a backup",
                file=settings.path,
            )
        first = before
    tenant = tenant_from(first, allow_insecure=insecure or settings.insecure)
    versions = Versions(tenant, await asyncio.to_thread(_followed, tenant, signed))
    if pinned not in versions.configurations:
        raise ConfigurationMissingError(
            f"the pinned configuration is not the version {pinned.version} that counts",
            hint="the authority signed another one before it: get the settings file from the authority again",
            file=settings.path,
        )
    _hold_against_seen(settings, versions, remember=remember)
    return versions


def _followed(tenant: Tenant, signed: list[Configuration]) -> tuple[Configuration, ...]:
    """Return the first version and those that continue it, of several the one that came first."""
    followed = [tenant.configuration]
    while True:
        for configuration in signed:
            if configuration.version != followed[-1].version + 1:
                continue
            try:
                change_between(tenant, followed[-1], configuration)
            except NotSuccessorError:
                continue
            followed.append(configuration)
            break
        else:
            return tuple(followed)


def _hold_against_seen(settings: Settings, versions: Versions, *, remember: bool) -> None:
    memory = SeenConfiguration(settings.state)
    seen = memory.read()
    digests = {
        configuration.version: configuration_digest(configuration)
        for configuration in versions.configurations
    }
    if seen is not None and digests.get(seen.version) != seen.configuration:
        raise ConfigurationRolledBackError(
            f"the config topic lacks version {seen.version} of the configuration, which this host has seen",
            hint="the log was replaced by an older copy or another one: restore the newer one",
            file=settings.path,
        )
    if remember:
        memory.note(versions.newest.version, digests[versions.newest.version])


async def _signed(settings: Settings, transport: Transport) -> list[Configuration]:
    """Return what the authority signed for the config topic, in the topic's order."""
    authority = VerifyingParty(
        settings.authority,
        Role.AUTHORITY,
        Ed25519PublicKey.from_public_bytes(settings.authority_key),
        settings.key_epoch,
    )
    topic = topic_name(settings.tenant, TopicName.CONFIG)
    offset = await transport.beginning_offset(topic, 0)
    found: list[Configuration] = []
    while messages := await transport.read(topic, 0, offset):
        for message in messages:
            offset = message.offset + 1
            try:
                envelope = open_envelope(
                    message.value,
                    TopicName.CONFIG,
                    settings.tenant,
                    lambda name: authority if name == authority.name else None,
                )
                configuration = decode(Configuration, envelope.body, MAX_CONFIGURATION_BYTES)
            except SchemaError:
                continue
            if configuration.tenant == settings.tenant:
                found.append(configuration)
    return found
