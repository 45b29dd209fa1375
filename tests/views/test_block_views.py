"""What a unit sees of one building block: sizes that follow from the shape, numbers that are uniform.

Uniformity is checked by chi-square under fixed seeds, so that the verdict never changes; each test has
a control whose numbers are not uniform and do not pass.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from doubles import seeded_coins
from linked_blocks import pair
from tenants import small_tenant

from crypto.circuits.circuit import Owner
from crypto.circuits.selection import NaiveBayesArgmax
from crypto.dtpkc import Ciphertext
from crypto.packing import SlotLayout, bits_of_words, words_of_bits
from crypto.profiles import MASK_BITS
from crypto.service_key import finish_open, half_open
from crypto.strong_key import root_combine, root_partial
from roles.building_blocks.garble import evaluate_garbled, garble_reply
from roles.building_blocks.multiply import receive_row_sums, send_row_sums
from roles.building_blocks.opening import (
    bit_choices,
    mask_vector,
    open_masked,
    share_bits_master,
    share_bits_secondary,
)
from roles.building_blocks.rekey import rekey_master, rekey_plan
from roles.building_blocks.seal import seal_master, seal_secondary
from roles.session import Session, array_bytes
from roles.tenant import LABEL_BITS
from schemas.rounds import Subject

SMALL = small_tenant()
PARAMETERS = SMALL.tenant.parameters
SAMPLES = 2048
BINS = 64

# 0.9999 quantile of chi-square with 63 degrees of freedom, and of a single bit's (one degree).
LIMIT = 113.5
BIT_LIMIT = 15.2


def chi_square(numbers: Sequence[int], bins: int = BINS) -> float:
    """Return the statistic of numbers in [0, 2^16) over equal bins, by their high digits."""
    found = np.bincount(np.asarray(numbers, dtype=np.int64) * bins >> 16, minlength=bins)
    expected = len(numbers) / bins
    return float(((found - expected) ** 2 / expected).sum())


def chi_square_of_bits(numbers: Sequence[int]) -> float:
    """Return the largest statistic of the sixteen single bits."""
    bits = (np.asarray(numbers, dtype=np.int64)[:, np.newaxis] >> np.arange(16)) & 1
    half = len(numbers) / 2
    return float((2 * (bits.sum(axis=0) - half) ** 2 / half).max())


def is_uniform(numbers: Sequence[int]) -> bool:
    """Return whether 16-bit numbers look uniform: high six bits, low six bits, every single bit."""
    low = [(number & 0x3F) << 10 for number in numbers]
    return chi_square(numbers) < LIMIT and chi_square(low) < LIMIT and chi_square_of_bits(numbers) < BIT_LIMIT


def are_balanced(bits: npt.NDArray[np.uint8]) -> bool:
    half = bits.size / 2
    return bool(2 * (int(bits.sum()) - half) ** 2 / half < BIT_LIMIT)


# --- open

LAYOUT = SlotLayout.fitting(256, "words", 3, 48, 48, (1 << 48) - 2)


def openings(values: list[int], mask_bits: int) -> list[int]:
    """Return S of many openings of one vector."""
    (plaintext,) = LAYOUT.pack(values)
    ciphertexts = SMALL.tenant.service_key.encrypt_many([plaintext] * SAMPLES, seeded_coins("r"))
    coins = seeded_coins(f"masks {values} {mask_bits}")
    masks = [coins.integer_bits(mask_bits) for _ in ciphertexts]
    halves = half_open(PARAMETERS, ciphertexts, SMALL.master.theta, masks)
    return finish_open(PARAMETERS, halves, [c.t2 for c in ciphertexts], SMALL.secondary.theta)


VALUES = [[0, 0, 0], [1, 2, 3], [(1 << 47) - 1] * 3]


@pytest.mark.parametrize("values", VALUES)
def test_the_integers_that_su_opens_are_uniform(values: list[int]) -> None:
    opened = openings(values, LAYOUT.packed_bits + MASK_BITS)
    low = [number & 0xFFFF for number in opened]
    high = [number >> LAYOUT.packed_bits + MASK_BITS - 16 for number in opened]
    # Above the mask is a carry, with probability 2^-80.
    assert max(high) < 1 << 16
    assert is_uniform(low)
    assert is_uniform(high)
    for slot in range(3):
        assert is_uniform([number >> 48 * slot + 20 & 0xFFFF for number in opened])


def test_a_mask_as_long_as_the_slots_shows_the_value() -> None:
    opened = openings(VALUES[2], LAYOUT.packed_bits)
    assert not is_uniform([number >> LAYOUT.packed_bits - 15 & 0xFFFF for number in opened])


def test_the_view_of_an_opening_follows_from_the_opened_integer() -> None:
    # D = (1 + S·N)·T2^θ_S: the simulator needs S, T2 and SU's own key, and nothing of the plaintext.
    n, modulus = PARAMETERS.n, PARAMETERS.n_squared
    ciphertexts = SMALL.tenant.service_key.encrypt_many(LAYOUT.pack([5, 6, 7]), seeded_coins("view"))
    masks = [seeded_coins("rho").integer_bits(LAYOUT.packed_bits + MASK_BITS)]
    (half,) = half_open(PARAMETERS, ciphertexts, SMALL.master.theta, masks)
    (opened,) = finish_open(PARAMETERS, [half], [ciphertexts[0].t2], SMALL.secondary.theta)
    stripped = pow(ciphertexts[0].t2, SMALL.secondary.theta, modulus)
    assert half == (1 + opened * n) * stripped % modulus


@pytest.mark.parametrize("value", [0, 1])
def test_shares_of_opened_bits_are_balanced_and_their_messages_have_one_size(value: int) -> None:
    layout = SlotLayout.fitting(256, "bits", SAMPLES, 2, 2, 2)
    ciphertexts = SMALL.tenant.service_key.encrypt_many(layout.pack([value] * SAMPLES), seeded_coins("b"))
    masked = mask_vector(PARAMETERS, layout, ciphertexts, SMALL.master.theta, seeded_coins("m"))
    d = open_masked(PARAMETERS, layout, masked.masked, [c.t2 for c in ciphertexts], SMALL.secondary.theta)
    both = pair(SMALL, f"open {value}")
    received, sent = both.rows_of_mu(bit_choices(masked.digits))
    salt = both.su.salt("carries", array_bytes(d))
    su, corrections = share_bits_secondary(d, sent, both.su.reply_hash("carries", salt))
    mu = share_bits_master(masked.digits, received, corrections, both.mu.reply_hash("carries", salt))
    assert (mu ^ su == value).all()
    assert len(masked.masked) == layout.ciphertexts * PARAMETERS.component_bytes
    assert len(corrections) == SAMPLES // 8
    bits_of_message = np.unpackbits(np.frombuffer(corrections, dtype=np.uint8))
    assert all(are_balanced(bits) for bits in (mu, su, bits_of_message, *d.T, *masked.digits.T))


# --- multiply

WIDE = SAMPLES


def multiplied(bit: int, word: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any], bytes]:
    """Return MU's and SU's shares of one product many times, and the message to MU."""
    both = pair(SMALL, f"multiply {bit} {word}")
    shares_su = seeded_coins("shares").bits((WIDE, 1))
    shares_mu = shares_su ^ np.uint8(bit)
    received, sent = both.rows_of_mu(shares_mu.reshape(-1))
    table = np.full((1, 1), word, dtype=np.uint32)
    salt = both.su.salt("products", array_bytes(shares_su, table))
    own, corrections = send_row_sums(sent, shares_su, table, both.su.reply_hash("products", salt))
    hash_mu = both.mu.reply_hash("products", salt)
    return receive_row_sums(received, corrections, (WIDE, 1, 1), np.uint32, hash_mu), own, corrections


@pytest.mark.parametrize("bit", [0, 1])
@pytest.mark.parametrize("word", [0, 1, 0xFFFFFFFF])
def test_shares_of_products_are_uniform_and_the_message_too(bit: int, word: int) -> None:
    mu, su, corrections = multiplied(bit, word)
    assert (mu + su == bit * word).all()
    message = np.frombuffer(corrections, dtype="<u4")
    assert message.size == WIDE
    for words in (mu.reshape(-1), su.reshape(-1), message):
        assert is_uniform([int(word) & 0xFFFF for word in words])
        assert is_uniform([int(word) >> 16 for word in words])


# --- re-key


def rekeyed_by_su(value: int, count: int, *, masked: bool) -> list[int]:
    """Return the high 16 bits, as parts of N, of what SU opens of so many equal plaintexts."""
    small = small_tenant(owner_keys=True)
    tenant, owner, share = small.tenant, small.owner_key, small.secondary.strong_share
    assert owner is not None
    assert share is not None
    n, width = tenant.parameters.n, tenant.parameters.component_bytes
    chunk = owner.public.encrypt_many([value] * count, seeded_coins(f"owner {value}"))
    if masked:
        session = Session(tenant, "mu", small.master.seed, Subject("rekey"), rekey_plan(tenant, count))
        blinded, root_bytes = next(rekey_master(session, small.master, owner.public, chunk))
        t1s = [int.from_bytes(blinded[i : i + width], "big") for i in range(0, len(blinded), width)]
        half = width // 2
        roots = [int.from_bytes(root_bytes[i : i + half], "big") for i in range(0, len(root_bytes), half)]
        assert (len(blinded), len(root_bytes)) == (count * width, count * half)
    else:
        assert small.master.strong_share is not None
        t1s, roots = [c.t1 for c in chunk], root_partial(chunk, small.master.strong_share)
    opened = root_combine([Ciphertext(t1, 1) for t1 in t1s], roots, share)
    return [(number << 16) // n for number in opened]


@pytest.mark.parametrize("value", [0, 1, (1 << 255) // 3])
def test_the_plaintexts_that_su_opens_of_a_chunk_are_uniform(value: int) -> None:
    assert is_uniform(rekeyed_by_su(value, SAMPLES, masked=True))


def test_without_a_mask_su_would_read_the_chunk() -> None:
    assert not is_uniform(rekeyed_by_su(1, SAMPLES, masked=False))


# --- garble and seal

CIRCUIT = NaiveBayesArgmax((2, 2), classes=3, score_bits=8, label_bits=LABEL_BITS)


def garbled_labels(scores: tuple[int, int, int], mask_seed: str | None) -> tuple[list[int], list[int], int]:
    """Return the words that MU reads off many garblings of one input, SU's masks, and bytes sent."""
    batch = SAMPLES
    coins = seeded_coins(f"inputs {scores}")
    su_words = coins.words((batch, 3), np.uint32) & np.uint32(0xFF)
    mu_words = (np.array(scores, dtype=np.uint32) - su_words) & np.uint32(0xFF)
    query = np.tile(np.array([[1], [0], [0], [1]], dtype=np.uint8), (1, batch))
    query_su = coins.bits((4, batch))
    masks = np.zeros(batch, dtype=np.uint16)
    if mask_seed is not None:
        masks = seeded_coins(mask_seed).words(batch, np.uint16)
    own = {
        "scores_su": np.ascontiguousarray(bits_of_words(su_words.T, 8).transpose(2, 0, 1)),
        "query": query_su,
        "mask": np.ascontiguousarray(bits_of_words(masks, LABEL_BITS).T),
    }
    theirs = {
        "scores_mu": np.ascontiguousarray(bits_of_words(mu_words.T, 8).transpose(2, 0, 1)),
        "query": query ^ query_su,
    }
    assert {item.name for item in CIRCUIT.inputs() if item.owner is not Owner.GARBLER} == set(theirs)
    both = pair(SMALL, f"garble {scores} {mask_seed}")
    received, sent = both.choices_of_mu(CIRCUIT.choices(batch, theirs))
    reply = garble_reply(both.su, CIRCUIT, batch, sent, own, SMALL.secondary.sender.delta)
    (revealed,) = evaluate_garbled(both.mu, CIRCUIT, batch, received, reply)
    words = words_of_bits(np.ascontiguousarray(revealed.T)).tolist()
    return words, masks.tolist(), sum(len(section) for section in reply)


@pytest.mark.parametrize("scores", [(3, 2, 1), (1, 3, 2), (0, 0, 100)])
def test_the_words_that_mu_reads_are_uniform_whatever_the_label(scores: tuple[int, int, int]) -> None:
    words, masks, sent = garbled_labels(scores, "masks")
    label = scores.index(max(scores))
    assert {(word + mask) % (1 << LABEL_BITS) for word, mask in zip(words, masks, strict=True)} == {label}
    assert is_uniform(words)
    assert is_uniform(masks)
    assert sent == garbled_labels((3, 2, 1), None)[2]


def test_without_a_mask_mu_would_read_the_label() -> None:
    words, _, _ = garbled_labels((1, 3, 2), None)
    assert set(words) == {1}
    assert not is_uniform(words)


def sealed(
    shares_mu: list[int], shares_su: list[int], name: str
) -> tuple[list[Ciphertext], list[Ciphertext]]:
    key, layout = SMALL.client_key.public, SMALL.tenant.label_layout(len(shares_mu))
    reply = seal_secondary(key, layout, shares_su, seeded_coins(f"su {name}"))
    return reply, seal_master(key, layout, reply, shares_mu, seeded_coins(f"mu {name}"))


def test_what_the_client_opens_can_be_simulated_from_the_label() -> None:
    layout = SMALL.tenant.label_layout(SAMPLES)
    for label in (0, 1, 2):
        masks = seeded_coins(f"masks {label}").words(SAMPLES, np.uint16)
        words = np.uint16(label) - masks
        _, published = sealed(words.tolist(), masks.tolist(), str(label))
        opened = layout.unpack(SMALL.client_key.decrypt_many(published))
        # label + 2^16·(mask > label), and nothing else of the shares.
        simulated = [label + (int(mask > label) << LABEL_BITS) for mask in masks]
        assert opened == simulated


@pytest.mark.parametrize("shares", [([0, 0], [0, 0]), ([65535, 1], [7, 65535])])
def test_seals_have_one_size_and_differ_in_every_component(shares: tuple[list[int], list[int]]) -> None:
    reply, published = sealed(*shares, "sizes")
    assert len(reply) == len(published) == SMALL.tenant.label_layout(2).ciphertexts
    for before, after in zip(reply, published, strict=True):
        assert before.t1 != after.t1
        assert before.t2 != after.t2


Control = Callable[[], list[int]]
CONTROLS: dict[str, Control] = {
    "constant": lambda: [12345] * SAMPLES,
    "counting": lambda: list(range(SAMPLES)),
    "one bit fixed": lambda: [int(w) | 0x100 for w in seeded_coins(1).words(SAMPLES, np.uint16)],
    "slightly biased": lambda: [
        int(w) & 0x7FFF if i % 5 == 0 else int(w)
        for i, w in enumerate(seeded_coins(2).words(SAMPLES, np.uint16))
    ],
}


@pytest.mark.parametrize("control", CONTROLS.values(), ids=CONTROLS.keys())
def test_the_check_notices_what_is_not_uniform(control: Control) -> None:
    assert not is_uniform(control())


def test_the_check_passes_what_is_uniform() -> None:
    for seed in range(20):
        assert is_uniform(seeded_coins(seed).words(SAMPLES, np.uint16).tolist())
