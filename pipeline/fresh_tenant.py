"""A tenant of its own for records that another one has learnt: the same models and sizes, other keys."""

import secrets
from collections.abc import Sequence
from pathlib import Path

from msgspec import structs

from crypto.profiles import profile
from pipeline.dealer import PARAMETERS_FILE
from pipeline.party_keys import spawn_parties
from pipeline.private_file import write_private
from pipeline.set_up import TenantPlan, make_tenant
from pipeline.settings import Settings
from roles.tenant import Tenant
from schemas.codec import encode
from schemas.configuration import PublicParameters
from schemas.topics import Role

QUERY_QUOTA = 1 << 20

_SUFFIX = "-replay"
_NAME_LENGTH = 32


def fresh_name(tenant: str) -> str:
    """Return the name of the fresh tenant: its topics lie beside those of the other one, if need be."""
    return tenant[: _NAME_LENGTH - len(_SUFFIX)] + _SUFFIX


def make_fresh_tenant(recorded: Tenant, owners: Sequence[str], folder: Path, transport: str) -> Settings:
    """Make a tenant that learns what another one learns.

    Args:
        recorded: Whose data schema, models, sizes and first client's name are taken over. Its limits on
            when a model answers are not: whoever has all the records need not be kept from them.
        owners: Names of the owners.
        folder: Where settings, keys and state go.
        transport: URL of the topics.

    Raises:
        KeyGenerationError: A process failed.
        SettingsError: There is a tenant in the folder already.

    Security:
        Every key is new, drawn by a process of its own; modulus and generator are the other tenant's,
        so that no primes are searched for. Whoever knows the primes reads both tenants, and had
        the same records before. The folder holds all keystores and their passphrase.
    """
    configuration = recorded.configuration
    name = fresh_name(recorded.name)
    folder.mkdir(parents=True, exist_ok=True)
    parameters_file = folder / PARAMETERS_FILE
    parameters_file.write_bytes(
        encode(
            PublicParameters(name, 1, configuration.profile, configuration.modulus, configuration.generator)
        )
    )
    passphrase_file = folder / "passphrase"
    write_private(passphrase_file, secrets.token_hex(16).encode(), exclusive=True)
    limits = structs.replace(
        configuration.limits, min_records=1, min_owners=1, min_new_records=1, query_quota=QUERY_QUOTA
    )
    # All clients may have been enrolled later; the fresh tenant needs one to ask.
    client = next(iter(recorded.client_keys), "replay-client")
    plan = TenantPlan(
        folder,
        name,
        transport,
        configuration.profile,
        profile(configuration.profile).insecure,
        recorded.schema,
        tuple(owners),
        (client,),
        limits,
        configuration.models,
        (limits.max_chunk_records,),
    )
    parties = [(Role.MU.value, Role.MU.value), (Role.SU.value, Role.SU.value)]
    parties += [(Role.OWNER.value, owner) for owner in owners] + [(Role.CLIENT.value, client)]
    settings, _ = make_tenant(
        plan, spawn_parties(parameters_file, folder / "keys", passphrase_file, parties), passphrase_file
    )
    return settings
