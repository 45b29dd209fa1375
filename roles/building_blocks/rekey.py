"""Re-key: ciphertexts under an owner's own key become ciphertexts under the service key (P17).

MU multiplies by a full fresh encryption of a uniform mask under the owner's key, the units open the
masked plaintext with their shares of the strong key, SU encrypts it under the service key, MU takes
the mask away and re-randomises. One round trip, and neither unit sees a plaintext.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from crypto.arithmetic import products_pairwise
from crypto.dtpkc import Ciphertext, PublicKey, draw_exponent
from crypto.errors import RemoteProtocolError
from crypto.parameters import decode_ciphertexts, encode_ciphertexts
from crypto.strong_key import RootShare, root_combine, root_partial
from roles.plan import Plan, PlanViolationError, Section, Step
from roles.session import MasterProgram, SecondaryProgram, Session
from roles.tenant import Tenant
from roles.unit_secrets import UnitSecrets

VERSION = 1


def rekey_plan(tenant: Tenant, ciphertexts: int) -> Plan:
    """Return the plan for so many ciphertexts: one round trip."""
    parameters = tenant.parameters
    step = Step(
        "service key",
        ("rekey",),
        (
            Section("blinded", parameters.component_bytes * ciphertexts),
            Section("roots", parameters.profile.plaintext_bytes * ciphertexts),
        ),
        (Section("rekeyed", parameters.ciphertext_bytes * ciphertexts),),
    )
    return Plan("rekey", VERSION, (parameters.profile.name, ciphertexts), (step,))


def rekey_master(
    session: Session,
    secrets: UnitSecrets,
    key: PublicKey,
    ciphertexts: Sequence[Ciphertext],
    pool: ThreadPoolExecutor | None = None,
) -> MasterProgram[list[Ciphertext]]:
    """Run MU's half and return the ciphertexts under the service key, in order.

    Args:
        session: This chunk's.
        secrets: MU's.
        key: The owner's.
        ciphertexts: Under that key, their proof verified.
        pool: Threads for the powers.

    Security:
        The mask is uniform in Z_N, so that SU's plaintext is independent of the owner's. Its encryption
        is a full one, h_i^r (1 + ρN): with 1 + ρN alone T1'/T1 would give ρ to whoever holds the chunk.
        T2 is neither computed nor sent; an opening with the strong key does not use it. Without the
        fresh encryption of zero the result divided by SU's reply would be 1 − ρN.

    Cost:
        Per ciphertext a short power, one with |N| bits mod N, and an encryption.

    Source:
        Liu et al. 2016 (DT-PKC), PSDec1; docs/protocols.md, P17.
    """
    tenant = session.tenant
    parameters, share = tenant.parameters, _share(secrets)
    n, modulus = parameters.n, parameters.n_squared
    coins = session.coins("mask", encode_ciphertexts(parameters, ciphertexts))
    masks = [coins.below(n) for _ in ciphertexts]
    exponents = [draw_exponent(parameters, coins) for _ in ciphertexts]
    # h_i^r (1 + ρN)
    encrypted = products_pairwise(
        parameters.powers_of(key.h, exponents, pool), [1 + mask * n for mask in masks], modulus
    )
    blinded = products_pairwise([ciphertext.t1 for ciphertext in ciphertexts], encrypted, modulus)
    roots = root_partial(_bare(blinded), share, pool)
    sent = _encoded(blinded, parameters.component_bytes), _encoded(roots, parameters.profile.plaintext_bytes)
    (reply,) = yield sent
    rekeyed = decode_ciphertexts(parameters, reply)
    hidden = _encoded(masks, parameters.profile.plaintext_bytes)
    zeros = tenant.service_key.encrypt_many([0] * len(rekeyed), session.coins("zero", reply, hidden), pool)
    # 1 − ρN takes the mask away.
    unmasked = products_pairwise([c.t1 for c in rekeyed], [1 + (n - mask) * n for mask in masks], modulus)
    t1s = products_pairwise(unmasked, [zero.t1 for zero in zeros], modulus)
    t2s = products_pairwise([c.t2 for c in rekeyed], [zero.t2 for zero in zeros], modulus)
    return [Ciphertext(t1, t2) for t1, t2 in zip(t1s, t2s, strict=True)]


def rekey_secondary(
    session: Session, secrets: UnitSecrets, pool: ThreadPoolExecutor | None = None
) -> SecondaryProgram[None]:
    """Run SU's half: open what is masked, encrypt it under the service key.

    Raises:
        NotOpenableError: The shares are not of one strong key, or a residue is no T1 of this modulus.

    Cost:
        Per ciphertext two powers with |N| bits, one of them mod N, and an encryption.

    Source:
        Liu et al. 2016 (DT-PKC), PSDec2; docs/protocols.md, P17.
    """
    parameters, share = session.tenant.parameters, _share(secrets)
    blinded_bytes, root_bytes = yield ()
    blinded = _decoded(blinded_bytes, parameters.component_bytes, parameters.n_squared)
    roots = _decoded(root_bytes, parameters.profile.plaintext_bytes, parameters.n)
    masked = root_combine(_bare(blinded), roots, share, pool)
    hidden = _encoded(masked, parameters.profile.plaintext_bytes)
    key = session.tenant.service_key
    rekeyed = key.encrypt_many(masked, session.coins("rekeyed", hidden=hidden), pool)
    yield (encode_ciphertexts(parameters, rekeyed),)


def _share(secrets: UnitSecrets) -> RootShare:
    if secrets.strong_share is None:
        raise PlanViolationError("this unit has no share of the strong key")
    return secrets.strong_share


def _bare(t1s: Sequence[int]) -> list[Ciphertext]:
    """Return ciphertexts of which T1 alone is known: an opening with the strong key uses no more."""
    return [Ciphertext(t1, 1) for t1 in t1s]


def _encoded(values: Sequence[int], width: int) -> bytes:
    return b"".join(value.to_bytes(width, "big") for value in values)


def _decoded(data: bytes, width: int, bound: int) -> list[int]:
    values = [int.from_bytes(data[i : i + width], "big") for i in range(0, len(data), width)]
    if any(not 0 < value < bound for value in values):
        raise RemoteProtocolError("a residue is out of range")
    return values
