"""A unit's key epochs: what is drawn for each, what the keystore holds, what is published."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from crypto.coins import KEY_BYTES, Coins, Field
from crypto.errors import InvalidKeyError, PrivMLError
from crypto.key_generation import generate_weak_key
from crypto.key_proof import prove_key
from crypto.ot_extension import DELTA_BYTES, SEED_BYTES, ReceiverBase, SenderBase, draw_delta
from crypto.parameters import Parameters
from crypto.share_sealing import check_share, decode_share
from crypto.strong_key import RootShare
from crypto.unit_channel import KEY_BYTES as EXCHANGE_BYTES
from crypto.unit_channel import UnitChannel, exchange_public_key
from roles.building_blocks.base_transfers import TransferBases
from roles.tenant import PROTOCOL_VERSION, Tenant, keyed_roles, service_key_context
from schemas.configuration import Party

SIGNING_KEY_BYTES = 32


@dataclass(slots=True)
class UnitKeys:
    """What a running unit has of its keystore.

    Attributes:
        theta: θ_M or θ_S.
        seed: Epoch seed.
        delta: Choice string of the base transfers in which it receives.
        exchange: X25519 secret of the channel to the peer.
        bases: Both halves of the base transfers, once they were run.
        save: Writes named secrets to the keystore.
        strong_share: Its share of the strong key, where owners have keys of their own.
        later: Looks up the same of a later key epoch; None where there is only the first one.
    """

    theta: int = field(repr=False)
    seed: bytes = field(repr=False)
    delta: bytes = field(repr=False)
    exchange: bytes = field(repr=False)
    bases: TransferBases | None = field(repr=False)
    save: Callable[[Mapping[str, bytes]], None] = field(repr=False)
    strong_share: RootShare | None = field(default=None, repr=False)
    later: "Callable[[int], UnitKeys] | None" = field(default=None, repr=False)

    def store_bases(self, bases: TransferBases) -> None:
        """Keep new bases, on disk before in memory."""
        self.save(
            {
                "receiver_seeds": b"".join(bases.receiver.seeds_zero + bases.receiver.seeds_one),
                "sender_seeds": b"".join(bases.sender.seeds),
            }
        )
        self.bases = bases


def draw_key_epoch(role: str, coins: Coins) -> dict[str, bytes]:
    """Draw what a unit has of a key epoch: seed, Δ and exchange key.

    Args:
        role: ``mu`` or ``su``.
        coins: Fresh from the operating system.
    """
    return {
        "seed": coins.bytes(KEY_BYTES),
        "delta": draw_delta(coins, garbling=role == "su"),
        "exchange": coins.bytes(EXCHANGE_BYTES),
    }


def secret_name(name: str, key_epoch: int | None) -> str:
    """Return under which name the keystore has a secret of a later key epoch; None stands for the first."""
    return name if key_epoch is None else f"{name}.{key_epoch}"


def draw_party(
    parameters: Parameters,
    tenant: str,
    role: str,
    name: str,
    coins: Coins,
    *,
    owner_keys: bool = False,
    exchange_secret: bytes | None = None,
) -> tuple[dict[str, bytes], Party]:
    """Draw a party's secrets and its enrolment (key generation).

    Args:
        parameters: N and g of the tenant, checked.
        tenant: Its name.
        role: ``mu``, ``su``, ``owner``, ``client`` or ``authority``.
        name: The party's name.
        coins: Fresh from the operating system.
        owner_keys: Whether owners have keys of their own.
        exchange_secret: A unit's, if it was drawn before.

    Returns:
        The secrets by name, for the keystore, and the public entry for the configuration.

    Cost:
        Two powers for a key and its proof, where the role has one.
    """
    signing = coins.bytes(SIGNING_KEY_BYTES)
    secrets = {"signing_key": signing}
    public, proof = b"", b""
    if role in keyed_roles(owner_keys=owner_keys):
        key = generate_weak_key(parameters, coins)
        secrets["theta"] = key.theta.to_bytes((parameters.profile.exponent_bits + 7) // 8, "big")
        public = key.public.h.to_bytes(parameters.component_bytes, "big")
        proof = prove_key(key, service_key_context(tenant, role, name), coins).encode(parameters)
    if role in {"mu", "su"}:
        secrets |= draw_key_epoch(role, coins)
        if exchange_secret is not None:
            secrets["exchange"] = exchange_secret
    exchange = exchange_public_key(secrets["exchange"]) if "exchange" in secrets else b""
    verify = Ed25519PrivateKey.from_private_bytes(signing).public_key()
    raw = verify.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return secrets, Party(name, role, raw, public, proof, exchange)


def share_context(tenant: str, key_epoch: int, role: str) -> tuple[Field, ...]:
    """Return what a share of the strong key is bound to besides the modulus."""
    return (PROTOCOL_VERSION, tenant, key_epoch, role)


def strong_share_of(tenant: Tenant, role: str, secrets: Mapping[str, bytes]) -> RootShare | None:
    """Return a unit's share of the strong key from its keystore; None where owners have no keys.

    Raises:
        InvalidKeyError: It is not there, or not the one that the configuration commits to.
    """
    if not tenant.has_owner_keys:
        return None
    if "strong_share" not in secrets:
        raise InvalidKeyError("this unit's keystore has no share of the strong key")
    share = decode_share(tenant.parameters, secrets["strong_share"])
    commitment = tenant.configuration.share_commitments[("mu", "su").index(role)]
    check_share(share, commitment, share_context(tenant.name, tenant.roster.first_key_epoch, role))
    return share


def unit_keys(
    role: str,
    secrets: Mapping[str, bytes],
    save: Callable[[Mapping[str, bytes]], None],
    reread: Callable[[], Mapping[str, bytes]] | None = None,
    strong_share: RootShare | None = None,
) -> UnitKeys:
    """Return a unit's keys of the first key epoch from the secrets of its keystore.

    Args:
        role: ``mu`` or ``su``.
        secrets: The keystore's.
        save: Writes named secrets to the keystore.
        reread: Returns the secrets as they are by now, where later key epochs are looked up; by default
            they are as they were.
        strong_share: From `strong_share_of`.

    Raises:
        KeyError: A secret is missing: not a unit's keystore.
        ValueError: A secret has a wrong length.
    """

    def later(key_epoch: int) -> UnitKeys:
        return _keys_of(role, secrets if reread is None else reread(), save, key_epoch)

    return replace(_keys_of(role, secrets, save, None), later=later, strong_share=strong_share)


def _keys_of(
    role: str,
    secrets: Mapping[str, bytes],
    save: Callable[[Mapping[str, bytes]], None],
    key_epoch: int | None,
) -> UnitKeys:
    def secret(name: str) -> bytes:
        return secrets[secret_name(name, key_epoch)]

    def save_named(changed: Mapping[str, bytes]) -> None:
        save({secret_name(name, key_epoch): value for name, value in changed.items()})

    bases = None
    if all(secret_name(name, key_epoch) in secrets for name in ("receiver_seeds", "sender_seeds")):
        received = _seeds(secret("receiver_seeds"))
        half = len(received) // 2
        build = SenderBase.for_garbling if role == "su" else SenderBase
        sender = build(secret("delta"), _seeds(secret("sender_seeds")))
        bases = TransferBases(sender, ReceiverBase(received[:half], received[half:]))
    lengths = {"delta": DELTA_BYTES, "seed": KEY_BYTES, "exchange": EXCHANGE_BYTES}
    if any(len(secret(name)) != length for name, length in lengths.items()):
        raise ValueError("a secret has a wrong length")
    theta = int.from_bytes(secrets["theta"], "big")
    return UnitKeys(theta, secret("seed"), secret("delta"), secret("exchange"), bases, save_named)


class MissingKeysError(PrivMLError):
    """A unit's keystore has not the secrets of a key epoch that is in force."""

    code = "invalid_keystore"


def keys_in(tenant: Tenant, role: str, keys: UnitKeys) -> UnitKeys:
    """Return a unit's keys of the key epoch of a tenant.

    Args:
        tenant: See `Tenant.in_key_epoch`.
        role: ``mu`` or ``su``.
        keys: Of the first key epoch.

    Raises:
        MissingKeysError: The keystore does not have them, or others than the authority has signed.
    """
    if tenant.key_epoch == tenant.roster.first_key_epoch:
        return keys
    try:
        found = None if keys.later is None else keys.later(tenant.key_epoch)
    except (KeyError, ValueError):
        found = None
    if found is None or exchange_public_key(found.exchange) != tenant.party(role).exchange_key:
        raise MissingKeysError(
            f"the keystore has no secrets of key epoch {tenant.key_epoch}, or others than the authority "
            f"signed: put the keystore here with which `privml {role} rekey` was run"
        )
    # Of the strong key there is one share, in all key epochs.
    return replace(found, strong_share=keys.strong_share)


def unit_channel(tenant: Tenant, role: str, keys: UnitKeys) -> UnitChannel:
    """Return a unit's end of the channel to its peer.

    Raises:
        InvalidKeyError: The peer's key is not usable.
    """
    master, secondary = tenant.party("mu"), tenant.party("su")
    peer = secondary if role == "mu" else master
    context = (tenant.name, tenant.key_epoch, master.name, secondary.name)
    return UnitChannel(keys.exchange, peer.exchange_key, context)


def _seeds(data: bytes) -> tuple[bytes, ...]:
    return tuple(data[i : i + SEED_BYTES] for i in range(0, len(data), SEED_BYTES))
