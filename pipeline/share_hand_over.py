"""How the units get their shares of the strong key, where owners have keys of their own.

The dealer must seal a share before it forgets the primes, and a unit's other keys need the modulus. So a
unit draws its exchange key first, the dealer seals each share for one of them into the parameters
file, and the unit's key generation opens its own. No share is ever in the clear outside a process.
"""

from collections.abc import Sequence
from pathlib import Path

from crypto.coins import Coins
from crypto.errors import CryptoError
from crypto.parameters import Parameters
from crypto.share_sealing import check_share, encode_share, open_share, seal_share, share_commitment
from crypto.strong_key import StrongPrivateKey
from crypto.unit_channel import KEY_BYTES, exchange_public_key
from pipeline.keystore import Keystore, KeystoreError, KeystoreHeader
from pipeline.passphrase import Passphrase
from pipeline.settings import SettingsError
from roles.unit_keys import share_context
from schemas.codec import encode
from schemas.configuration import DealtShare, Party, PublicParameters, UnitPublicKey

UNITS = ("mu", "su")
EXCHANGE = "exchange"
FIRST_EPOCH = 1


def make_exchange_key(
    tenant: str, role: str, name: str, keystore: Path, public_file: Path, passphrase: Passphrase
) -> None:
    """Draw a unit's exchange key into a new keystore; its public half goes to the dealer.

    Raises:
        KeystoreError: The keystore exists or cannot be written.
    """
    secret = Coins.fresh().bytes(KEY_BYTES)
    keystore.parent.mkdir(parents=True, exist_ok=True)
    header = KeystoreHeader(role, tenant, name, FIRST_EPOCH)
    Keystore.create(keystore, header, {EXCHANGE: secret}, passphrase)
    party = Party(name, role, b"", b"", b"", exchange_public_key(secret))
    public_file.write_bytes(encode(UnitPublicKey(tenant, party)))


def check_units(tenant: str, units: Sequence[UnitPublicKey]) -> None:
    """Refuse exchange keys that no shares can be sealed for, before the long search for primes.

    Raises:
        SettingsError: They are not one key of each unit of this tenant.
    """
    if sorted(unit.party.role for unit in units) != sorted(UNITS):
        raise SettingsError("shares of the strong key need the exchange keys of one mu and one su")
    if strays := {unit.tenant for unit in units} - {tenant}:
        raise SettingsError(f"an exchange key was made for tenant '{strays.pop()}'")


def deal_shares(
    strong: StrongPrivateKey, tenant: str, units: Sequence[UnitPublicKey]
) -> tuple[DealtShare, ...]:
    """Split the strong key and seal each share for its unit (the dealer).

    Args:
        strong: About to be forgotten.
        tenant: Name.
        units: Exchange keys of MU and SU, by a way that the dealer trusts; checked before.

    Raises:
        InvalidKeyError: One is not usable.

    Security:
        Both shares are uniform over the whole range, each independent of λ. With both anything under
        this modulus can be opened, whoever it is encrypted for.
    """
    keys = {unit.party.role: unit.party.exchange_key for unit in units}
    dealt = []
    for role, share in zip(UNITS, strong.split_root(Coins.fresh()), strict=True):
        context = share_context(tenant, FIRST_EPOCH, role)
        sealed = seal_share(share, keys[role], context, Coins.fresh())
        dealt.append(DealtShare(role, share_commitment(share, context), sealed))
    return tuple(dealt)


def open_unit_keystore(
    public: PublicParameters, role: str, name: str, keystore: Path, passphrase: Passphrase
) -> Keystore:
    """Open the keystore that holds a unit's exchange key and nothing else yet.

    Raises:
        KeystoreError: It is missing, another party's, or has all its keys already.
        WrongPassphraseError: The passphrase does not open it.
    """
    if not keystore.exists():
        raise KeystoreError(
            "owners have keys of their own in this tenant, and this unit has no exchange key yet",
            hint=f"run `privml {role} exchange-key` first, and hand its public file to the dealer",
            file=keystore,
        )
    opened = Keystore.open(keystore, passphrase)
    header = opened.header
    if (header.tenant, header.party, header.role) != (public.tenant, name, role):
        raise KeystoreError(f"this is the keystore of {header.role} '{header.party}'", file=keystore)
    if set(opened.secrets) != {EXCHANGE}:
        raise KeystoreError("this unit has its keys already", file=keystore)
    return opened


def dealt_share(public: PublicParameters, parameters: Parameters, role: str, exchange: bytes) -> bytes:
    """Return the share that the dealer sealed for a unit, as keystores hold it.

    Raises:
        KeystoreError: It was sealed for another key, or is not the one that the dealer commits to.
    """
    dealt = next((share for share in public.shares if share.role == role), None)
    context = share_context(public.tenant, public.key_epoch, role)
    try:
        if dealt is None:
            raise KeystoreError(f"the parameters hold no share for {role}")
        share = open_share(parameters, dealt.sealed, exchange, context)
        check_share(share, dealt.commitment, context)
    except CryptoError as error:
        raise KeystoreError(
            f"the share of the strong key in the parameters is not for this {role}",
            hint="the dealer takes the public file of `exchange-key` that belongs to this keystore",
        ) from error
    return encode_share(share)
