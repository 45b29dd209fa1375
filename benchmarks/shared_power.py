"""`python -m benchmarks.shared_power`: one T2 for M ciphertexts under M keys, beside M ciphertexts of today.

A prototype of docs/decisions/0017-one-power-for-many-keys.md; no role uses it. The units have M service
keys h_j = g^θ_j with θ_j = θ_M,j + θ_S,j, all independent; T1_j = h_j^r (1 + m_j N), and T2 = g^r once.
Sums stay of that form, position by position. No key serves twice with one T2: T1_i / T1_j would give m_i −
m_j away.

Why it would be secure.

*Encryption.* Whoever holds θ' makes T1' = T2^θ' (1 + m'N), from T2 alone, exactly as the sender would have.
So an attacker on the vector is one on a single ciphertext: it takes its challenge for position k, draws the
other M − 1 keys itself and makes the other T1_j. By a hybrid over positions the advantage is at most M
times that on one ciphertext, 6 bits at M = 64, under the same assumption, short exponents included.

*A unit.* SU holds every θ_S,j, proven known as today. T1_j T2^−θ_S,j is the same scheme under MU's keys
h_M,j alone, which SU does not know; and the other way round.

*An opening.* SU's view is T2 and D_j = T2^θ_S,j (1 + S_j N) with S_j = m_j + ρ_j, the masks independent: a
function of T2, its own keys and values 2^-80-close to uniform. As today this needs T2 = ± g^r; else every
θ_j leaks.

*Proof of plaintext knowledge.* Weights w_j of 128 bits are hashed from context, N, g, all h_j, all T1_j and
T2. With H = Π h_j^w_j and T = Π T1_j^w_j the pair (T, T2) encrypts Σ w_j m_j under H, and today's proof is
made about it: A = (H^s (1 + uN), g^s), z = c r + s, y = c Σ w_j m_j + u. Two answers to challenges that
differ by δ give ρ = Δz/δ with T2 = ± g^ρ and T = ± H^ρ (1 + μN), by the argument in
`crypto.plaintext_proof`. T2 fixes h_j^ρ = T2^θ_j (θ_j is even), so that e_j = T1_j h_j^−ρ was fixed before
the weights, and Π e_j^w_j = ± (1 + μN). Modulo {±1} and the powers of 1 + N the residues of symbol +1 are a
group of order p'q': were an e_j not trivial there, at most one w_j in 2^128 would do. So T1_j = ± h_j^ρ (1
+ μ_j N) for every j, and whoever knows ρ computes all μ_j: one pair of answers extracts the vector. Zero
knowledge is as today: z hides c r with 80 bits, y is uniform.

*Cost.* M + 1 table powers to encrypt instead of 2M; M + 1 bases to verify instead of 2M + 2, and M table
powers for a whole batch.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median

from benchmarks.machine import this_machine
from benchmarks.report import number_text, seconds_text
from crypto.arithmetic import FixedBase, inverse, power, products_pairwise
from crypto.coins import Coins
from crypto.dtpkc import Ciphertext, PublicKey, draw_exponent, strip_key
from crypto.parameters import Parameters
from crypto.profiles import DEFAULT_PROFILE, PROFILES, Profile, profile

SIZES = (8, 16, 32, 64)
WINDOWS = range(2, 9)
TURNS, QUICK_TURNS = 7, 2
THREADS = 2


@dataclass(frozen=True, slots=True)
class SharedVector:
    """M plaintexts under M keys with one r: T1_j = h_j^r (1 + m_j N), and T2 = g^r once."""

    t1s: tuple[int, ...]
    t2: int


def encrypt_shared(
    parameters: Parameters, keys: Sequence[PublicKey], plaintexts: Sequence[int], coins: Coins
) -> SharedVector:
    """Encrypt each plaintext under its own key with the same r.

    Raises:
        ValueError: There are not as many keys as plaintexts, or one key comes twice.

    Security:
        Two plaintexts under one key and one r give their difference away.
    """
    if len({key.h for key in keys}) != len(plaintexts) or len(keys) != len(plaintexts):
        raise ValueError("every plaintext of a vector wants a key of its own")
    r = draw_exponent(parameters, coins)
    t1s = [
        parameters.power(key.h, r) * (1 + plaintext % parameters.n * parameters.n) % parameters.n_squared
        for key, plaintext in zip(keys, plaintexts, strict=True)
    ]
    return SharedVector(tuple(t1s), parameters.power(parameters.g, r))


def strip_shared(parameters: Parameters, vector: SharedVector, thetas: Sequence[int]) -> list[int]:
    """Return T1_j · T2^−θ_j for every j: a table of T2's inverse serves all powers."""
    modulus, bits = parameters.n_squared, parameters.profile.exponent_bits
    table = FixedBase(inverse(vector.t2, modulus), modulus, bits, best_window(bits, len(thetas)))
    return products_pairwise(vector.t1s, table.powers(thetas), modulus)


def best_window(exponent_bits: int, powers: int) -> int:
    """Return the window with the fewest multiplications for a table that is used so many times."""
    return min(WINDOWS, key=lambda w: -(-exponent_bits // w) * ((1 << w) - 1 + powers))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and return the exit code: 0 whatever the figures are."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shared_power", description=__doc__)
    parser.add_argument("--profile", choices=PROFILES, default=DEFAULT_PROFILE)
    parser.add_argument("--quick", action="store_true", help="two turns; not for quoting")
    options = parser.parse_args(arguments)
    chosen, machine = profile(options.profile), this_machine()
    print(f"{machine.date}, {machine.cpu}, load {machine.load:g}, profile `{chosen.name}`.\n")
    print(
        f"| M | today, CPU | shared, CPU | gain | gain in wall time, {THREADS} threads for today's powers | "
        "components sent |"
    )
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for size in SIZES:
        print(line(chosen, size, QUICK_TURNS if options.quick else TURNS), flush=True)
    return 0


def line(chosen: Profile, size: int, turns: int) -> str:
    """Measure one unit's half of opening M ciphertexts, both ways by turns; return a line of the table."""
    coins = Coins.fresh()
    # What a power costs depends on the size of N and not on its factors.
    n = coins.integer_bits(chosen.modulus_bits) | 1 << chosen.modulus_bits - 1 | 1

    def residue() -> int:
        return power(2, coins.integer_bits(2 * chosen.modulus_bits), n * n)

    parameters = Parameters(chosen, n, residue())
    pairs = [Ciphertext(residue(), residue()) for _ in range(size)]
    vector = SharedVector(tuple(pair.t1 for pair in pairs), pairs[0].t2)
    thetas = [draw_exponent(parameters, coins) for _ in range(size)]
    today, shared, spread = [], [], []
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in range(turns):
            today.append(_seconds(lambda: strip_key(parameters, pairs, thetas[0]), time.process_time))
            shared.append(_seconds(lambda: strip_shared(parameters, vector, thetas), time.process_time))
            wall = _seconds(lambda: strip_key(parameters, pairs, thetas[0], pool), time.perf_counter)
            alone = _seconds(lambda: strip_shared(parameters, vector, thetas), time.perf_counter)
            spread.append(wall / alone)
    gain = median(a / b for a, b in zip(today, shared, strict=True))
    cells = [
        str(size),
        f"{seconds_text(median(today))}",
        f"{seconds_text(median(shared))}",
        number_text(gain),
        number_text(median(spread)),
        f"{size + 1} instead of {2 * size}",
    ]
    return f"| {' | '.join(cells)} |"


def _seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    work()
    return clock() - start


if __name__ == "__main__":
    sys.exit(main())
