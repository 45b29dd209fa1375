"""Small tenants on the keys of tests/vectors: for tests of roles, never for production."""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from doubles import seeded_coins
from vector_keys import vector_case

from crypto.dtpkc import PublicKey, WeakPrivateKey
from crypto.key_generation import generate_weak_key
from crypto.key_proof import prove_key
from crypto.ot_extension import ReceiverBase, SenderBase, draw_delta
from crypto.parameters import Parameters
from crypto.profiles import Profile
from crypto.service_key import joint_key
from crypto.share_sealing import share_commitment
from crypto.strong_key import RootShare, StrongPrivateKey
from crypto.unit_channel import exchange_public_key
from roles.tenant import Tenant, service_key_context
from roles.unit_keys import share_context
from roles.unit_secrets import UnitSecrets
from schemas.configuration import Configuration, Limits, Party
from schemas.data_schema import (
    SCHEMA_VERSION,
    CategoricalAttribute,
    ClassLabel,
    DataSchema,
    Missing,
    NumericAttribute,
    encode_schema,
)
from schemas.envelope import VerifyingParty
from schemas.models import ModelSpec, NaiveBayesSpec
from schemas.topics import Role

NAMES = {"authority": "authority", "mu": "mu", "su": "su", "owner": "a", "client": "c"}


def small_schema() -> DataSchema:
    """Return a schema of two categorical attributes, a numeric one, and three classes."""
    return DataSchema(
        SCHEMA_VERSION,
        (
            CategoricalAttribute("colour", ("red", "green", "blue"), Missing.REFUSE),
            CategoricalAttribute("size", ("s", "m"), Missing.OWN_VALUE),
            NumericAttribute("weight", ("1", "2.5", "10"), "0", "20", Missing.REFUSE),
        ),
        ClassLabel("kind", ("x", "y", "z")),
    )


WIDE_LIMITS = Limits(1000, 1 << 40, 100, 1, 1, 0)
"""So many permitted records that, with `wide_schema`, scores need more than 32 bits."""


def wide_schema() -> DataSchema:
    """Return a schema of forty attributes of two values, and three classes."""
    attributes = tuple(CategoricalAttribute(f"a{i}", ("n", "y"), Missing.REFUSE) for i in range(40))
    return DataSchema(SCHEMA_VERSION, attributes, ClassLabel("kind", ("x", "y", "z")))


@dataclass(frozen=True, slots=True)
class SmallTenant:
    """A tenant with everybody's secrets: what no party of a real one ever holds."""

    tenant: Tenant
    master: UnitSecrets
    secondary: UnitSecrets
    client_key: WeakPrivateKey
    signing: dict[str, Ed25519PrivateKey]
    owner_key: WeakPrivateKey | None = None


def signing_key(name: str) -> Ed25519PrivateKey:
    """Return a fixed signing key."""
    return Ed25519PrivateKey.from_private_bytes(seeded_coins(f"sign {name}").bytes(32))


def exchange_secret(role: str) -> bytes:
    """Return a unit's fixed X25519 secret."""
    return seeded_coins(f"exchange {role}").bytes(32)


def paired_bases() -> tuple[tuple[ReceiverBase, SenderBase], tuple[ReceiverBase, SenderBase]]:
    """Return (receiver, sender) of MU and of SU, as if the base transfers had been run."""
    ends: list[tuple[ReceiverBase, SenderBase]] = []
    for name, garbling in (("mu chooses", True), ("su chooses", False)):
        coins = seeded_coins(name)
        zero = tuple(coins.bytes(16) for _ in range(128))
        one = tuple(coins.bytes(16) for _ in range(128))
        delta = draw_delta(coins, garbling=garbling)
        chosen = tuple((one if delta[i // 8] >> i % 8 & 1 else zero)[i] for i in range(128))
        base = SenderBase.for_garbling(delta, chosen) if garbling else SenderBase(delta, chosen)
        ends.append((ReceiverBase(zero, one), base))
    (mu_receives, su_sends), (su_receives, mu_sends) = ends
    return (mu_receives, mu_sends), (su_receives, su_sends)


def small_tenant(
    schema: DataSchema | None = None,
    *,
    modulus_bits: int = 256,
    limits: Limits | None = None,
    alpha_256: int = 256,
    models: tuple[ModelSpec, ...] | None = None,
    name: str = "small",
    owner_keys: bool = False,
) -> SmallTenant:
    """Return a tenant with owner ``a`` and client ``c``; its model is ``m`` by default."""
    case = vector_case(modulus_bits)
    profile = Profile("test", modulus_bits, modulus_bits // 2, insecure=True)
    parameters = Parameters(profile, int(case["N"]), int(case["g"]))
    schema = schema or small_schema()
    keyed = ("mu", "su", "client", *(["owner"] if owner_keys else []))
    keys = {role: generate_weak_key(parameters, seeded_coins(f"key {role}")) for role in keyed}
    shares = strong_shares(name, modulus_bits) if owner_keys else {}
    signing = {role: signing_key(role) for role in NAMES}
    parties = []
    for role, party in NAMES.items():
        verify = signing[role].public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        public, proof = b"", b""
        if role in keys:
            public = keys[role].public.h.to_bytes(parameters.component_bytes, "big")
            context = service_key_context(name, role, party)
            proof = prove_key(keys[role], context, seeded_coins(f"proof {role}")).encode(parameters)
        exchange = exchange_public_key(exchange_secret(role)) if role in {"mu", "su"} else b""
        parties.append(Party(party, role, verify, public, proof, exchange))
    configuration = Configuration(
        name,
        1,
        1,
        "test",
        parameters.n.to_bytes(modulus_bits // 8, "big"),
        parameters.g.to_bytes(parameters.component_bytes, "big"),
        encode_schema(schema),
        models or (NaiveBayesSpec("m", alpha_256),),
        limits or Limits(1000, 1 << 20, 100, 1, 1, 0),
        tuple(parties),
        share_commitments=tuple(
            share_commitment(share, share_context(name, 1, role)) for role, share in shares.items()
        ),
    )
    unit_keys: dict[str, PublicKey] = {role: keys[role].public for role in ("mu", "su")}
    tenant = Tenant(
        configuration=configuration,
        digest=bytes(32),
        parameters=parameters,
        unit_keys=unit_keys,
        service_key=joint_key(unit_keys["mu"], unit_keys["su"]),
        schema=schema,
        verifying={
            party: VerifyingParty(party, Role(role), signing[role].public_key(), 1)
            for role, party in NAMES.items()
        },
        client_keys={"c": keys["client"].public},
        owner_keys={"a": keys["owner"].public} if owner_keys else {},
    )
    (mu_receives, mu_sends), (su_receives, su_sends) = paired_bases()
    ends = {"mu": (mu_receives, mu_sends), "su": (su_receives, su_sends)}
    master, secondary = (
        UnitSecrets(
            role, keys[role].theta, seeded_coins(f"seed {role}").bytes(32), *ends[role], shares.get(role)
        )
        for role in ("mu", "su")
    )
    return SmallTenant(tenant, master, secondary, keys["client"], signing, keys.get("owner"))


def strong_shares(name: str = "small", modulus_bits: int = 256) -> dict[str, RootShare]:
    """Return fixed shares of the strong key, by unit."""
    case = vector_case(modulus_bits)
    profile = Profile("test", modulus_bits, modulus_bits // 2, insecure=True)
    parameters = Parameters(profile, int(case["N"]), int(case["g"]))
    strong = StrongPrivateKey(parameters, int(case["p"]), int(case["q"]))
    return dict(zip(("mu", "su"), strong.split_root(seeded_coins(f"split {name}")), strict=True))
