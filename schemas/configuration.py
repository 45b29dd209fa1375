"""The tenant's configuration: what the registrar signs and everybody else pins.

It holds only public values: the modulus and generator, everybody's verification keys, the
units' halves of the service key with their proofs, clients' public keys, the data schema, the
models and the limits. Wire sizes follow from its profile, never from a message.
"""

from schemas.codec import WireStruct
from schemas.models import ModelSpec

MAX_CONFIGURATION_BYTES = 1 << 20


class Party(WireStruct):
    """One enrolled party.

    Attributes:
        name: Unique in the tenant; the `sender` of its envelopes.
        role: ``authority``, ``mu``, ``su``, ``owner`` or ``client``.
        verify_key: Ed25519 public key, 32 bytes.
        public_key: h of its DT-PKC key, |N²| bits big-endian; empty for the authority, and for owners
            unless the tenant has owner keys.
        key_proof: Proof of knowledge of θ for `public_key`; empty where that is empty.
        exchange_key: X25519 public key of a unit, 32 bytes; empty for all others.
        revoked: It may send nothing any more. A party is never taken off the list: its name and key
            stay its own, and what it sent before can still be checked.
    """

    name: str
    role: str
    verify_key: bytes
    public_key: bytes
    key_proof: bytes
    exchange_key: bytes = b""
    revoked: bool = False


class Limits(WireStruct):
    """What the units hold every message against.

    Attributes:
        max_chunk_records: Most records in one chunk.
        max_total_records: Most records in a model; fixes the width of counts and scores.
        max_query_rows: Most rows in one query message.
        min_records: Records that a model must hold before it answers.
        min_owners: Owners they must come from.
        min_new_records: New records before another state of the model answers.
        query_quota: Rows that a client may ask in a key epoch.
    """

    max_chunk_records: int
    max_total_records: int
    max_query_rows: int
    min_records: int
    min_owners: int
    min_new_records: int
    query_quota: int = 1 << 20


class Configuration(WireStruct):
    """Everything public that the parties of one tenant agree on.

    Attributes:
        version: From 1; every version continues the one before it.
        previous: Hash of the version before; empty in the first one.
        share_commitments: Commitments to MU's and SU's shares of the strong key; empty unless owners
            have keys of their own.
    """

    tenant: str
    version: int
    key_epoch: int
    profile: str
    modulus: bytes
    generator: bytes
    data_schema: bytes
    models: tuple[ModelSpec, ...]
    limits: Limits
    parties: tuple[Party, ...]
    previous: bytes = b""
    share_commitments: tuple[bytes, ...] = ()


class UnitPublicKey(WireStruct):
    """What `privml … keygen` hands to the authority: one party's public keys and proof."""

    tenant: str
    party: Party


class DealtShare(WireStruct):
    """One unit's share of the strong key, as the dealer hands it over.

    Attributes:
        role: ``mu`` or ``su``.
        commitment: Hash that the configuration repeats.
        sealed: The share, for the unit's exchange key alone; empty in a copy that serves owners.
    """

    role: str
    commitment: bytes
    sealed: bytes


class PublicParameters(WireStruct):
    """What the dealer hands to key generation: the modulus and generator of the tenant.

    Attributes:
        shares: Of MU and of SU, in this order; none unless owners have keys of their own.
    """

    tenant: str
    key_epoch: int
    profile: str
    modulus: bytes
    generator: bytes
    shares: tuple[DealtShare, ...] = ()
