"""SLT, secure less-than: CSP sees the difference, its sign drawn by lot, times a random factor.

The factor hides little: the length of the opened number tells that of the difference. That is why the
product compares in garbled circuits. It is measured as it was published.

Source:
    Liu et al. 2016 (DT-PKC), SLT.
"""

from benchmarks.baselines.epom.servers import Servers
from crypto.arithmetic import gcd
from crypto.parameters import Ciphertext

OPERATIONS = (
    {"Enc": 3, "Exp": 4, "PSDec1": 1, "PSDec2": 1},
    {"Enc": 2, "Exp": 5, "PSDec1": 1, "PSDec2": 1},
)
"""Of a run without and with flipped sign. CP encrypts 1, doubles both numbers, subtracts 2y from 2x + 1
or the other way round, and blinds; CSP encrypts the bit, which CP refreshes, or subtracts from 1."""
FULL_POWERS = 10
"""Either way, powers with |N| bits or more: the doublings are short, and the factor has |N|/4 bits."""
CIPHERTEXTS_SENT, HALVES_SENT = 2, 1


def less_than(servers: Servers, x: Ciphertext, y: Ciphertext) -> Ciphertext:
    """Return a ciphertext of 1 if x < y, else of 0; plaintexts are below 2^(|N|/4 − 2) in absolute value."""
    n, coins = servers.parameters.n, servers.coins
    one = servers.encrypt(1)
    left, right = servers.add(servers.times(x, 2), one), servers.times(y, 2)
    flipped = bool(coins.integer_bits(1))
    difference = servers.subtract(right, left) if flipped else servers.subtract(left, right)
    factor = 0
    while gcd(factor, n) != 1:
        factor = coins.integer_bits(n.bit_length() // 4 - 1)
    asked = [servers.times(difference, factor)]
    (opened,) = servers.open(asked, servers.half_open(asked))
    (bit,) = servers.reply([int(2 * opened > n)])
    return servers.subtract(one, bit) if flipped else servers.add(bit, servers.encrypt(0))
