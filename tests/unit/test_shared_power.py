"""The prototype of one T2 for many keys opens to the plaintexts, and refuses what would give them away."""

import pytest
from toy_keys import toy_keys

from benchmarks.shared_power import best_window, encrypt_shared, line, strip_shared
from crypto.coins import Coins
from crypto.dtpkc import WeakPrivateKey, log_total
from crypto.key_generation import generate_weak_key
from crypto.profiles import profile
from crypto.service_key import joint_key

SIZE = 5


def test_a_vector_opens_by_the_two_units_halves() -> None:
    parameters, coins = toy_keys(512).parameters, Coins.fresh()

    def keys() -> list[WeakPrivateKey]:
        return [generate_weak_key(parameters, coins) for _ in range(SIZE)]

    master, secondary = keys(), keys()
    joint = [joint_key(a.public, b.public) for a, b in zip(master, secondary, strict=True)]
    plaintexts = [1, 0, 7**20, 3, 12345]
    vector = encrypt_shared(parameters, joint, plaintexts, coins)
    half = strip_shared(parameters, vector, [key.theta for key in master])
    again = type(vector)(tuple(half), vector.t2)
    opened = strip_shared(parameters, again, [key.theta for key in secondary])
    assert [log_total(value, parameters.n) for value in opened] == plaintexts
    assert len({vector.t2, *vector.t1s}) == SIZE + 1


def test_no_key_serves_twice() -> None:
    keys, coins = toy_keys(512), Coins.fresh()
    parameters = keys.parameters
    one, other = (generate_weak_key(parameters, coins).public for _ in range(2))
    with pytest.raises(ValueError, match="key of its own"):
        encrypt_shared(parameters, [one, one], [1, 2], coins)
    with pytest.raises(ValueError, match="key of its own"):
        encrypt_shared(parameters, [one, other], [1], coins)


def test_the_window_grows_with_the_number_of_powers() -> None:
    windows = [best_window(256, number) for number in (1, 8, 64, 1000)]
    assert windows == sorted(windows)
    assert windows[0] < windows[-1]


def test_a_line_has_the_components_that_are_sent() -> None:
    assert line(profile("toy"), 8, 2).endswith("| 9 instead of 16 |")
