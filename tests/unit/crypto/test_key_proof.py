"""The proof of knowledge of a private key."""

import pytest
from doubles import seeded_coins
from vector_keys import vector_case

from crypto.coins import Coins, frame
from crypto.dtpkc import Parameters, PublicKey, WeakPrivateKey
from crypto.errors import ProofError
from crypto.key_proof import KeyProof, commitment_bits, key_proof_bytes, prove_key, verify_key
from crypto.profiles import PROFILES, Profile

CASE = vector_case(256)
PARAMETERS = Parameters(Profile("vectors", 256, 128, insecure=True), int(CASE["N"]), int(CASE["g"]))
KEY = WeakPrivateKey.from_theta(PARAMETERS, int(CASE["theta_mu"]))
CONTEXT = frame("tenant", "unit", "mu")


@pytest.fixture
def proof() -> KeyProof:
    return prove_key(KEY, CONTEXT, seeded_coins(1))


def test_honest_proofs_verify() -> None:
    for seed in range(20):
        verify_key(KEY.public, CONTEXT, prove_key(KEY, CONTEXT, seeded_coins(seed)))


@pytest.mark.parametrize(
    "fields", [("other", "unit", "mu"), ("tenant", "unit", "su"), ("tenant", "unitm", "u")]
)
def test_bound_to_its_context(proof: KeyProof, fields: tuple[str, ...]) -> None:
    with pytest.raises(ProofError):
        verify_key(KEY.public, frame(*fields), proof)


def test_bound_to_its_key(proof: KeyProof) -> None:
    other = WeakPrivateKey.from_theta(PARAMETERS, KEY.theta + 2)
    with pytest.raises(ProofError, match="does not verify"):
        verify_key(other.public, CONTEXT, proof)


def test_bound_to_its_generator(proof: KeyProof) -> None:
    moved = Parameters(PARAMETERS.profile, PARAMETERS.n, pow(PARAMETERS.g, 3, PARAMETERS.n_squared))
    with pytest.raises(ProofError, match="does not verify"):
        verify_key(PublicKey(moved, KEY.public.h), CONTEXT, proof)


@pytest.mark.parametrize("change", [-1, 1, 2])
def test_changed_response_is_refused(proof: KeyProof, change: int) -> None:
    with pytest.raises(ProofError, match="does not verify"):
        verify_key(KEY.public, CONTEXT, KeyProof(proof.commitment, proof.z + change))


def test_response_of_the_right_value_but_too_long_is_refused(proof: KeyProof) -> None:
    # Only the dealer knows the order; z + its multiple satisfies the equation.
    order = (int(CASE["p"]) - 1) // 2 * ((int(CASE["q"]) - 1) // 2)
    verify_key(KEY.public, CONTEXT, KeyProof(proof.commitment, proof.z + order))
    for z in (proof.z + (order << 100), proof.z - (order << 100)):
        with pytest.raises(ProofError, match="longer"):
            verify_key(KEY.public, CONTEXT, KeyProof(proof.commitment, z))


def test_commitment_must_be_a_reduced_residue_of_symbol_one(proof: KeyProof) -> None:
    for commitment in (0, PARAMETERS.n, -proof.commitment, proof.commitment + PARAMETERS.n_squared):
        with pytest.raises(ProofError, match="commitment"):
            verify_key(KEY.public, CONTEXT, KeyProof(commitment, proof.z))


def test_encoding_has_a_fixed_width(proof: KeyProof) -> None:
    data = proof.encode(PARAMETERS)
    assert len(data) == key_proof_bytes(PARAMETERS.profile)
    assert KeyProof.decode(PARAMETERS, data) == proof
    for wrong in (b"", data[:-1], data + b"\0"):
        with pytest.raises(ProofError):
            KeyProof.decode(PARAMETERS, wrong)
    for unencodable in (
        KeyProof(proof.commitment, -1),
        KeyProof(proof.commitment, 1 << 400),
        KeyProof(-1, 1),
    ):
        with pytest.raises(ProofError):
            unencodable.encode(PARAMETERS)


def test_sizes_at_the_standard_profile() -> None:
    standard = PROFILES["standard"]
    assert commitment_bits(standard) == 256 + 208
    assert key_proof_bytes(standard) == 768 + 59


def test_repeated_coins_do_not_repeat_the_nonce() -> None:
    def commitment(key: WeakPrivateKey, context: bytes) -> int:
        return prove_key(key, context, Coins(bytes(32))).commitment

    other = WeakPrivateKey.from_theta(PARAMETERS, KEY.theta + 2)
    assert commitment(KEY, CONTEXT) == commitment(KEY, CONTEXT)
    assert len({commitment(KEY, CONTEXT), commitment(KEY, b"else"), commitment(other, CONTEXT)}) == 3
