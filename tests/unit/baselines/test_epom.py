"""The published blocks of DT-PKC's toolkit: right results, and the operations that their steps name."""

from collections import Counter

import pytest
from doubles import seeded_coins
from toy_keys import toy_keys

from benchmarks.baselines.epom import comparison, multiplication
from benchmarks.baselines.epom.comparison import less_than
from benchmarks.baselines.epom.multiplication import multiply
from benchmarks.baselines.epom.naive_bayes import (
    classify,
    comparisons_per_query,
    products_per_query,
    products_per_record,
    round_trips_per_query,
    train,
)
from benchmarks.baselines.epom.servers import Servers
from crypto.counting import counting
from crypto.dtpkc import signed

LENGTH = 256
NUMBER, HALF = 128, 64  # bytes of a ciphertext and of a component


def servers(seed: str) -> Servers:
    keys = toy_keys(LENGTH)
    return Servers.deal(keys.parameters.n, keys.parameters.g, keys.strong, seeded_coins(seed))


def opened(found: Servers, ciphertext: object) -> int:
    return signed(found.key.decrypt(ciphertext), found.parameters.n)  # type: ignore[arg-type]


def test_either_share_has_three_times_the_length_of_the_modulus() -> None:
    lengths = {share.exponent.bit_length() for share in servers("shares").shares}
    assert all(3 * LENGTH - 16 < length <= 3 * LENGTH for length in lengths)


@pytest.mark.parametrize(("x", "y"), [(0, 0), (3, 5), (-7, 6), (1 << 60, -(1 << 60))])
def test_a_product_is_right_and_costs_what_its_steps_say(x: int, y: int) -> None:
    found = servers(f"product {x} {y}")
    factors = [(found.encrypt(x), found.encrypt(y))] * 2
    found.transcript.operations.clear()
    with counting() as tally:
        products = multiply(found, factors)
    assert [opened(found, product) for product in products] == [x * y] * 2
    assert found.transcript.operations == {
        name: 2 * times for name, times in multiplication.OPERATIONS.items()
    }
    # An encryption and a power of a ciphertext are two powers, all as long as N; a partial opening is one.
    steps = multiplication.OPERATIONS
    powers = 2 * steps["Enc"] + 2 * steps["Exp"] + steps["PSDec1"] + steps["PSDec2"]
    assert powers == multiplication.FULL_POWERS
    assert tally.powers_full == 2 * powers
    assert tally.powers_short == tally.fixed_base == 0
    sent = multiplication.CIPHERTEXTS_SENT * NUMBER + multiplication.HALVES_SENT * HALF
    assert found.transcript.total_bytes == 2 * sent
    assert found.transcript.round_trips == 1


@pytest.mark.parametrize(("x", "y"), [(0, 0), (0, 1), (1, 0), (-3, 2), (2, -3), (1 << 50, (1 << 50) + 1)])
def test_a_comparison_is_right_and_costs_what_its_steps_say(x: int, y: int) -> None:
    seen = set()
    for attempt in range(12):
        found = servers(f"comparison {x} {y} {attempt}")
        a, b = found.encrypt(x), found.encrypt(y)
        found.transcript.operations.clear()
        with counting() as tally:
            bit = less_than(found, a, b)
        assert opened(found, bit) == (x < y)
        seen.add(comparison.OPERATIONS.index(dict(found.transcript.operations)))
        assert tally.powers_full == comparison.FULL_POWERS
        assert found.transcript.total_bytes == comparison.CIPHERTEXTS_SENT * NUMBER + HALF
        assert found.transcript.round_trips == 1
    assert seen == {0, 1}


def test_naive_bayes_counts_a_record_and_finds_the_best_class() -> None:
    found = servers("bayes")
    bits, label = [1, 0, 0, 1], [0, 1, 0]
    table = [[found.encrypt(3) for _ in label] for _ in bits]
    totals = [found.encrypt(7) for _ in label]
    row, flags = [found.encrypt(bit) for bit in bits], [found.encrypt(flag) for flag in label]
    found.transcript.operations.clear()
    grown, together = train(found, table, totals, row, flags)
    assert [[opened(found, c) for c in line] for line in grown] == [
        [3 + bit * flag for flag in label] for bit in bits
    ]
    assert [opened(found, c) for c in together] == [7, 8, 7]
    products = products_per_record(len(bits), len(label))
    expected = Counter({name: products * times for name, times in multiplication.OPERATIONS.items()})
    assert found.transcript.operations == expected
    assert found.transcript.round_trips == 1


@pytest.mark.parametrize("best", [0, 1, 2])
def test_a_query_takes_the_products_and_comparisons_that_are_counted(best: int) -> None:
    found = servers(f"query {best}")
    classes, bits = 3, [0, 1, 1]
    logarithms = [[found.encrypt(-10 + (c == best)) for c in range(classes)] for _ in bits]
    priors, row = [found.encrypt(-5)] * classes, [found.encrypt(bit) for bit in bits]
    found.transcript.operations.clear()
    number = classify(found, logarithms, priors, row)
    assert opened(found, number) == best
    done = found.transcript.operations
    assert (
        done["PSDec1"]
        == done["PSDec2"]
        == 4 * products_per_query(len(bits), classes) + comparisons_per_query(classes)
    )
    assert found.transcript.round_trips == round_trips_per_query(classes)
