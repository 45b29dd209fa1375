"""The blocks of the tree learner: both units' shares add up to what plain integers give."""

import numpy as np
import numpy.typing as npt
import pytest
from doubles import seeded_coins
from linked_blocks import pair
from tenants import small_tenant

from crypto.errors import LocalProtocolError, RemoteProtocolError
from crypto.packing import SlotLayout
from roles.building_blocks.bit_matrices import own_product, receive_columns, send_columns
from roles.building_blocks.counting_products import (
    receive_counts,
    send_counts,
    words_of_shared_bits_receiver,
    words_of_shared_bits_sender,
)
from roles.building_blocks.opening import mask_vector, open_masked
from roles.building_blocks.seal import seal_master, seal_secondary
from roles.building_blocks.square_sums import (
    SquareShape,
    count_choices,
    receive_squares,
    send_squares,
)
from roles.building_blocks.vectors import ZERO, Segment, decode_t2s, encode_t2s, multiply_in
from roles.building_blocks.word_opening import (
    carry_choices,
    share_words_master,
    share_words_secondary,
)
from roles.session import array_bytes

SMALL = small_tenant()
Words = npt.NDArray[np.uint32]


@pytest.mark.parametrize("holder", ["mu", "su"])
@pytest.mark.parametrize(("inner", "features", "records"), [(1, 1, 1), (3, 5, 9), (4, 7, 64)])
def test_bit_matrices(holder: str, inner: int, features: int, records: int) -> None:
    coins = seeded_coins(f"{inner} {records}")
    s = coins.bits((inner, features))
    z = coins.bits((records, features))
    both = pair(SMALL, f"{holder} {records}")
    received, sent = (both.rows_of_mu if holder == "su" else both.rows_of_su)(s.reshape(-1))
    session = both.su if holder == "su" else both.mu
    salt = session.salt("columns", array_bytes(z))
    own, corrections = send_columns(sent, z, inner, session.reply_hash("columns", salt))
    theirs = receive_columns(received, corrections, inner, records, both.mu.reply_hash("columns", salt))
    expected = s.astype(int) @ z.astype(int).T % 2
    np.testing.assert_array_equal(own ^ theirs, expected)
    np.testing.assert_array_equal(own_product(s, z), expected)


def test_bits_become_words() -> None:
    coins = seeded_coins("b2a")
    mine, theirs = coins.bits(50), coins.bits(50)
    both = pair(SMALL, "b2a")
    received, sent = both.rows_of_mu(mine)
    salt = both.su.salt("words", array_bytes(theirs))
    own, corrections = words_of_shared_bits_sender(sent, theirs, both.su.reply_hash("words", salt))
    other = words_of_shared_bits_receiver(received, corrections, both.mu.reply_hash("words", salt))
    assert (own + other).tolist() == (mine ^ theirs).tolist()


@pytest.mark.parametrize(("records", "kinds", "width"), [(1, 1, 1), (20, 3, 4), (200, 2, 7)])
def test_counts(records: int, kinds: int, width: int) -> None:
    coins = seeded_coins(f"counts {records}")
    g = [coins.bits((records, kinds)) for _ in range(2)]
    a = [coins.words((records, width), np.uint32) for _ in range(2)]
    total = np.zeros((kinds, width), dtype=np.uint32)
    for holder in (0, 1):
        both = pair(SMALL, f"counts {holder} {records}")
        received, sent = (both.rows_of_su, both.rows_of_mu)[holder](g[1 - holder].reshape(-1))
        session = (both.mu, both.su)[holder]
        salt = session.salt("counts", array_bytes(g[holder], a[holder]))
        own, corrections = send_counts(sent, g[holder], a[holder], session.reply_hash("counts", salt))
        theirs = receive_counts(received, corrections, records, width, session.reply_hash("counts", salt))
        total += own + theirs
    expected = (g[0] ^ g[1]).T.astype(object) @ (a[0].astype(object) + a[1].astype(object))
    assert total.tolist() == (expected % (1 << 32)).tolist()


@pytest.mark.parametrize(("leaves", "tests", "classes"), [(1, 1, 2), (3, 4, 3)])
def test_sums_of_squares(leaves: int, tests: int, classes: int) -> None:
    coins = seeded_coins(f"squares {leaves}")
    null = coins.words((leaves, 1, classes), np.uint32) % np.uint32(65535 // classes)
    passed = coins.words((leaves, tests, classes), np.uint32) % (null + np.uint32(1))
    counts = np.concatenate([passed, null], axis=1)
    mine: Words = coins.words(counts.shape, np.uint32)
    theirs = counts - mine
    both = pair(SMALL, f"squares {leaves}")
    shape = SquareShape(leaves, tests, classes)
    choices = count_choices(theirs)
    assert len(choices) == shape.choices
    received, sent = both.rows_of_su(choices)
    cut = shape.test_rows
    split_received = tuple(
        type(received)(received.rows[part], received.choices[part]) for part in (slice(cut), slice(cut, None))
    )
    split_sent = tuple(type(sent)(sent.rows[part], sent.delta) for part in (slice(cut), slice(cut, None)))
    salt = both.mu.salt("squares", array_bytes(mine))
    own, corrections = send_squares(
        (split_sent[0], split_sent[1]), mine, both.mu.request_hash("squares", salt)
    )
    assert tuple(len(part) for part in corrections) == shape.correction_bytes
    other = receive_squares(
        (split_received[0], split_received[1]), corrections, theirs, both.mu.request_hash("squares", salt)
    )
    whole = counts.astype(np.int64)
    failed = whole[:, -1:] - whole[:, :-1]
    for shares, side in zip(
        zip(own.sides(), other.sides(), strict=True),
        (np.concatenate([whole[:, -1:], whole[:, :-1]], axis=1), failed),
        strict=True,
    ):
        expected = (side**2).sum(axis=2)
        result = shares[0] + shares[1]
        np.testing.assert_array_equal(result[:, -expected.shape[1] :], expected)
        assert not result[:, : result.shape[1] - expected.shape[1]].any()


def test_sealed_words_are_opened_exactly_after_many_seals() -> None:
    key, parameters = SMALL.tenant.service_key, SMALL.tenant.parameters
    layout = SlotLayout.fitting(256, "words", 7, 33, 48, (1 << 48) - 1)
    coins = seeded_coins("words")
    vector = (ZERO,) * layout.ciphertexts
    expected = np.zeros(7, dtype=np.uint32)
    for _ in range(9):
        values = coins.words(7, np.uint32)
        share = coins.words(7, np.uint32)
        # The values of small counts and of shares that wrap around.
        values[:4] %= np.uint32(1000)
        sealed = seal_secondary(key, layout, share.tolist(), coins)
        added = seal_master(key, layout, sealed, (values - share).tolist(), coins)
        vector = multiply_in(parameters, vector, 0, added)
        expected += values
    masked = mask_vector(parameters, layout, vector, SMALL.master.theta, coins)
    t2s = decode_t2s(parameters, encode_t2s(parameters, vector))
    digits = open_masked(parameters, layout, masked.masked, t2s, SMALL.secondary.theta)
    both = pair(SMALL, "words")
    received, sent = both.rows_of_mu(carry_choices(masked.digits))
    salt = both.su.salt("carries", array_bytes(digits))
    theirs, corrections = share_words_secondary(digits, sent, both.su.reply_hash("carries", salt))
    mine = share_words_master(masked.digits, received, corrections, both.mu.reply_hash("carries", salt))
    assert (mine + theirs).tolist() == expected.tolist()


def test_segments_place_values_in_the_ciphertexts_they_touch() -> None:
    whole = SlotLayout.fitting(256, "bits", 200, 3, 3, 4)
    assert whole.slots == 58
    segment = Segment(whole, 60, 60)
    assert (segment.first, segment.ciphertexts) == (1, 2)
    placed = segment.placed(np.arange(1, 61, dtype=np.uint32))
    assert placed == [0, 0, *range(1, 61), *[0] * (2 * 58 - 62)]
    assert segment.placed(np.array([7], dtype=np.uint32))[:4] == [0, 0, 7, 0]
    with pytest.raises(LocalProtocolError):
        segment.placed(np.zeros(61, dtype=np.uint32))


def test_components_out_of_range_are_refused() -> None:
    parameters = SMALL.tenant.parameters
    for value in (0, parameters.n_squared):
        with pytest.raises(RemoteProtocolError):
            decode_t2s(parameters, value.to_bytes(parameters.component_bytes, "big"))
