"""Setting a tenant up: the dealer's parameters, everybody's keys, the signed configuration.

The dealer makes N and g, and forgets the primes when its function returns. Each party's keys are
drawn by a process of its own, which writes its own keystore; whoever puts the configuration
together sees public files only.
"""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import structs

from crypto.coins import Coins
from crypto.errors import LayoutError
from crypto.key_generation import generate_parameters
from crypto.parameters import Parameters
from crypto.profiles import Profile, profile
from crypto.validation import validate_parameters
from pipeline.configurations import CONFIGURATION_KIND
from pipeline.errors import PipelineError
from pipeline.keystore import Keystore, KeystoreHeader
from pipeline.mailbox import Publisher
from pipeline.passphrase import Passphrase
from pipeline.rounds import PlanTooLargeError, check_plan_size
from pipeline.settings import FILE_NAME, Settings, SettingsError, dump_settings
from pipeline.share_hand_over import (
    EXCHANGE,
    FIRST_EPOCH,
    UNITS,
    check_units,
    deal_shares,
    dealt_share,
    open_unit_keystore,
)
from pipeline.topic_urls import open_transport
from roles.learners import learners_of
from roles.rekeying import chunk_plan
from roles.tenant import Tenant, configuration_digest, tenant_from
from roles.unit_keys import draw_party
from schemas.codec import decode, encode
from schemas.configuration import Configuration, Limits, Party, PublicParameters, UnitPublicKey
from schemas.data_schema import DataSchema, encode_schema
from schemas.models import ModelSpec
from schemas.reasons import ReasonCode
from schemas.topics import TopicName, topic_specs

PARAMETERS_FILE = "parameters.privml"
AUTHORITY = "authority"
CHUNK_RECORDS = (1 << 20, 2000, 1000, 500, 250, 100, 50, 20, 10)
"""Limits on a chunk's records that are tried where none is asked for, the largest first."""


class KeyGenerationError(PipelineError):
    """A key generation process failed."""

    code = ReasonCode.INVALID_KEY


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


def make_parameters(
    folder: Path,
    tenant: str,
    profile_name: str,
    progress: Callable[[int, float], None] | None = None,
    units: Sequence[UnitPublicKey] = (),
) -> Path:
    """Draw N and g and write them to the folder; the primes are forgotten (the dealer).

    Args:
        folder: Where the parameters file goes.
        tenant: Name.
        profile_name: The sizes.
        progress: Hears of the search for primes.
        units: Exchange keys of MU and SU, if owners shall have keys of their own: then the strong key
            is split, and each share sealed for its unit. None otherwise, and nothing is split.

    Raises:
        SettingsError: The file exists already: a modulus is made once. Or these are not both units.

    Cost:
        Two safe primes; about 100 full powers in the median at 3072 bits, sometimes thrice that.
    """
    chosen = known_profile(profile_name)
    path = folder / PARAMETERS_FILE
    if path.exists():
        raise SettingsError("the parameters exist already", hint="choose another folder", file=path)
    if units:
        check_units(tenant, units)
    with ThreadPoolExecutor() as pool:
        parameters, strong = generate_parameters(chosen, Coins.fresh(), pool, progress)
    shares = deal_shares(strong, tenant, units) if units else ()
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        encode(
            PublicParameters(
                tenant,
                FIRST_EPOCH,
                profile_name,
                parameters.n.to_bytes(chosen.plaintext_bytes, "big"),
                parameters.g.to_bytes(chosen.component_bytes, "big"),
                shares,
            )
        )
    )
    return path


def known_profile(name: str) -> Profile:
    """Return a profile by name.

    Raises:
        SettingsError: There is none of that name.
    """
    try:
        return profile(name)
    except ValueError as error:
        raise SettingsError(str(error)) from error


def read_parameters(path: Path) -> tuple[PublicParameters, Parameters]:
    """Read a parameters file and check what is in it.

    Raises:
        SettingsError: It cannot be read.
        InvalidKeyError: N or g fails its checks.
    """
    try:
        public = decode(PublicParameters, path.read_bytes())
    except OSError as error:
        raise SettingsError("the parameters file cannot be read", file=path) from error
    parameters = Parameters(
        known_profile(public.profile),
        int.from_bytes(public.modulus, "big"),
        int.from_bytes(public.generator, "big"),
    )
    validate_parameters(parameters)
    return public, parameters


def make_party(
    parameters_file: Path, role: str, name: str, keystore: Path, public_file: Path, passphrase: Passphrase
) -> Party:
    """Draw one party's keys: secrets into its keystore, the public part into a file of its own.

    Where owners have keys of their own, a unit's keystore is there already with its exchange key, and
    gets the unit's share of the strong key.

    Raises:
        KeystoreError: The keystore cannot be written, or not taken up.
    """
    public, parameters = read_parameters(parameters_file)
    if public.shares and role in UNITS:
        opened = open_unit_keystore(public, role, name, keystore, passphrase)
        exchange = opened.secrets[EXCHANGE]
        share = dealt_share(public, parameters, role, exchange)
        drawn = parameters, public.tenant, role, name, Coins.fresh()
        secrets, party = draw_party(*drawn, owner_keys=True, exchange_secret=exchange)
        opened.update(**secrets, strong_share=share)
    else:
        drawn = parameters, public.tenant, role, name, Coins.fresh()
        secrets, party = draw_party(*drawn, owner_keys=bool(public.shares))
        keystore.parent.mkdir(parents=True, exist_ok=True)
        header = KeystoreHeader(role, public.tenant, name, public.key_epoch)
        Keystore.create(keystore, header, secrets, passphrase)
    public_file.write_bytes(encode(UnitPublicKey(public.tenant, party)))
    return party


def read_public_key(path: Path) -> UnitPublicKey:
    """Read what a party's key generation published.

    Raises:
        SettingsError: The file cannot be read.
    """
    try:
        return decode(UnitPublicKey, path.read_bytes())
    except OSError as error:
        raise SettingsError("the public key file cannot be read", file=path) from error


def spawn_exchange_keys(
    tenant: str, keys: Path, passphrase_file: Path, units: Sequence[str]
) -> list[UnitPublicKey]:
    """Let units draw their exchange keys, each in its own process; return the public halves.

    Raises:
        KeyGenerationError: A process failed.
    """
    keys.mkdir(parents=True, exist_ok=True)

    def run(role: str) -> UnitPublicKey:
        command = [role, "exchange-key", "--tenant", tenant, "--keystore", str(keys / f"{role}.key")]
        return _spawn(role, role, command, keys / f"{role}.exchange", passphrase_file)

    with ThreadPoolExecutor(max_workers=2) as pool:
        return list(pool.map(run, units))


def spawn_parties(
    parameters_file: Path, keys: Path, passphrase_file: Path, parties: Sequence[tuple[str, str]]
) -> list[UnitPublicKey]:
    """Run key generation of (role, name) pairs, each as its own process, a few at a time.

    Args:
        parameters_file: The tenant's public parameters.
        keys: Folder of the keystores and of the public keys.
        passphrase_file: For the keystores.
        parties: Whose keys.

    Raises:
        KeyGenerationError: A process failed.
    """
    keys.mkdir(parents=True, exist_ok=True)

    def run(party: tuple[str, str]) -> UnitPublicKey:
        role, name = party
        command = [role, "keygen", "--name", name, "--parameters", str(parameters_file)]
        command += ["--keystore", str(keys / f"{name}.key")]
        return _spawn(role, name, command, keys / f"{name}.pub", passphrase_file)

    with ThreadPoolExecutor(max_workers=2) as pool:
        return list(pool.map(run, parties))


def _spawn(
    role: str, name: str, command: Sequence[str], public_file: Path, passphrase_file: Path
) -> UnitPublicKey:
    own = [sys.executable, "-P", "-m", "pipeline", *command, "--public", str(public_file)]
    own += ["--passphrase-file", str(passphrase_file)]
    done = subprocess.run(own, capture_output=True, text=True, check=False)
    if done.returncode:
        raise KeyGenerationError(f"key generation of {role} '{name}' failed: {done.stderr.strip()}")
    return read_public_key(public_file)


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
