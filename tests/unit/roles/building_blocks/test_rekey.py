"""Re-keying, both halves linked; each unit's view; what makes the must-clauses musts."""

from dataclasses import replace

import pytest
from doubles import seeded_coins
from tenants import small_tenant
from toy_keys import toy_keys
from vector_keys import vector_case

from crypto.arithmetic import gcd, inverse
from crypto.dtpkc import Ciphertext, WeakPrivateKey, log_total
from crypto.errors import NotOpenableError, RemoteProtocolError
from crypto.key_generation import generate_weak_key
from crypto.service_key import finish_open, half_open
from crypto.strong_key import RootShare, root_combine, root_partial
from roles.building_blocks.rekey import rekey_master, rekey_plan, rekey_secondary
from roles.plan import PlanViolationError, Sections
from roles.session import Session, run_linked
from roles.unit_secrets import UnitSecrets
from schemas.rounds import Subject

SMALL = small_tenant(owner_keys=True)
TENANT = SMALL.tenant
PARAMETERS = TENANT.parameters
N, MODULUS = PARAMETERS.n, PARAMETERS.n_squared
C = PARAMETERS.component_bytes
OWNER = SMALL.owner_key
assert OWNER is not None
KEY = OWNER.public
VALUES = [0, 1, 77, N - 1, N // 2, 1 << 200]


def session(unit: str, count: int, name: str = "chunk") -> Session:
    seed = (SMALL.master if unit == "mu" else SMALL.secondary).seed
    return Session(TENANT, unit, seed, Subject("rekey", client=name), rekey_plan(TENANT, count))


def encrypted(values: list[int], seed: str = "owner") -> list[Ciphertext]:
    return KEY.encrypt_many(values, seeded_coins(seed))


def rekeyed(
    ciphertexts: list[Ciphertext], name: str = "chunk", secondary: UnitSecrets = SMALL.secondary
) -> list[Ciphertext]:
    ours, theirs = session("mu", len(ciphertexts), name), session("su", len(ciphertexts), name)
    master = rekey_master(ours, SMALL.master, KEY, ciphertexts)
    return run_linked(master, ours, rekey_secondary(theirs, secondary), theirs)


def messages(ciphertexts: list[Ciphertext], name: str = "chunk") -> tuple[Sections, Sections]:
    """Return MU's request and SU's reply."""
    ours, theirs = session("mu", len(ciphertexts), name), session("su", len(ciphertexts), name)
    request = next(rekey_master(ours, SMALL.master, KEY, ciphertexts))
    program = rekey_secondary(theirs, SMALL.secondary)
    next(program)
    theirs.absorb_request(request)
    return request, program.send(request)


def opened(ciphertexts: list[Ciphertext]) -> list[int]:
    """Open under the service key, as the two units would together."""
    halves = half_open(PARAMETERS, ciphertexts, SMALL.master.theta, [0] * len(ciphertexts))
    return finish_open(PARAMETERS, halves, [c.t2 for c in ciphertexts], SMALL.secondary.theta)


def integers(data: bytes, width: int) -> list[int]:
    return [int.from_bytes(data[i : i + width], "big") for i in range(0, len(data), width)]


def test_any_plaintext_comes_out_under_the_service_key() -> None:
    assert opened(rekeyed(encrypted(VALUES))) == VALUES


def test_negated_components_do_not_change_the_plaintext() -> None:
    first, second = encrypted([5, 6])
    negated = [Ciphertext(MODULUS - first.t1, first.t2), Ciphertext(second.t1, MODULUS - second.t2)]
    assert opened(rekeyed(negated)) == [5, 6]


def test_the_vectors_are_rekeyed() -> None:
    """Known answers: ciphertexts, root shares and partials of the vector file."""
    case, toy = vector_case(256), toy_keys(256)
    shares = [RootShare(toy.parameters, int(case[f"root_share_{i}"])) for i in (1, 2)]
    known = [Ciphertext(int(e["T1"]), int(e["T2"])) for e in case["encryptions"]]
    plaintexts = [int(e["m"]) for e in case["encryptions"]]
    assert (toy.parameters.n, toy.parameters.g) == (N, PARAMETERS.g)
    partials = root_partial(known, shares[0])
    assert partials == [int(e["root_partial_1"]) for e in case["encryptions"]]
    master = replace(SMALL.master, strong_share=RootShare(PARAMETERS, shares[0].exponent))
    secondary = replace(SMALL.secondary, strong_share=RootShare(PARAMETERS, shares[1].exponent))
    ours, theirs = session("mu", len(known)), session("su", len(known))
    joint = replace(KEY, h=toy.joint.h)
    program = rekey_master(ours, master, joint, known)
    assert opened(run_linked(program, ours, rekey_secondary(theirs, secondary), theirs)) == plaintexts


def test_the_same_input_gives_the_same_bytes_and_another_one_other_masks() -> None:
    ciphertexts = encrypted([1, 2])
    assert messages(ciphertexts) == messages(ciphertexts)
    assert rekeyed(ciphertexts) == rekeyed(ciphertexts)
    other = encrypted([1, 2], "other")
    own, foreign = messages(ciphertexts), messages(other)
    for ours, theirs in zip((*own[0], *own[1]), (*foreign[0], *foreign[1]), strict=True):
        assert set(integers(ours, C)).isdisjoint(integers(theirs, C))
    assert messages(ciphertexts, "another chunk") != own


# --- the views


@pytest.mark.parametrize("values", [[0], [N - 1], [1, 2, 3], [0, 0, 0]])
def test_views_follow_from_the_number_of_ciphertexts(values: list[int]) -> None:
    request, reply = messages(encrypted(values))
    k = len(values)
    assert [len(section) for section in request] == [k * C, k * C // 2]
    assert [len(section) for section in reply] == [2 * k * C]


def masked_by_su(ciphertexts: list[Ciphertext], name: str = "chunk") -> list[int]:
    """Return what SU opens."""
    (blinded, roots), _ = messages(ciphertexts, name)
    share = SMALL.secondary.strong_share
    assert share is not None
    bare = [Ciphertext(t1, 1) for t1 in integers(blinded, C)]
    return root_combine(bare, integers(roots, C // 2), share)


def test_what_su_opens_fills_z_n_whatever_the_plaintext() -> None:
    for value in (0, N - 1):
        found = [masked_by_su(encrypted([value] * 40), f"{value} {i}") for i in range(10)]
        eighths = {8 * number // N for numbers in found for number in numbers}
        assert eighths == set(range(8))
        assert value not in {number for numbers in found for number in numbers}


def test_neither_the_mask_nor_the_plaintext_stands_beside_the_chunk() -> None:
    """With 1 + ρN alone, T1'/T1 is 1 mod N, and its L is ρ."""
    ciphertexts = encrypted(VALUES)
    (blinded, _), (sealed,) = messages(ciphertexts)
    result = rekeyed(ciphertexts)
    for ciphertext, t1 in zip(ciphertexts, integers(blinded, C), strict=True):
        ratio = t1 * inverse(ciphertext.t1, MODULUS) % MODULUS
        assert ratio % N not in {1, N - 1}
        with pytest.raises(NotOpenableError):
            log_total(ratio, N)
    # Without a fresh encryption of zero, result / SU's reply = 1 − ρN gives ρ to SU.
    replied = integers(sealed, C)
    for ciphertext, t1, t2 in zip(result, replied[::2], replied[1::2], strict=True):
        assert ciphertext.t2 != t2
        assert ciphertext.t1 * inverse(t1, MODULUS) % N not in {1, N - 1}


def test_one_share_alone_opens_nothing() -> None:
    (ciphertext,) = encrypted([77])
    for secrets in (SMALL.master, SMALL.secondary):
        assert secrets.strong_share is not None
        with pytest.raises(NotOpenableError):
            root_combine([ciphertext], [1], secrets.strong_share)


# --- what is refused


def test_shares_that_do_not_belong_together_open_nothing() -> None:
    share = SMALL.secondary.strong_share
    assert share is not None
    other = replace(SMALL.secondary, strong_share=RootShare(PARAMETERS, share.exponent + 2))
    with pytest.raises(NotOpenableError):
        rekeyed(encrypted([1]), secondary=other)


def test_a_unit_without_a_share_takes_no_part() -> None:
    bare = replace(SMALL.secondary, strong_share=None)
    with pytest.raises(PlanViolationError):
        rekeyed(encrypted([1]), secondary=bare)


def test_residues_out_of_range_are_refused() -> None:
    request, _ = messages(encrypted([1]))
    for bad in ((bytes(C), request[1]), (request[0], bytes(C // 2)), (b"\xff" * C, request[1])):
        theirs = session("su", 1)
        program = rekey_secondary(theirs, SMALL.secondary)
        next(program)
        theirs.absorb_request(bad)
        with pytest.raises(RemoteProtocolError):
            program.send(bad)


def test_an_owner_under_another_key_is_opened_all_the_same() -> None:
    """The strong key knows no owner: hence the proof of plaintext knowledge under h_i, before."""
    other: WeakPrivateKey = generate_weak_key(PARAMETERS, seeded_coins("somebody"))
    assert opened(rekeyed(other.public.encrypt_many([42], seeded_coins("theirs")))) == [42]
    assert gcd(other.public.h, N) == 1
