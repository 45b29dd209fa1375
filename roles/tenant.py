"""The tenant as the roles see it: the signed configuration turned into checked objects.

Everything here is public. A `Tenant` is built once at start-up from the pinned configuration;
building it checks the modulus, the generator, every key and every proof of knowledge, so that
the rest of the roles may trust them.
"""

import re
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from crypto.coins import digest, frame
from crypto.dtpkc import PublicKey
from crypto.errors import CryptoError, InvalidKeyError, PrivMLError, SchemaError
from crypto.key_proof import KeyProof, verify_key
from crypto.packing import SlotLayout
from crypto.parameters import Parameters
from crypto.profiles import Profile, profile
from crypto.service_key import joint_key
from crypto.validation import validate_parameters, validate_public_key
from roles.model_settings import logistic_schedule, tree_settings
from roles.roster import Roster
from schemas.codec import encode
from schemas.configuration import Configuration, Limits, Party
from schemas.data_schema import DataSchema, decode_schema
from schemas.envelope import VerifyingParty
from schemas.models import LogisticSpec, ModelSpec, NaiveBayesSpec, TreeSpec
from schemas.topics import NAME_PATTERN, Role

PROTOCOL_VERSION = "privml/1"
COUNT_STRIDE_BITS = 48
BIT_STRIDE_BITS = 2
LABEL_BITS = 16
MAX_LIMIT = 1 << 46
"""Largest number among the limits: twice as many records are a count in a slot."""


class ConfigurationError(PrivMLError):
    """The signed configuration does not hold together."""

    code = "invalid_config"


class UnknownModelError(PrivMLError):
    """The tenant has no such model."""

    code = "unknown_model"


def service_key_context(tenant: str, role: str, party: str) -> bytes:
    """Return what a proof of knowledge of θ is bound to besides the key itself."""
    return frame(PROTOCOL_VERSION, tenant, role, party)


@dataclass(frozen=True, slots=True)
class Tenant:
    """Public, checked facts of one tenant.

    Attributes:
        configuration: The signed configuration itself.
        digest: `coin_domain` of the configuration; part of every coin's label.
        parameters: N and g.
        unit_keys: h_M and h_S, by role.
        service_key: h = h_M·h_S, under which owners and clients encrypt.
        schema: The data schema.
        verifying: Verification key and role by sender name.
        client_keys: h_C by client name.
        owner_keys: h_i by owner name; empty unless owners have keys of their own.
        first_key_epoch: The tenant's first one, where this configuration is a later one.
        roster: Who may send what from which place on, beginning with this configuration.
    """

    configuration: Configuration
    digest: bytes
    parameters: Parameters
    unit_keys: dict[str, PublicKey]
    service_key: PublicKey
    schema: DataSchema
    verifying: dict[str, VerifyingParty]
    client_keys: dict[str, PublicKey]
    owner_keys: dict[str, PublicKey] = field(default_factory=dict)
    first_key_epoch: int | None = None
    roster: Roster = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # The one thing of a tenant that changes; everything else is as it was when the process started.
        roster = Roster(
            self.configuration, self.verifying, self.client_keys, self.first_key_epoch, self.owner_keys
        )
        object.__setattr__(self, "roster", roster)

    @property
    def name(self) -> str:
        """The tenant's name."""
        return self.configuration.tenant

    @property
    def key_epoch(self) -> int:
        """The key epoch of whatever is made for this tenant; see `in_key_epoch`."""
        return self.configuration.key_epoch

    def in_key_epoch(self, began: Configuration) -> "Tenant":
        """Return the tenant whose sessions and channel are those of another key epoch; the roster is one.

        Args:
            began: The version with which the key epoch began.
        """
        if began.key_epoch == self.key_epoch:
            return self
        renewed = replace(self, configuration=began, digest=coin_domain(began))
        object.__setattr__(renewed, "roster", self.roster)
        return renewed

    @property
    def modulus_bits(self) -> int:
        """|N|, from the profile."""
        return self.parameters.profile.modulus_bits

    @property
    def has_owner_keys(self) -> bool:
        """Whether owners encrypt under keys of their own, and the units hold shares of the strong key."""
        return bool(self.configuration.share_commitments)

    def chunk_key(self, owner: str) -> PublicKey:
        """Return the key under which an owner encrypts its chunks: its own, else the service key."""
        return self.roster.owner_keys.get(owner, self.service_key)

    def model(self, model_id: str) -> ModelSpec:
        """Return the model of that name.

        Raises:
            UnknownModelError: There is none.
        """
        for spec in self.configuration.models:
            if spec.model_id == model_id:
                return spec
        raise UnknownModelError(f"no model '{model_id}' in this tenant")

    def party(self, role: str) -> Party:
        """Return the one party with that role (units and the authority)."""
        return next(party for party in self.configuration.parties if party.role == role)

    def counts_layout(self, records: int) -> SlotLayout:
        """Return the layout of the `counts` of that many records.

        Order: for each one-hot column f and class c the count n_fc (f outer, c inner), then the
        class totals n_c. A slot holds 2·count ≤ 2·records.

        Raises:
            LayoutError: That many records could overflow a slot.
        """
        values = (self.schema.onehot_columns + 1) * self.schema.class_count
        return SlotLayout.fitting(
            self.modulus_bits, "counts", values, COUNT_STRIDE_BITS, COUNT_STRIDE_BITS, 2 * records
        )

    def bits_layout(self, values: int) -> SlotLayout:
        """Return the layout of that many `bits`, record after record."""
        return SlotLayout.fitting(self.modulus_bits, "bits", values, BIT_STRIDE_BITS, BIT_STRIDE_BITS, 2)

    def query_layout(self, rows: int) -> SlotLayout:
        """Return the layout of the one-hot `bits` of that many rows, of all attributes."""
        return self.bits_layout(rows * self.schema.onehot_columns)

    def label_layout(self, values: int) -> SlotLayout:
        """Return the layout of sealed label indices, or scores: x_M + x_S, each below 2^w."""
        bound = (1 << LABEL_BITS + 1) - 2
        layout = SlotLayout.fitting(self.modulus_bits, "labels", values, LABEL_BITS, LABEL_BITS + 1, bound)
        return SlotLayout(
            layout.meaning,
            layout.values,
            layout.value_bits,
            layout.stride_bits,
            layout.slots,
            bound,
            doubled=False,
        )


def configuration_digest(configuration: Configuration) -> bytes:
    """Return the hash that settings pin, 32 bytes."""
    return digest("privml/configuration/1", encode(configuration))


def coin_domain(configuration: Configuration) -> bytes:
    """Return what labels the coins of a key epoch, 32 bytes.

    Only what fixes the units' mathematics: enrolling an owner or a client, or moving another limit,
    leaves every coin and every session's name as it was.
    """
    units = tuple(
        (party.role, party.name, party.public_key)
        for party in configuration.parties
        if party.role in {"mu", "su"}
    )
    models = tuple(encode(spec) for spec in configuration.models)
    return digest(
        "privml/coin-domain/1",
        configuration.tenant,
        configuration.key_epoch,
        configuration.profile,
        configuration.modulus,
        configuration.generator,
        configuration.data_schema,
        models,
        configuration.limits.max_total_records,
        units,
    )


def tenant_from(
    configuration: Configuration, *, allow_insecure: bool, first_key_epoch: int | None = None
) -> Tenant:
    """Check a configuration and turn it into objects.

    Args:
        configuration: Decoded from bytes whose signature and pin were verified.
        allow_insecure: Whether this process was started with the explicit insecure flag.
        first_key_epoch: The tenant's first one; by default the configuration's.

    Raises:
        ConfigurationError: A profile below the standard without the flag, a missing unit, a
            repeated name, or values that fail their checks.
    """
    try:
        chosen = profile(configuration.profile)
        _check_profile(chosen, allow_insecure=allow_insecure)
        modulus = int.from_bytes(configuration.modulus, "big")
        parameters = Parameters(chosen, modulus, int.from_bytes(configuration.generator, "big"))
        validate_parameters(parameters)
        if len(configuration.share_commitments) not in {0, 2}:
            raise ConfigurationError("there are two shares of the strong key, or none")
        keyed = keyed_roles(owner_keys=bool(configuration.share_commitments))
        keys = {
            party.name: checked_key(parameters, configuration.tenant, party)
            for party in configuration.parties
            if party.role in keyed
        }
        for party in configuration.parties:
            check_keyless(party, has_key=party.name in keys)
        schema = decode_schema(configuration.data_schema)
        models = [_checked_model(model, schema) for model in configuration.models]
        _check_limits(configuration.limits)
        verifying = {
            party.name: VerifyingParty(
                party.name,
                Role(party.role),
                Ed25519PublicKey.from_public_bytes(party.verify_key),
                configuration.key_epoch,
                party.revoked,
                first_key_epoch,
            )
            for party in configuration.parties
        }
    except (CryptoError, SchemaError, ValueError) as error:
        raise ConfigurationError(f"the configuration does not check: {error}") from error
    if len({model.model_id for model in models}) != len(models) or not models:
        raise ConfigurationError("a configuration has models, each with a name of its own")
    names = [party.name for party in configuration.parties]
    roles = [party.role for party in configuration.parties]
    if len(set(names)) != len(names):
        raise ConfigurationError("two parties of the configuration have one name")
    if roles.count("mu") != 1 or roles.count("su") != 1 or roles.count("authority") != 1:
        raise ConfigurationError("a configuration names exactly one authority, one mu and one su")
    unit_keys = {
        party.role: keys[party.name] for party in configuration.parties if party.role in {"mu", "su"}
    }
    return Tenant(
        configuration=configuration,
        digest=coin_domain(configuration),
        parameters=parameters,
        unit_keys=unit_keys,
        service_key=joint_key(unit_keys["mu"], unit_keys["su"]),
        schema=schema,
        verifying=verifying,
        client_keys={
            party.name: keys[party.name] for party in configuration.parties if party.role == "client"
        },
        owner_keys={
            party.name: keys[party.name]
            for party in configuration.parties
            if party.role == "owner" and party.name in keys
        },
        first_key_epoch=first_key_epoch,
    )


def keyed_roles(*, owner_keys: bool) -> frozenset[str]:
    """Return the roles whose parties have a DT-PKC key."""
    return frozenset({"mu", "su", "client", "owner"} if owner_keys else {"mu", "su", "client"})


def check_keyless(party: Party, *, has_key: bool) -> None:
    """Refuse a public key that nobody checks.

    Raises:
        InvalidKeyError: The party has one, though its role has none in this tenant.
    """
    if not has_key and (party.public_key or party.key_proof):
        raise InvalidKeyError(f"'{party.name}' has a key, which its role does not have in this tenant")


def _check_profile(chosen: Profile, *, allow_insecure: bool) -> None:
    if chosen.insecure and not allow_insecure:
        raise ConfigurationError(
            f"profile '{chosen.name}' is not secure; start with --insecure to use it for trials"
        )


def _check_limits(limits: Limits) -> None:
    for name in limits.__struct_fields__:
        least = 0 if name == "min_new_records" else 1
        if not least <= getattr(limits, name) <= MAX_LIMIT:
            raise ConfigurationError(f"the limit {name} must lie between {least} and {MAX_LIMIT}")


def _checked_model(spec: ModelSpec, schema: DataSchema) -> ModelSpec:
    if re.search(NAME_PATTERN, spec.model_id) is None:
        raise ConfigurationError("a model's name has letters, digits, dots, hyphens and underscores")
    match spec:
        case NaiveBayesSpec():
            # The circuit's constants α·V·2^8 have at most 24 bits.
            if not 1 <= spec.alpha_256 <= 65535 or spec.alpha_256 * max(schema.attribute_sizes) >= 1 << 24:
                raise ConfigurationError("the smoothing is out of range for attributes of this size")
        case LogisticSpec():
            logistic_schedule(spec)
        case TreeSpec():
            tree_settings(spec)
    return spec


def checked_key(parameters: Parameters, tenant: str, party: Party) -> PublicKey:
    """Return a party's public key, its proof of knowledge verified.

    Raises:
        InvalidKeyError: The key or its proof fails its checks.

    Cost:
        Two powers.
    """
    h = int.from_bytes(party.public_key, "big")
    validate_public_key(parameters, h)
    public = PublicKey(parameters, h)
    context = service_key_context(tenant, party.role, party.name)
    try:
        verify_key(public, context, KeyProof.decode(parameters, party.key_proof))
    except CryptoError as error:
        raise InvalidKeyError(f"the key of '{party.name}': {error}") from error
    return public


def statement_context(
    tenant: Tenant,
    role: str,
    sender: str,
    topic: str,
    number: int | bytes,
    layouts: tuple[SlotLayout, ...],
    key_epoch: int | None = None,
) -> bytes:
    """Return the context of a proof of plaintext knowledge.

    Args:
        tenant: The tenant.
        role: ``owner`` or ``client``.
        sender: Its name.
        topic: Topic on which the message travels.
        number: The owner's sequence, or the query id.
        layouts: Layouts of the vectors proven, in order.
        key_epoch: The one that the message names; by default the tenant's.
    """
    statements = tuple(layout.statement for layout in layouts)
    return frame(
        PROTOCOL_VERSION,
        tenant.name,
        tenant.key_epoch if key_epoch is None else key_epoch,
        role,
        sender,
        topic,
        number,
        tenant.schema.digest,
        statements,
    )
