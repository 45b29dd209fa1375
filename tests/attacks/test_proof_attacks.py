"""Attacks that the proofs stop: each one works where the check is left out, and fails with it."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from doubles import seeded_coins
from vector_keys import vector_case

from crypto import key_proof, plaintext_proof
from crypto.coins import Coins, digest, frame
from crypto.dtpkc import Ciphertext, Parameters, PublicKey, WeakPrivateKey, add_plain, draw_exponent, signed
from crypto.errors import ProofError
from crypto.key_proof import KeyProof, prove_key, verify_key
from crypto.plaintext_proof import (
    PlaintextProof,
    Statement,
    failing_statements,
    prove_plaintexts,
    verify_plaintexts,
)
from crypto.profiles import Profile
from crypto.service_key import finish_open, half_open, joint_key

CASE = vector_case(256)
PARAMETERS = Parameters(Profile("vectors", 256, 128, insecure=True), int(CASE["N"]), int(CASE["g"]))
N, MODULUS, G = PARAMETERS.n, PARAMETERS.n_squared, PARAMETERS.g
MASTER = WeakPrivateKey.from_theta(PARAMETERS, int(CASE["theta_mu"]))
SECONDARY = WeakPrivateKey.from_theta(PARAMETERS, int(CASE["theta_su"]) + 1)
SERVICE = joint_key(MASTER.public, SECONDARY.public)
THETA = MASTER.theta + SECONDARY.theta

VICTIM = frame("tenant", "client", "victim", "queries", "query 1", ("layout", 3))
ATTACKER = frame("tenant", "client", "attacker", "queries", "query 1", ("layout", 3))


def service_opens(ciphertexts: Sequence[Ciphertext]) -> list[int]:
    """Run both units' halves, mask and all, and return what the answer tells its receiver."""
    masks = [seeded_coins("masks").integer_bits(80) for _ in ciphertexts]
    halves = half_open(PARAMETERS, ciphertexts, MASTER.theta, masks)
    opened = finish_open(PARAMETERS, halves, [ct.t2 for ct in ciphertexts], SECONDARY.theta)
    return [signed(value - mask, N) for value, mask in zip(opened, masks, strict=True)]


def rejected(statement: Statement) -> bool:
    """Return whether the verdict is no, alone and next to an honest message."""
    honest, _, _ = query([4], VICTIM, seed="honest")
    alone = failing_statements(SERVICE, [statement], seeded_coins(1)) == [0]
    beside = failing_statements(SERVICE, [honest, statement], seeded_coins(2)) == [1]
    assert alone == beside
    return alone


def query(plaintexts: list[int], context: bytes, seed: str) -> tuple[Statement, list[int], Coins]:
    coins = seeded_coins(seed)
    randomness = [draw_exponent(PARAMETERS, coins) for _ in plaintexts]
    cts = SERVICE.encrypt_many_with(plaintexts, randomness)
    proof = prove_plaintexts(SERVICE, cts, plaintexts, randomness, context=context, coins=coins)
    return Statement(cts, proof, context), randomness, coins


@dataclass(frozen=True, slots=True)
class Hostile:
    """A ciphertext with T2 = g^r (1 − xN): it opens to m + xθ."""

    m: int
    r: int
    x: int

    @property
    def ciphertext(self) -> Ciphertext:
        honest = SERVICE.encrypt_with(self.m, self.r)
        return Ciphertext(honest.t1, honest.t2 * (1 - self.x * N) % MODULUS)


def test_a_doctored_t2_reads_the_service_key() -> None:
    assert service_opens([Hostile(m=7, r=12345, x=1).ciphertext]) == [7 + THETA]


@pytest.mark.parametrize("x", [1, -1, 2, 3**50])
def test_no_prover_gets_a_doctored_t2_accepted(x: int) -> None:
    hostile = Hostile(m=7, r=12345, x=x)
    ciphertexts = [hostile.ciphertext]
    # Whatever he feeds to the prover as m and r ...
    for m, r in ((7, 12345), (0, 12345), (7 + x, 12345), (7 - x, 12345), (7, 1)):
        proof = prove_plaintexts(
            SERVICE, ciphertexts, [m], [r], context=ATTACKER, coins=seeded_coins(f"{m} {r}")
        )
        assert rejected(Statement(ciphertexts, proof, ATTACKER))
    # ... or whatever power of 1 + N he puts into his commitment afterwards or before.
    assert rejected(Statement(ciphertexts, doctored_proof(hostile, guess=1 << 100), ATTACKER))


def doctored_proof(hostile: Hostile, guess: int) -> PlaintextProof:
    """Return a proof whose commitment cancels the doctoring for the challenge `guess`."""
    coins = seeded_coins("doctored")
    s, u = coins.integer_bits(336), coins.below(N)
    # A_2 · T_2^c = g^(s + cr) · (1 + (guess − c) x N)
    commitment = Ciphertext(
        pow(SERVICE.h, s, MODULUS) * (1 + u * N) % MODULUS,
        pow(G, s, MODULUS) * (1 + guess * hostile.x * N) % MODULUS,
    )
    binding = plaintext_proof._statement_digest(SERVICE, [hostile.ciphertext], ATTACKER)
    (c,) = plaintext_proof._challenges(PARAMETERS, binding, commitment, 1)
    return PlaintextProof(commitment, s + c * hostile.r, (u + c * hostile.m) % N)


def test_a_guessed_challenge_would_let_it_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = Hostile(m=7, r=12345, x=1)
    monkeypatch.setattr(plaintext_proof, "_challenges", lambda *_: [1 << 100])
    statement = Statement([hostile.ciphertext], doctored_proof(hostile, guess=1 << 100), ATTACKER)
    verify_plaintexts(SERVICE, [statement], seeded_coins(1))


def forge_against_weak_hash() -> tuple[Statement, int]:
    """Choose commitment and challenge first, and the doctored T2 last; return its x too."""
    coins = seeded_coins("weak")
    s, u, r, v = coins.integer_bits(336), coins.below(N), draw_exponent(PARAMETERS, coins), 5
    commitment = Ciphertext(
        pow(SERVICE.h, s, MODULUS) * (1 + u * N) % MODULUS, pow(G, s, MODULUS) * (1 + v * N) % MODULUS
    )
    binding = plaintext_proof._statement_digest(SERVICE, [SERVICE.encrypt_with(0, r)], ATTACKER)
    (c,) = plaintext_proof._challenges(PARAMETERS, binding, commitment, 1)
    # v − cx = 0 mod N
    hostile = Hostile(m=7, r=r, x=v * pow(c, -1, N) % N)
    proof = PlaintextProof(commitment, s + c * r, (u + c * hostile.m) % N)
    return Statement([hostile.ciphertext], proof, ATTACKER), hostile.x


def test_challenges_that_skip_the_ciphertexts_are_forged(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(
            plaintext_proof, "_statement_digest", lambda _public, _cts, where: digest("weak", where)
        )
        forged, x = forge_against_weak_hash()
        verify_plaintexts(SERVICE, [forged], seeded_coins(1))
        (answer,) = service_opens(forged.ciphertexts)
        assert (answer - 7) * pow(x, -1, N) % N == THETA
    assert rejected(forged)
    assert rejected(forge_against_weak_hash()[0])


def test_a_copied_query_is_opened_for_the_copier_only_without_the_check() -> None:
    copied, _, _ = query([31, -4], VICTIM, seed="victim")
    assert service_opens(copied.ciphertexts) == [31, -4]
    verify_plaintexts(SERVICE, [copied], seeded_coins(1))
    assert rejected(Statement(copied.ciphertexts, copied.proof, ATTACKER))


@pytest.mark.parametrize("field", range(6))
def test_no_field_of_the_context_can_be_exchanged(field: int) -> None:
    fields = ["tenant", "client", "victim", "queries", "query 1", ("layout", 3)]
    statement, _, _ = query([31], frame(*fields), seed="victim")
    verify_plaintexts(SERVICE, [statement], seeded_coins(1))
    fields[field] = "another"
    assert rejected(Statement(statement.ciphertexts, statement.proof, frame(*fields)))


def test_a_proof_for_one_key_is_none_for_another() -> None:
    statement, _, _ = query([31], VICTIM, seed="victim")
    with pytest.raises(ProofError):
        verify_plaintexts(MASTER.public, [statement], seeded_coins(1))


def test_shifted_and_re_randomised_queries_are_rejected() -> None:
    victim, _, coins = query([31], VICTIM, seed="victim")
    (ct,) = victim.ciphertexts
    proof = victim.proof
    r = draw_exponent(PARAMETERS, coins)
    zero = SERVICE.encrypt_with(0, r)
    shifted = add_plain(PARAMETERS, ct, 1000)
    refreshed = Ciphertext(ct.t1 * zero.t1 % MODULUS, ct.t2 * zero.t2 % MODULUS)
    # Both open, so the copier would learn 31 from the answer.
    assert service_opens([shifted, refreshed]) == [1031, 31]
    for context in (VICTIM, ATTACKER):
        for mauled in (shifted, refreshed):
            assert rejected(Statement([mauled], proof, context))
            # The adjustments that would be right if the challenge stayed the same, or were the new one.
            for statement in adjusted(victim, mauled, context, r):
                assert rejected(statement)
            # He can run the prover, but on guesses only.
            for m, guess in ((0, r), (1000, r), (1000, 1)):
                fresh = prove_plaintexts(
                    SERVICE, [mauled], [m], [guess], context=context, coins=seeded_coins("fresh")
                )
                assert rejected(Statement([mauled], fresh, context))


def adjusted(victim: Statement, mauled: Ciphertext, context: bytes, r: int) -> list[Statement]:
    proof = victim.proof
    found: list[Statement] = []
    for ciphertexts, where in ((victim.ciphertexts, VICTIM), ([mauled], context)):
        binding = plaintext_proof._statement_digest(SERVICE, ciphertexts, where)
        (c,) = plaintext_proof._challenges(PARAMETERS, binding, proof.commitment, 1)
        for z, y in ((proof.z, proof.y + 1000 * c), (proof.z + c * r, proof.y)):
            found.append(Statement([mauled], PlaintextProof(proof.commitment, z, y % N), context))
    return found


def test_mauled_queries_pass_where_challenges_skip_the_ciphertexts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        plaintext_proof, "_statement_digest", lambda _public, _cts, where: digest("weak", where)
    )
    victim, _, _ = query([31], VICTIM, seed="victim")
    shifted = add_plain(PARAMETERS, victim.ciphertexts[0], 1000)
    accepted = [
        s
        for s in adjusted(victim, shifted, VICTIM, 0)
        if not failing_statements(SERVICE, [s], seeded_coins(1))
    ]
    assert accepted


class PredictableWeights(Coins):
    """Coins whose every integer is 1, as a sender would like them."""

    def integer_bits(self, bits: int) -> int:
        return 1


def test_two_bad_proofs_cancel_under_predictable_weights_only() -> None:
    first, _, _ = query([1], VICTIM, seed="first")
    second, _, _ = query([2], ATTACKER, seed="second")
    pair = [
        Statement(
            s.ciphertexts, PlaintextProof(s.proof.commitment, s.proof.z, (s.proof.y + shift) % N), s.context
        )
        for s, shift in ((first, 1), (second, -1))
    ]
    verify_plaintexts(SERVICE, pair, PredictableWeights(bytes(32)))
    assert failing_statements(SERVICE, pair, seeded_coins(1)) == [0, 1]


def test_the_dealer_cannot_lengthen_a_response(monkeypatch: pytest.MonkeyPatch) -> None:
    # Whoever knows the order of g has many responses to one challenge; all but a few are too long.
    statement, _, _ = query([31], VICTIM, seed="victim")
    order = (int(CASE["p"]) - 1) // 2 * ((int(CASE["q"]) - 1) // 2)
    proof = statement.proof
    oversized = PlaintextProof(proof.commitment, proof.z + (order << 100), proof.y)
    longer = Statement(statement.ciphertexts, oversized, VICTIM)
    assert rejected(longer)
    monkeypatch.setattr(plaintext_proof, "response_bits", lambda *_: 1000)
    verify_plaintexts(SERVICE, [longer], seeded_coins(1))


def test_negative_and_overlong_encodings_are_rejected() -> None:
    statement, _, _ = query([31], VICTIM, seed="victim")
    data = statement.proof.encode(PARAMETERS, 1)
    width = 2 * PARAMETERS.component_bytes
    for wrong in (data[:-1], b"\0" + data, data + b"\0", data[:width]):
        with pytest.raises(ProofError):
            PlaintextProof.decode(PARAMETERS, 1, wrong)
    # All ones stand for values that are too long in each place.
    for low, high in ((0, width), (width, width + 43), (width + 43, len(data))):
        filled = data[:low] + b"\xff" * (high - low) + data[high:]
        assert len(filled) == len(data)
        assert rejected(
            Statement(statement.ciphertexts, PlaintextProof.decode(PARAMETERS, 1, filled), VICTIM)
        )
    for z in (-1, -statement.proof.z):
        negative = PlaintextProof(statement.proof.commitment, z, statement.proof.y)
        assert rejected(Statement(statement.ciphertexts, negative, VICTIM))


def test_a_rogue_key_opens_everything_alone_but_has_no_proof() -> None:
    # SU publishes g^θ / h_M: everyone then encrypts under g^θ, which SU opens without MU.
    theta = SECONDARY.theta
    rogue = PublicKey(PARAMETERS, pow(G, theta, MODULUS) * pow(MASTER.public.h, -1, MODULUS) % MODULUS)
    secret = joint_key(MASTER.public, rogue).encrypt(77, seeded_coins(1))
    assert WeakPrivateKey.from_theta(PARAMETERS, theta).decrypt(secret) == 77
    context = frame("tenant", "unit", "su")
    binding = key_proof._statement_digest(rogue, context)
    k = seeded_coins(2).integer_bits(336)
    for commitment in (pow(G, k, MODULUS), pow(G, k, MODULUS) * MASTER.public.h % MODULUS):
        e = key_proof._challenge(PARAMETERS, binding, commitment)
        for exponent in (theta, 2 * theta, 0):
            with pytest.raises(ProofError):
                verify_key(rogue, context, KeyProof(commitment, k + e * exponent))


def test_the_peers_key_and_proof_cannot_be_published_as_ones_own() -> None:
    proof = prove_key(MASTER, frame("tenant", "unit", "mu"), seeded_coins(1))
    verify_key(MASTER.public, frame("tenant", "unit", "mu"), proof)
    for context in (frame("tenant", "unit", "su"), frame("tenant 2", "unit", "mu")):
        with pytest.raises(ProofError):
            verify_key(MASTER.public, context, proof)
