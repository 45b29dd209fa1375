"""Setting a tenant up: the configuration made of public files, checked and signed; topics and settings.

The parameters are the dealer's (`pipeline.dealer`), everybody's keys their own (`pipeline.party_keys`).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import structs

from crypto.coins import Coins
from crypto.errors import LayoutError
from pipeline.configurations import CONFIGURATION_KIND
from pipeline.dealer import PARAMETERS_FILE, read_parameters
from pipeline.keystore import Keystore, KeystoreHeader
from pipeline.mailbox import Publisher
from pipeline.passphrase import Passphrase
from pipeline.rounds import PlanTooLargeError, check_plan_size
from pipeline.settings import FILE_NAME, Settings, SettingsError, dump_settings
from pipeline.topic_urls import open_transport
from roles.learners import learners_of
from roles.rekeying import chunk_plan
from roles.tenant import Tenant, configuration_digest, tenant_from
from roles.unit_keys import draw_party
from schemas.codec import encode
from schemas.configuration import Configuration, Limits, Party, PublicParameters, UnitPublicKey
from schemas.data_schema import DataSchema, encode_schema
from schemas.models import ModelSpec
from schemas.topics import TopicName, topic_specs

AUTHORITY = "authority"
CHUNK_RECORDS = (1 << 20, 2000, 1000, 500, 250, 100, 50, 20, 10)
"""Limits on a chunk's records that are tried where none is asked for, the largest first."""


@dataclass(frozen=True, slots=True)
class TenantPlan:
    """What `authority init` is asked to make.

    Attributes:
        folder: Where settings, keys and state go.
        tenant: Name.
        transport: URL of the topics.
        profile: Name of the profile.
        insecure: Whether a profile below the standard is wanted.
        schema: The data schema.
        owners: Names of the owners.
        clients: Names of the clients.
        limits: For the configuration.
        models: What the tenant keeps.
        chunk_records: Values for the limit on a chunk's records; the first that all models can
            handle is taken.
    """

    folder: Path
    tenant: str
    transport: str
    profile: str
    insecure: bool
    schema: DataSchema
    owners: tuple[str, ...]
    clients: tuple[str, ...]
    limits: Limits
    models: tuple[ModelSpec, ...]
    chunk_records: tuple[int, ...]


def check_new_tenant(folder: Path, passphrase_file: Path) -> None:
    """Refuse what would only fail after the long search for primes.

    Raises:
        SettingsError: There are settings in the folder already.
        WrongPassphraseError: The passphrase file cannot be read.
    """
    path = folder / FILE_NAME
    if path.exists():
        raise SettingsError(
            "there is a tenant in this folder already", hint="choose another folder", file=path
        )
    Passphrase.from_file(passphrase_file)


def make_tenant(
    plan: TenantPlan, parties: Sequence[UnitPublicKey], passphrase_file: Path
) -> tuple[Settings, Configuration]:
    """Sign the configuration, make the topics, publish it and write the settings file.

    Raises:
        SettingsError: There are settings in the folder already, or schema and limits ask for
            messages that are too large.
        ConfigurationError: The configuration does not check.
    """
    check_new_tenant(plan.folder, passphrase_file)
    path = plan.folder / FILE_NAME
    public, parameters = read_parameters(plan.folder / PARAMETERS_FILE)
    secrets, authority = draw_party(parameters, plan.tenant, AUTHORITY, AUTHORITY, Coins.fresh())
    configuration = _configuration(plan, public, (authority, *(key.party for key in parties)))
    Keystore.create(
        plan.folder / "keys" / f"{AUTHORITY}.key",
        KeystoreHeader(AUTHORITY, plan.tenant, AUTHORITY, public.key_epoch),
        secrets,
        Passphrase.from_file(passphrase_file),
    )
    settings = Settings(
        path=path,
        tenant=plan.tenant,
        transport=plan.transport,
        key_epoch=public.key_epoch,
        authority=AUTHORITY,
        authority_key=authority.verify_key,
        configuration=configuration_digest(configuration),
        keys=plan.folder / "keys",
        state=plan.folder / "state",
        passphrase_file=passphrase_file,
        insecure=plan.insecure,
    )
    signing_key = Ed25519PrivateKey.from_private_bytes(secrets["signing_key"])
    asyncio.run(_publish(settings, configuration, signing_key))
    path.write_text(dump_settings(settings), encoding="utf-8")
    return settings, configuration


def _configuration(plan: TenantPlan, public: PublicParameters, parties: tuple[Party, ...]) -> Configuration:
    """Return the configuration with the largest permitted chunks that all models can handle."""
    for most in plan.chunk_records:
        configuration = Configuration(
            plan.tenant,
            1,
            public.key_epoch,
            public.profile,
            public.modulus,
            public.generator,
            encode_schema(plan.schema),
            plan.models,
            structs.replace(plan.limits, max_chunk_records=most),
            parties,
            share_commitments=tuple(share.commitment for share in public.shares),
        )
        try:
            _check_sizes(tenant_from(configuration, allow_insecure=plan.insecure))
        except SettingsError:
            if most == plan.chunk_records[-1]:
                raise
        else:
            return configuration
    raise ValueError("a plan names at least one limit on a chunk's records")


def _check_sizes(tenant: Tenant) -> None:
    """Refuse a schema and limits whose largest sessions the units could not run."""
    for learner in learners_of(tenant).values():
        try:
            for plan in learner.largest_plans():
                check_plan_size(plan)
        except PlanTooLargeError as error:
            raise SettingsError(error.args[0], hint=error.hint) from error
        except LayoutError as error:
            raise SettingsError(
                f"model '{learner.model_id}': {error}",
                hint="lower --max-chunk-records or --max-query-rows, or use a schema with fewer columns",
            ) from error
    if tenant.has_owner_keys:
        try:
            check_plan_size(chunk_plan(tenant, tenant.configuration.limits.max_chunk_records))
        except PlanTooLargeError as error:
            raise SettingsError(error.args[0], hint=error.hint) from error


async def _publish(settings: Settings, configuration: Configuration, signing_key: Ed25519PrivateKey) -> None:
    async with open_transport(settings.transport) as transport:
        await transport.create_topics(topic_specs(settings.tenant))
        publisher = Publisher(transport, settings.tenant, settings.authority, settings.key_epoch, signing_key)
        await publisher.publish(
            TopicName.CONFIG,
            CONFIGURATION_KIND,
            configuration.version,
            encode(configuration),
            key=b"configuration",
        )
