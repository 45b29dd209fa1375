"""Opening a party: its keystore, held against the configuration."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crypto.dtpkc import WeakPrivateKey
from crypto.errors import InvalidKeyError
from pipeline.errors import PipelineError
from pipeline.keystore import Keystore, KeystoreError
from pipeline.mailbox import Publisher
from pipeline.settings import Settings
from pipeline.transport import Transport
from roles.enrolment import ENROLLED_ROLES
from roles.tenant import Tenant
from roles.unit_keys import UnitKeys, strong_share_of, unit_keys
from schemas.reasons import ReasonCode
from schemas.topics import Role


class RevokedError(PipelineError):
    """The party may send nothing any more."""

    code = ReasonCode.REVOKED


@dataclass(frozen=True, slots=True)
class Identity:
    """A party with its opened keystore.

    Attributes:
        name: As in the configuration.
        role: As in the configuration.
        keystore: Opened.
        signing_key: Ed25519.
    """

    name: str
    role: Role
    keystore: Keystore
    signing_key: Ed25519PrivateKey = field(repr=False)

    def weak_key(self, tenant: Tenant) -> WeakPrivateKey:
        """Return the party's DT-PKC key.

        Raises:
            KeystoreError: The keystore does not match the configuration.
        """
        theta = int.from_bytes(self.keystore.secrets["theta"], "big")
        key = WeakPrivateKey.from_theta(tenant.parameters, theta)
        keys = {**tenant.owner_keys, **tenant.client_keys}
        public = tenant.unit_keys.get(self.role) or keys.get(self.name)
        if public != key.public:
            raise KeystoreError("the keystore belongs to another configuration than the pinned one")
        return key

    def unit_keys(
        self,
        tenant: Tenant,
        save: Callable[[Mapping[str, bytes]], None],
        reread: Callable[[], Mapping[str, bytes]] | None = None,
    ) -> UnitKeys:
        """Return a unit's keys, held against the configuration.

        Args:
            tenant: Public facts.
            save: Writes named secrets to the keystore.
            reread: Returns the secrets as they are by now.

        Raises:
            KeystoreError: The keystore does not match the configuration.
        """
        self.weak_key(tenant)
        secrets, role = self.keystore.secrets, self.role.value
        try:
            share = strong_share_of(tenant, role, secrets)
        except InvalidKeyError as error:
            raise KeystoreError(str(error), hint="take the keystore that was made for this tenant") from error
        return unit_keys(role, secrets, save, reread, share)

    def publisher(self, tenant: Tenant, transport: Transport) -> Publisher:
        """Return what signs and appends as this party."""
        return Publisher(transport, tenant.name, self.name, tenant.key_epoch, self.signing_key)


def open_identity(
    settings: Settings,
    tenant: Tenant,
    name: str,
    role: Role,
    *,
    keystore: Path | None = None,
    passphrase_file: Path | None = None,
    passphrase_fd: int | None = None,
) -> Identity:
    """Open a party's keystore and hold it against the configuration.

    Raises:
        KeystoreError: It is missing, damaged, or another party's; or the party has another role.
        WrongPassphraseError: The passphrase does not open it.
        RevokedError: The authority has revoked the party.
    """
    party = tenant.verifying.get(name)
    if party is None or party.role is not role:
        known = ", ".join(sorted(name for name, party in tenant.verifying.items() if party.role is role))
        raise KeystoreError(
            f"the configuration has no {role.value} '{name}'", hint=f"of role {role.value} it has: {known}"
        )
    if party.revoked:
        raise RevokedError(f"the authority has revoked {role.value} '{name}'")
    path = keystore or settings.keystore(name)
    opened = Keystore.open(path, settings.passphrase(passphrase_file, passphrase_fd))
    header = opened.header
    if (header.tenant, header.party, header.role) != (tenant.name, name, party.role.value):
        raise KeystoreError(
            f"this is the keystore of {header.role} '{header.party}' of tenant '{header.tenant}'", file=path
        )
    if header.key_epoch != tenant.roster.first_key_epoch and party.role not in ENROLLED_ROLES:
        raise KeystoreError("the keystore belongs to another key epoch", file=path)
    signing_key = Ed25519PrivateKey.from_private_bytes(opened.secrets["signing_key"])
    if signing_key.public_key() != party.key:
        raise KeystoreError("the keystore belongs to another configuration than the pinned one", file=path)
    return Identity(name, party.role, opened, signing_key)
