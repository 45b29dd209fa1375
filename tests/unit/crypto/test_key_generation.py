from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from doubles import seeded_coins
from toy_keys import toy_keys

from crypto.arithmetic import gcd, is_probable_prime, jacobi
from crypto.key_generation import generate_parameters, generate_weak_key
from crypto.profiles import Profile, profile
from crypto.validation import validate_parameters, validate_public_key


@pytest.mark.parametrize("bits", [32, 40, 64, 128, 512])
def test_parameters_have_exact_size_and_a_generator_of_full_order(bits: int) -> None:
    for seed in range(3):
        parameters, strong = generate_parameters(
            Profile("sized", bits, bits // 2, insecure=True), seeded_coins(seed)
        )
        n, g = parameters.n, parameters.g

        assert n.bit_length() == bits
        assert all(is_probable_prime(x) for x in (strong.p, strong.q, strong.p // 2, strong.q // 2))
        assert strong.p != strong.q
        assert pow(g, strong.order, parameters.n_squared) == 1
        assert gcd(g % n - 1, n) == 1
        # The paper's −a^{2N} would have order 2p'q'; both have Jacobi symbol +1.
        assert jacobi(g % n, n) == 1


def test_generated_keys_pass_validation_and_work_in_all_ways() -> None:
    coins = seeded_coins("toy")
    with ThreadPoolExecutor(2) as pool:
        parameters, strong = generate_parameters(profile("toy"), coins, pool)
    key = generate_weak_key(parameters, coins)

    validate_parameters(parameters)
    validate_public_key(parameters, key.public.h)
    ciphertext = key.public.encrypt(-5, coins)
    assert key.decrypt(ciphertext) == strong.decrypt(ciphertext) == parameters.n - 5


def test_the_same_coins_make_the_same_keys() -> None:
    first = generate_parameters(profile("toy"), seeded_coins("same"))
    second = generate_parameters(profile("toy"), seeded_coins("same"))

    assert first == second


def test_progress_is_heard_for_both_primes() -> None:
    calls: list[int] = []
    generate_parameters(
        profile("toy"), seeded_coins("progress"), progress=lambda tested, _expected: calls.append(tested)
    )

    # The count starts anew for q.
    assert sum(later <= earlier for earlier, later in pairwise(calls)) == 1


def test_weak_keys_are_even_within_their_bound_and_spread_over_it() -> None:
    parameters, coins = toy_keys(64).parameters, seeded_coins("weak")
    thetas = [generate_weak_key(parameters, coins).theta for _ in range(200)]

    assert all(theta % 2 == 0 and 0 < theta < 1 << 32 for theta in thetas)
    assert {theta >> 29 for theta in thetas} == set(range(8))
    assert len({theta % 4 for theta in thetas}) == 2
