"""Attacks on careless roles: each works with its safeguard off and fails with it on."""

import numpy as np
import pytest
from doubles import seeded_coins
from linked_blocks import pair
from round_trips import (
    naive_bayes,
    random_counts,
    random_records,
    refresh_subject,
    replace_subject,
    vectors_of,
)
from tenants import small_tenant

from crypto.arithmetic import inverse
from crypto.circuits.circuit import Owner
from crypto.circuits.selection import NaiveBayesArgmax
from crypto.coins import Coins
from crypto.dtpkc import Ciphertext, add_plain
from crypto.packing import SlotLayout, words_of_bits
from crypto.service_key import finish_open, half_open
from roles.building_blocks.garble import garble_reply
from roles.building_blocks.opening import mask_vector, open_masked
from roles.building_blocks.seal import seal_master, seal_secondary
from roles.chunk_encodings import COUNTS
from roles.classifiers import naive_bayes_table
from roles.classifiers.naive_bayes_table import refresh_master, refresh_secondary
from roles.classifiers.naive_bayes_twin import log2_fixed
from roles.data_owner import make_chunk
from roles.model_state import ModelState
from roles.session import Session, model_coins, run_linked

SMALL = small_tenant()
PARAMETERS = SMALL.tenant.parameters
N, MODULUS = PARAMETERS.n, PARAMETERS.n_squared


def plain_factor(quotient: int) -> int | None:
    """Return x of a quotient 1 + xN, or None if it is another number."""
    return (quotient - 1) // N if quotient % N == 1 else None


def quotient(a: int, b: int) -> int:
    return a * inverse(b, MODULUS) % MODULUS


# --- seal: published / SU's reply must not be 1 + x_M·N

SHARES_MU, SHARES_SU = [777, 65535, 1], [1234, 1, 65535]


def test_a_seal_that_is_not_re_randomised_shows_mus_share() -> None:
    key, layout = SMALL.client_key.public, SMALL.tenant.label_layout(3)
    reply = seal_secondary(key, layout, SHARES_SU, seeded_coins("su"))
    careless = [add_plain(PARAMETERS, c, m) for c, m in zip(reply, layout.pack(SHARES_MU), strict=True)]
    shown = [plain_factor(quotient(new.t1, old.t1)) for new, old in zip(careless, reply, strict=True)]
    assert shown == layout.pack(SHARES_MU)


def test_a_re_randomised_seal_shows_nothing_of_it() -> None:
    key, layout = SMALL.client_key.public, SMALL.tenant.label_layout(3)
    reply = seal_secondary(key, layout, SHARES_SU, seeded_coins("su"))
    published = seal_master(key, layout, reply, SHARES_MU, seeded_coins("mu"))
    for new, old in zip(published, reply, strict=True):
        assert plain_factor(quotient(new.t1, old.t1)) is None
        assert plain_factor(quotient(new.t2, old.t2)) is None


# --- open: the mask must not stand beside the original ciphertext

WORDS = SlotLayout.fitting(256, "words", 3, 48, 48, (1 << 48) - 2)


def encrypted(values: list[int], seed: str) -> list[Ciphertext]:
    return SMALL.tenant.service_key.encrypt_many(WORDS.pack(values), seeded_coins(seed))


def test_a_mask_beside_the_original_ciphertext_is_no_mask() -> None:
    # As if MU sent T1(1 + ρN) and its power of T2 apart, as a literal reading of the paper does.
    (ciphertext,) = encrypted([3, 4, 5], "r")
    rho = seeded_coins("rho").integer_bits(224)
    masked = ciphertext.t1 * (1 + rho * N) % MODULUS
    assert plain_factor(quotient(masked, ciphertext.t1)) == rho


def test_the_half_opened_value_hides_the_mask_beside_the_original_ciphertext() -> None:
    (ciphertext,) = encrypted([3, 4, 5], "r")
    rho = seeded_coins("rho").integer_bits(224)
    (half,) = half_open(PARAMETERS, [ciphertext], SMALL.master.theta, [rho])
    assert plain_factor(quotient(half, ciphertext.t1)) is None
    # What is left to broker and SU is an encryption under h_M, which θ_S does not open.
    stripped = pow(inverse(ciphertext.t2, MODULUS), SMALL.secondary.theta, MODULUS)
    assert plain_factor(ciphertext.t1 * stripped % MODULUS) is None


# --- open: one mask for two inputs


def opened_by_su(values: list[int], coins: Coins) -> int:
    ciphertexts = encrypted(values, "r")
    masked = mask_vector(PARAMETERS, WORDS, ciphertexts, SMALL.master.theta, coins).masked
    return finish_open(
        PARAMETERS, [int.from_bytes(masked, "big")], [ciphertexts[0].t2], SMALL.secondary.theta
    )[0]


def test_one_mask_for_two_inputs_shows_their_difference() -> None:
    first, second = (opened_by_su(values, seeded_coins("mask")) for values in ([9, 9, 9], [2, 9, 9]))
    assert first - second == 2 * 7


def test_the_same_place_with_another_input_draws_another_mask() -> None:
    opened = []
    for values in ([9, 9, 9], [2, 9, 9]):
        # A unit restored from a backup reaches the same step with another ciphertext.
        at = pair(SMALL, "same place").mu
        public = b"".join(c.t1.to_bytes(64, "big") for c in encrypted(values, "r"))
        opened.append(opened_by_su(values, at.coins("mask", public)))
    assert abs(opened[0] - opened[1]) > 1 << 200


# --- garble: one request answered twice with different inputs of SU

CIRCUIT = NaiveBayesArgmax((2,), classes=2, score_bits=4, label_bits=2)


def reply_tables(flip: int) -> np.ndarray:
    both = pair(SMALL, "twice")
    _, sent = both.choices_of_mu(np.zeros(CIRCUIT.choice_count(1), dtype=np.uint8))
    own = {
        item.name: np.zeros((*item.shape, 1), dtype=np.uint8)
        for item in CIRCUIT.inputs()
        if item.owner is not Owner.EVALUATOR
    }
    own["scores_su"][0, 0] ^= np.uint8(flip)
    _, tables, _ = garble_reply(both.su, CIRCUIT, 1, sent, own, SMALL.secondary.sender.delta)
    return np.frombuffer(tables, dtype=np.uint64).reshape(-1, 2)


def shows_delta(first: np.ndarray, second: np.ndarray) -> bool:
    delta = np.frombuffer(SMALL.secondary.sender.delta, dtype=np.uint64)
    return bool((first ^ second == delta).all(axis=1).any())


def test_two_replies_under_one_salt_show_delta(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "salt", lambda self, purpose, secret_inputs: bytes(16))
    assert shows_delta(reply_tables(0), reply_tables(1))


def test_salts_of_the_session_show_nothing() -> None:
    first, second = reply_tables(0), reply_tables(1)
    assert not shows_delta(first, second)
    assert not (first == second).all(axis=1).any()
    assert (first == reply_tables(0)).all()


# --- open: a carry that is fed back


def test_an_opened_carry_tells_of_the_slot_below_and_the_doubled_slot_drops_it() -> None:
    carried = {}
    for low in (1, (1 << 47) - 1):
        ciphertexts = encrypted([low, 5, 0], "r")
        differences = []
        for seed in range(200):
            masked = mask_vector(PARAMETERS, WORDS, ciphertexts, SMALL.master.theta, seeded_coins(seed))
            t2s = [c.t2 for c in ciphertexts]
            digits = open_masked(PARAMETERS, WORDS, masked.masked, t2s, SMALL.secondary.theta)
            r, d = words_of_bits(masked.digits), words_of_bits(digits)
            differences.append((int(d[1]) - int(r[1])) % (1 << 48))
        # Naive shares d − r of the second slot sum to 10 or 11: a walk of one unit a cycle.
        carried[low] = sum(difference - 10 for difference in differences)
        assert {difference >> 1 for difference in differences} == {5}
    assert carried[1] == 0
    assert carried[(1 << 47) - 1] == 200


# --- refresh: one share of the table for two masks of the model


def hostile_model() -> ModelState:
    """Return an honest chunk beside one whose sender wrote 2^47 + 1 into every slot.

    The slots become odd, and each of them carries into the next one with probability 1/2; the
    counts themselves are still what the circuit reads, rounded up where a carry comes in.
    """
    tenant, learner = SMALL.tenant, naive_bayes(SMALL)
    chunk = make_chunk(tenant, "a", 0, random_records(SMALL, 40, "victim"), seeded_coins("victim"))
    model = learner.learn(learner.starting(), "a", chunk.records, vectors_of(SMALL, chunk))
    layout = tenant.counts_layout(1)
    written = [sum((1 << 47) + 1 << 48 * slot for slot in range(layout.slots))] * layout.ciphertexts
    hostile = tenant.service_key.encrypt_many(written, seeded_coins("hostile"))
    return learner.learn(model, "b", 1, {COUNTS: tuple(hostile)})


def prior_differences(model: ModelState) -> list[list[int]]:
    """Refresh the same counts in some sessions; return MU's differences of log2(256·n_c) to the first.

    Whether a mask carries into a slot is decided by a coin, so that two sessions may agree in all.
    """
    shares = []
    for version in (2, 4, 6, 8, 10):  # as after chunks that came and were withdrawn
        subject = replace_subject(refresh_subject(SMALL, model), model_version=version)
        shape = naive_bayes(SMALL).table_shape(model.records)
        mu = Session(SMALL.tenant, "mu", SMALL.master.seed, subject, shape.plan)
        su = Session(SMALL.tenant, "su", SMALL.secondary.seed, subject, shape.plan)
        programs = (
            refresh_master(mu, SMALL.master, shape, model.ciphertexts),
            refresh_secondary(su, SMALL.secondary, shape),
        )
        shares.append(run_linked(programs[0], mu, programs[1], su).priors.astype(np.int64))
    wrapped = [(other - shares[0]) % (1 << 32) for other in shares[1:]]
    return [[int(word) - (int(word >> 31) << 32) for word in words] for words in wrapped]


def readable_counts(differences: list[int]) -> list[int | None]:
    """Return, per class, the count that MU reads off the difference of two logarithms."""
    steps = {log2_fixed(256 * (n + 1)) - log2_fixed(256 * n): n for n in range(1, 41)}
    return [steps.get(abs(difference)) for difference in differences]


def test_one_table_share_for_two_refreshes_shows_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    true_counts = random_counts(SMALL, 40, "victim").class_counts.tolist()

    def bound_to_the_model_alone(secrets, shape, refresh):  # type: ignore[no-untyped-def]  # as the original
        fixed = replace_subject(refresh, model_version=0)
        words = model_coins(secrets.seed, shape.tenant, shape.plan, fixed).words(
            len(shape.entries), np.uint64
        )
        return words & np.uint64((1 << shape.score_width) - 1)

    monkeypatch.setattr(naive_bayes_table, "_mask_words", bound_to_the_model_alone)
    read = [readable_counts(differences) for differences in prior_differences(hostile_model())]
    assert any(count is not None for counts in read for count in counts)
    for counts in read:
        assert all(count in {None, true} for count, true in zip(counts, true_counts, strict=True))


def test_a_table_share_of_the_refresh_session_shows_none() -> None:
    for differences in prior_differences(hostile_model()):
        assert readable_counts(differences) == [None, None, None]
