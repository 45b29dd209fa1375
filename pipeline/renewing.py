"""A new key epoch: what a unit draws for it, and the version of the configuration with which it begins."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from msgspec import structs

from crypto.coins import Coins
from crypto.unit_channel import exchange_public_key
from pipeline.configurations import Versions
from pipeline.enrolling import publish_version
from pipeline.parties import Identity
from pipeline.party_keys import KeyGenerationError, read_public_key
from pipeline.settings import Settings, SettingsError
from pipeline.transport import Transport
from roles.enrolment import renewed_version
from roles.unit_keys import draw_key_epoch, secret_name
from schemas.codec import encode
from schemas.configuration import Configuration, Party, UnitPublicKey
from schemas.topics import Role


def draw_next_key_epoch(identity: Identity, versions: Versions, public_file: Path) -> int:
    """Draw a unit's secrets of the next key epoch into its keystore, and write what is public of them.

    Once more it draws nothing, and writes the same: what the authority was handed stays good.

    Args:
        identity: The unit's.
        versions: Of the configuration; the next key epoch is the one after that of the newest.
        public_file: For the authority.

    Returns:
        The number of the key epoch.

    Raises:
        KeystoreError: The keystore cannot be written.
    """
    newest, store = versions.newest, identity.keystore
    key_epoch = newest.key_epoch + 1
    if secret_name("exchange", key_epoch) not in store.secrets:
        drawn = draw_key_epoch(identity.role, Coins.fresh())
        store.update(**{secret_name(name, key_epoch): secret for name, secret in drawn.items()})
    exchange = exchange_public_key(store.secrets[secret_name("exchange", key_epoch)])
    party = next(party for party in newest.parties if party.name == identity.name)
    renewed = structs.replace(party, exchange_key=exchange)
    public_file.write_bytes(encode(UnitPublicKey(newest.tenant, renewed)))
    return key_epoch


def spawn_units(
    settings: Settings, newest: Configuration, passphrase_file: Path, roles: Sequence[Role]
) -> list[UnitPublicKey]:
    """Let units whose keystores lie on this host draw their secrets, each in a process of its own.

    Args:
        settings: Of this host.
        newest: The newest version.
        passphrase_file: For the keystores.
        roles: Which units.

    Raises:
        KeyGenerationError: A process failed.
    """
    keys = []
    for role in roles:
        public_file = settings.keys / f"{role.value}-{newest.key_epoch + 1}.pub"
        command = [sys.executable, "-P", "-m", "pipeline", role.value, "rekey"]
        command += ["--config", str(settings.path), "--transport", settings.transport]
        command += ["--public", str(public_file), "--passphrase-file", str(passphrase_file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise KeyGenerationError(f"drawing the secrets of {role.value} failed: {done.stderr.strip()}")
        keys.append(read_public_key(public_file))
    return keys


async def publish_renewal(
    settings: Settings,
    transport: Transport,
    authority: Identity,
    keys: Sequence[UnitPublicKey],
    *,
    insecure: bool = False,
) -> Configuration:
    """Sign and publish the version with which the next key epoch begins; return it.

    Args:
        settings: What is pinned.
        transport: Where the topics are.
        authority: Whose keystore signs.
        keys: What both units drew for the key epoch.
        insecure: Allow a profile below the standard.

    Raises:
        SettingsError: A key is not that of a unit of this tenant, or was in force before.
        ConfigurationMissingError: Another version came first.
    """

    def renewal(versions: Versions) -> Configuration:
        return renewed_version(versions.newest, [_checked(versions, key) for key in keys])

    return await publish_version(settings, transport, authority, renewal, insecure=insecure)


def _checked(versions: Versions, key: UnitPublicKey) -> Party:
    known = {party.name: party for party in versions.newest.parties}.get(key.party.name)
    if key.tenant != versions.newest.tenant or known is None:
        raise SettingsError(f"the key of '{key.party.name}' was made for another tenant")
    if structs.replace(key.party, exchange_key=known.exchange_key) != known:
        raise SettingsError(f"the key of '{known.name}' is not one that `privml {known.role} rekey` wrote")
    used = {party.exchange_key for one in versions.configurations for party in one.parties}
    if key.party.exchange_key in used:
        raise SettingsError(
            f"the key of '{known.name}' was that of an earlier key epoch",
            hint=f"run `privml {known.role} rekey` again, and hand over the file that it writes",
        )
    return key.party
