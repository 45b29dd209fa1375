"""The proof of plaintext knowledge: honest ones pass, alone and together; anything else does not."""

from dataclasses import replace

import pytest
from doubles import seeded_coins
from vector_keys import vector_case

from crypto import plaintext_proof as module
from crypto.arithmetic import jacobi
from crypto.coins import Coins, frame
from crypto.counting import counting
from crypto.dtpkc import Ciphertext, Parameters, WeakPrivateKey, draw_exponent
from crypto.errors import ProofError
from crypto.plaintext_proof import (
    PlaintextProof,
    Statement,
    failing_statements,
    masking_bits,
    proof_bytes,
    prove_plaintexts,
    response_bits,
    table_bits,
    verify_plaintexts,
)
from crypto.profiles import PROFILES, Profile

CASE = vector_case(256)
PARAMETERS = Parameters(Profile("vectors", 256, 128, insecure=True), int(CASE["N"]), int(CASE["g"]))
KEY = WeakPrivateKey.from_theta(PARAMETERS, int(CASE["theta_mu"]))
PUBLIC = KEY.public
N, MODULUS = PARAMETERS.n, PARAMETERS.n_squared


class NoCoins(Coins):
    """Coins that must not be read."""

    def bytes(self, length: int) -> bytes:
        raise AssertionError("coins were read")


def make(seed: int, size: int, *, negate: tuple[bool, bool] = (False, False)) -> Statement:
    coins = seeded_coins(f"statement {seed}")
    plaintexts = [coins.below(N) - N // 2 for _ in range(size)]
    randomness = [draw_exponent(PARAMETERS, coins) for _ in range(size)]
    ciphertexts = [
        Ciphertext(-ct.t1 % MODULUS if negate[0] else ct.t1, -ct.t2 % MODULUS if negate[1] else ct.t2)
        for ct in PUBLIC.encrypt_many_with(plaintexts, randomness)
    ]
    context = frame("tenant", "owner", f"sender {seed}", "topic", seed)
    proof = prove_plaintexts(PUBLIC, ciphertexts, plaintexts, randomness, context=context, coins=coins)
    return Statement(ciphertexts, proof, context)


def verdict(*statements: Statement, seed: int = 0) -> bool:
    try:
        verify_plaintexts(PUBLIC, statements, seeded_coins(f"weights {seed}"))
    except ProofError:
        return False
    return True


def damaged(statement: Statement, what: str) -> Statement:
    proof = statement.proof
    match what:
        case "z":
            return replace(statement, proof=replace(proof, z=proof.z + 1))
        case "y":
            return replace(statement, proof=replace(proof, y=(proof.y + 1) % N))
        case "a1":
            moved = Ciphertext(proof.commitment.t1 * 4 % MODULUS, proof.commitment.t2)
            return replace(statement, proof=replace(proof, commitment=moved))
        case "a2":
            moved = Ciphertext(proof.commitment.t1, proof.commitment.t2 * 4 % MODULUS)
            return replace(statement, proof=replace(proof, commitment=moved))
        case "t1" | "t2":
            last = statement.ciphertexts[-1]
            changed = replace(last, **{what: getattr(last, what) * (1 + N) % MODULUS})
            return replace(statement, ciphertexts=[*statement.ciphertexts[:-1], changed])
        case "order":
            return replace(statement, ciphertexts=statement.ciphertexts[::-1])
        case "fewer":
            return replace(statement, ciphertexts=statement.ciphertexts[:-1])
        case _:
            return replace(statement, context=statement.context + b"\0")


DAMAGES = ["z", "y", "a1", "a2", "t1", "t2", "order", "fewer", "context"]


@pytest.mark.parametrize("size", [1, 2, 3, 8, 33])
def test_honest_proofs_verify_alone(size: int) -> None:
    assert verdict(make(size, size))


def test_honest_proofs_verify_in_batches_of_mixed_sizes() -> None:
    statements = [make(seed, size) for seed, size in enumerate((1, 7, 2, 1, 40, 3))]
    assert verdict(*statements)
    assert failing_statements(PUBLIC, statements, seeded_coins(1)) == []
    assert verdict()


@pytest.mark.parametrize("what", DAMAGES)
def test_any_damage_is_refused(what: str) -> None:
    assert not verdict(damaged(make(1, 3), what))


@pytest.mark.parametrize("position", range(5))
def test_one_bad_proof_spoils_the_batch_and_is_found(position: int) -> None:
    statements = [make(seed, 2 + seed % 2) for seed in range(5)]
    for what in DAMAGES:
        spoilt = [damaged(s, what) if i == position else s for i, s in enumerate(statements)]
        assert not verdict(*spoilt)
        assert failing_statements(PUBLIC, spoilt, seeded_coins(what)) == [position]


def test_several_bad_proofs_are_found_in_order() -> None:
    statements = [make(seed, 1) for seed in range(9)]
    for position in (0, 3, 4, 8):
        statements[position] = damaged(statements[position], "y")
    assert failing_statements(PUBLIC, statements, seeded_coins(1)) == [0, 3, 4, 8]


def test_one_statement_reads_no_coins() -> None:
    verify_plaintexts(PUBLIC, [make(1, 2)], NoCoins(bytes(32)))
    with pytest.raises(AssertionError, match="coins were read"):
        verify_plaintexts(PUBLIC, [make(1, 2), make(2, 2)], NoCoins(bytes(32)))


@pytest.mark.parametrize("negate", [(True, False), (False, True), (True, True)])
def test_signs_never_change_a_verdict_nor_what_is_opened(negate: tuple[bool, bool]) -> None:
    # A prover may negate before he proves. Half of such proofs would fail under exact equality.
    statements = [make(seed, 2, negate=negate) for seed in range(12)]
    assert all(verdict(statement) for statement in statements)
    assert all(verdict(*statements, seed=seed) for seed in range(8))
    for seed, statement in enumerate(statements):
        assert KEY.decrypt_many(statement.ciphertexts) == KEY.decrypt_many(make(seed, 2).ciphertexts)


def test_negating_a_proved_ciphertext_invalidates_the_proof() -> None:
    statement = make(1, 1)
    (ct,) = statement.ciphertexts
    assert not verdict(replace(statement, ciphertexts=[Ciphertext(MODULUS - ct.t1, ct.t2)]))


def test_values_out_of_range_are_refused_before_any_power() -> None:
    statement = make(1, 2)
    proof, a = statement.proof, statement.proof.commitment
    # Half of all residues have symbol −1, and no power of h or g has.
    odd_one = next(x for x in range(2, 100) if jacobi(x, N) == -1)
    wrong = [
        replace(proof, z=-1),
        replace(proof, z=1 << response_bits(PARAMETERS.profile, 2)),
        replace(proof, y=-1),
        replace(proof, y=proof.y + N),
        replace(proof, commitment=Ciphertext(0, a.t2)),
        replace(proof, commitment=Ciphertext(a.t1 + MODULUS, a.t2)),
        replace(proof, commitment=Ciphertext(a.t1, a.t2 - MODULUS)),
        replace(proof, commitment=Ciphertext(a.t1, int(CASE["p"]))),
        replace(proof, commitment=Ciphertext(a.t1 * odd_one % MODULUS, a.t2)),
    ]
    with counting() as tally:
        assert not any(verdict(replace(statement, proof=bad)) for bad in wrong)
        assert not verdict(replace(statement, ciphertexts=[]))
    assert not any(tally.as_dict().values())


@pytest.mark.parametrize("value", [0, -1, MODULUS, int(CASE["p"]), N])
def test_ciphertexts_outside_the_group_fail_as_proofs(value: int) -> None:
    statement = make(1, 2)
    foreign = [statement.ciphertexts[0], replace(statement.ciphertexts[1], t2=value)]
    bad = replace(statement, ciphertexts=foreign)
    assert not verdict(bad)
    assert failing_statements(PUBLIC, [statement, bad], seeded_coins(1)) == [1]


def test_every_challenge_depends_on_everything() -> None:
    statement = make(1, 6)
    commitment = statement.proof.commitment

    def challenges(changed: Statement, a: Ciphertext = commitment) -> list[int]:
        binding = module._statement_digest(PUBLIC, changed.ciphertexts, changed.context)
        return module._challenges(PARAMETERS, binding, a, 6)

    seen = [challenges(statement)]
    seen += [challenges(damaged(statement, what)) for what in ("t1", "t2", "order", "context")]
    seen += [challenges(statement, Ciphertext(commitment.t1 + 1, commitment.t2))]
    seen += [challenges(statement, Ciphertext(commitment.t1, commitment.t2 + 1))]
    flat = [challenge for row in seen for challenge in row]
    assert len(set(flat)) == len(flat) == 6 * len(seen)
    assert all(challenge.bit_length() <= 128 for challenge in flat)


def test_repeated_coins_answer_no_two_challenges_with_one_nonce() -> None:
    ciphertexts = [PUBLIC.encrypt_with(5, 7)]

    def commitment(plaintext: int, r: int, context: bytes) -> Ciphertext:
        return prove_plaintexts(
            PUBLIC, ciphertexts, [plaintext], [r], context=context, coins=Coins(bytes(32))
        ).commitment

    assert commitment(5, 7, b"") == commitment(5, 7, b"")
    assert (
        len({commitment(5, 7, b""), commitment(6, 7, b""), commitment(5, 8, b""), commitment(5, 7, b"x")})
        == 4
    )


def test_prover_refuses_inconsistent_input() -> None:
    ciphertexts = [PUBLIC.encrypt_with(5, 7)]
    for cts, plaintexts, randomness in (
        ([], [], []),
        (ciphertexts, [5, 6], [7]),
        (ciphertexts, [5], [7, 8]),
        (ciphertexts, [5], [0]),
        (ciphertexts, [5], [1 << 128]),
    ):
        with pytest.raises(ValueError, match="randomness"):
            prove_plaintexts(PUBLIC, cts, plaintexts, randomness, context=b"", coins=seeded_coins(1))


@pytest.mark.parametrize("size", [1, 2, 5])
def test_encoding_has_a_fixed_width(size: int) -> None:
    proof = make(1, size).proof
    data = proof.encode(PARAMETERS, size)
    assert len(data) == proof_bytes(PARAMETERS.profile, size)
    assert PlaintextProof.decode(PARAMETERS, size, data) == proof
    for wrong in (b"", data[:-1], data + b"\0"):
        with pytest.raises(ProofError):
            PlaintextProof.decode(PARAMETERS, size, wrong)
    with pytest.raises(ProofError):
        PlaintextProof.decode(PARAMETERS, 0, data)


def test_values_that_do_not_fit_are_not_encoded() -> None:
    proof = make(1, 1).proof
    for bad in (
        replace(proof, z=-1),
        replace(proof, z=1 << 600),
        replace(proof, y=-1),
        replace(proof, y=1 << 256),
        replace(proof, commitment=Ciphertext(0, 1)),
    ):
        with pytest.raises(ProofError):
            bad.encode(PARAMETERS, 1)


def test_sizes_at_the_standard_profile() -> None:
    standard = PROFILES["standard"]
    assert [masking_bits(standard, size) for size in (1, 2, 3, 256)] == [464, 465, 466, 472]
    assert response_bits(standard, 5) == 256 + 209 + 3
    assert table_bits(standard, 5) == 468
    assert table_bits(standard, 5, batch=60) == 468 + 80 + 6
    assert proof_bytes(standard, 5) == 1536 + 59 + 384


def test_honest_responses_always_fit() -> None:
    profile = PARAMETERS.profile
    for size in (1, 2, 3, 4, 5, 250):
        largest = (2 ** masking_bits(profile, size) - 1) + size * (2**128 - 1) * (2**128 - 1)
        assert largest.bit_length() <= response_bits(profile, size)


def test_cost_of_a_batch() -> None:
    statements = [make(seed, 3) for seed in range(4)]
    with counting() as tally:
        assert verdict(*statements)
    # Two components of 4 · 3 ciphertexts and 4 commitments; one power of h and one of g.
    assert tally.multi_bases == 2 * 16
    assert tally.powers_full + tally.powers_short + tally.fixed_base == 2


def test_tables_of_table_bits_serve_prover_and_batch() -> None:
    small = WeakPrivateKey.from_theta(PARAMETERS, KEY.theta + 2).public
    small.prepare(4, table_bits(PARAMETERS.profile, 3, batch=2))
    with counting() as tally:
        statements = []
        for context in (b"0", b"1"):
            cts = small.encrypt_many_with([1, 2, 3], [4, 5, 6])
            proof = prove_plaintexts(small, cts, [1, 2, 3], [4, 5, 6], context=context, coins=seeded_coins(1))
            statements.append(Statement(cts, proof, context))
        verify_plaintexts(small, statements, seeded_coins(2))
    assert tally.powers_full == tally.powers_short == 0
    assert tally.fixed_base == 2 * (6 + 2) + 2
