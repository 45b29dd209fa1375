"""Base transfers: 128 seeds per direction, once per key epoch (docs/protocols.md §3.2).

Two round trips. Each unit receives the seeds that its own Δ chooses, under a key made for this
exchange alone, and draws the pairs from which the peer chooses.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from crypto.base_ot import answer_base_transfers, finish_base_transfers, start_base_transfers
from crypto.bit_matrix import COLUMNS
from crypto.coins import digest
from crypto.dtpkc import PublicKey, WeakPrivateKey
from crypto.key_generation import generate_weak_key
from crypto.ot_extension import ReceiverBase, SenderBase, choices_of_delta
from crypto.parameters import Parameters
from crypto.validation import validate_public_key
from roles.plan import Plan, Section, Step
from roles.session import MasterProgram, SecondaryProgram, Session
from roles.tenant import Tenant
from schemas.rounds import Subject

VERSION = 1
ACKNOWLEDGEMENT_BYTES = 32


@dataclass(frozen=True, slots=True)
class TransferBases:
    """A unit's two halves of the base transfers of a key epoch.

    Attributes:
        sender: For the direction in which the peer chooses.
        receiver: For the direction in which this unit chooses.
    """

    sender: SenderBase = field(repr=False)
    receiver: ReceiverBase = field(repr=False)


BASE = "base_ot"
"""Purpose of the base session."""


def base_subject() -> Subject:
    """Return the subject of the one base session of a key epoch."""
    return Subject(BASE)


def base_plan(tenant: Tenant) -> Plan:
    """Return the plan of the base session: two round trips."""
    parameters = tenant.parameters
    ciphertexts = COLUMNS * parameters.ciphertext_bytes
    key = parameters.component_bytes
    steps = (
        Step(
            "choices of mu",
            ("base transfers",),
            (Section("key", key), Section("choices", ciphertexts)),
            (Section("seeds", ciphertexts), Section("key", key), Section("choices", ciphertexts)),
        ),
        Step(
            "seeds of su",
            ("base transfers",),
            (Section("seeds", ciphertexts),),
            (Section("acknowledgement", ACKNOWLEDGEMENT_BYTES),),
        ),
    )
    return Plan("base_transfers", VERSION, (parameters.profile.name,), steps)


def base_master(
    session: Session, delta: bytes, pool: ThreadPoolExecutor | None = None
) -> MasterProgram[TransferBases]:
    """Run MU's half and return its bases.

    Cost:
        At each unit 898 short powers, about 2 s on one core at 3072 bits, once per key epoch.
    """
    parameters = session.tenant.parameters
    key, choices = _choose(session, parameters, delta, pool)
    seeds, peer_key, peer_choices = yield (_encode_key(key), choices)
    chosen = finish_base_transfers(key, seeds, pool)
    coins = session.coins("base seeds", peer_choices)
    answer, receiver = answer_base_transfers(_decode_key(parameters, peer_key), peer_choices, coins, pool)
    yield (answer,)
    return TransferBases(SenderBase(delta, chosen), receiver)


def base_secondary(
    session: Session, delta: bytes, pool: ThreadPoolExecutor | None = None
) -> SecondaryProgram[TransferBases]:
    """Run SU's half and return its bases; they must be stored before the last reply leaves."""
    parameters = session.tenant.parameters
    peer_key, peer_choices = yield ()
    coins = session.coins("base seeds", peer_choices)
    answer, receiver = answer_base_transfers(_decode_key(parameters, peer_key), peer_choices, coins, pool)
    key, choices = _choose(session, parameters, delta, pool)
    (seeds,) = yield (answer, _encode_key(key), choices)
    sender = SenderBase.for_garbling(delta, finish_base_transfers(key, seeds, pool))
    yield (digest("privml/base-transfers/1", session.transcript),)
    return TransferBases(sender, receiver)


def _choose(
    session: Session, parameters: Parameters, delta: bytes, pool: ThreadPoolExecutor | None
) -> tuple[WeakPrivateKey, bytes]:
    key = generate_weak_key(parameters, session.coins("base key"))
    coins = session.coins("base choices", _encode_key(key), delta)
    return key, start_base_transfers(key.public, choices_of_delta(delta), coins, pool)


def _encode_key(key: WeakPrivateKey) -> bytes:
    return key.public.h.to_bytes(key.public.parameters.component_bytes, "big")


def _decode_key(parameters: Parameters, data: bytes) -> PublicKey:
    h = int.from_bytes(data, "big")
    validate_public_key(parameters, h)
    return PublicKey(parameters, h)
