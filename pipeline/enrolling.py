"""The authority's next version of the configuration, and how one with other owners and clients is made."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.configurations import CONFIGURATION_KIND, ConfigurationMissingError, Versions, fetch_versions
from pipeline.dealer import PARAMETERS_FILE
from pipeline.parties import Identity
from pipeline.process_lock import sole_process
from pipeline.seen_configuration import SeenConfiguration
from pipeline.settings import Settings, SettingsError
from pipeline.share_hand_over import UNITS
from pipeline.transport import Transport
from roles.enrolment import ENROLLED_ROLES, NotSuccessorError, change_between, next_version
from roles.tenant import configuration_digest
from schemas.codec import encode
from schemas.configuration import Configuration, DealtShare, PublicParameters, UnitPublicKey
from schemas.topics import TopicName


def check_newcomers(versions: Versions, newcomers: Sequence[UnitPublicKey]) -> None:
    """Refuse names that are taken and keys of another tenant, before anything is drawn or signed.

    Raises:
        SettingsError: A name was given before, or a key file is of another tenant or role.
    """
    for key in newcomers:
        if key.tenant != versions.newest.tenant:
            raise SettingsError(f"the key of '{key.party.name}' was made for tenant '{key.tenant}'")
        if key.party.role not in ENROLLED_ROLES:
            raise SettingsError(
                f"'{key.party.name}' is the key of role {key.party.role}: owners and clients can come"
            )
    check_names(versions.newest, [key.party.name for key in newcomers])


def check_names(configuration: Configuration, names: Sequence[str]) -> None:
    """Refuse names that are taken.

    Raises:
        SettingsError: A name was given before, to whomever, or is asked for twice.
    """
    taken = {party.name for party in configuration.parties}
    for position, name in enumerate(names):
        if name in taken or name in names[:position]:
            raise SettingsError(
                f"the name '{name}' is taken", hint="a name is given once, even if its party was revoked"
            )


def parameters_file(settings: Settings, configuration: Configuration) -> Path:
    """Return the tenant's parameters file beside the settings, written anew if it is not there."""
    path = settings.path.resolve().parent / PARAMETERS_FILE
    if not path.exists():
        public = PublicParameters(
            configuration.tenant,
            configuration.key_epoch,
            configuration.profile,
            configuration.modulus,
            configuration.generator,
            tuple(map(DealtShare, UNITS, configuration.share_commitments, (b"", b""))),
        )
        path.write_bytes(encode(public))
    return path


async def publish_next_version(
    settings: Settings,
    transport: Transport,
    authority: Identity,
    newcomers: Sequence[UnitPublicKey],
    revoked: Sequence[str],
    *,
    insecure: bool = False,
) -> Configuration:
    """Sign and publish the version after the newest one on the topic; return it.

    Raises:
        SettingsError: A name is taken, or one to be revoked is not there or not an owner's or a client's.
        NotSuccessorError: A key does not check.
        ConfigurationMissingError: Another version came first.
    """

    def following(versions: Versions) -> Configuration:
        check_newcomers(versions, newcomers)
        _check_revoked(versions.newest, revoked)
        return next_version(versions.newest, [key.party for key in newcomers], revoked)

    return await publish_version(settings, transport, authority, following, insecure=insecure)


async def publish_version(
    settings: Settings,
    transport: Transport,
    authority: Identity,
    following: Callable[[Versions], Configuration],
    *,
    insecure: bool = False,
) -> Configuration:
    """Sign and publish a version that continues those on the topic; return it.

    Args:
        settings: What is pinned.
        transport: Where the topics are.
        authority: Whose keystore signs.
        following: Returns the version to be published, from those that are there.
        insecure: Allow a profile below the standard.

    Raises:
        SettingsError: `following` refuses, or the version does not continue the newest one.
        ConfigurationMissingError: Another version came first.
    """
    with sole_process(settings.state / "authority.lock", "a command of the authority"):
        versions = await fetch_versions(settings, transport, insecure=insecure, remember=True)
        version = following(versions)
        try:
            await asyncio.to_thread(change_between, versions.first, versions.newest, version)
        except NotSuccessorError as error:
            raise SettingsError(str(error)) from error
        # A key of its own: a compacted topic keeps every version.
        key = f"configuration/{version.version}".encode()
        publisher = authority.publisher(versions.first, transport)
        await publisher.publish(
            TopicName.CONFIG, CONFIGURATION_KIND, version.version, encode(version), key=key
        )
        after = await fetch_versions(settings, transport, insecure=insecure)
        if after.newest != version:
            raise ConfigurationMissingError(
                f"another version {version.version} was published at the same time and counts",
                hint="repeat the command: it continues the other version",
                file=settings.path,
            )
        SeenConfiguration(settings.state).note(version.version, configuration_digest(version))
        return version


def _check_revoked(configuration: Configuration, names: Sequence[str]) -> None:
    parties = {party.name: party for party in configuration.parties}
    for name in names:
        party = parties.get(name)
        if party is None or party.role not in ENROLLED_ROLES:
            raise SettingsError(f"the tenant has no owner and no client '{name}'")
        if party.revoked:
            raise SettingsError(f"'{name}' is revoked already")
