"""SMD, secure multiplication: CSP multiplies masked factors, CP takes the masks off again.

    h = (x + r_x)(y + r_y),  S = R_x − r_y x,  T = R_y − r_x y,  xy = h + S + T − r_x r_y − R_x − R_y

Source:
    Liu et al. 2016 (DT-PKC), SMD.
"""

from collections.abc import Sequence

from benchmarks.baselines.epom.servers import Servers
from crypto.parameters import Ciphertext

OPERATIONS = {"Enc": 8, "Exp": 5, "PSDec1": 4, "PSDec2": 4}
"""Of one multiplication: CP encrypts r_x, r_y, R_x, R_y and r_x r_y, takes x to N − r_y, y to N − r_x and
three ciphertexts to N − 1; CSP encrypts h, S and T."""
FULL_POWERS = 34
"""Two of |N| bits for an encryption or a power of a ciphertext, one of 3|N| for a partial opening."""
CIPHERTEXTS_SENT, HALVES_SENT = 7, 4


def multiply(servers: Servers, pairs: Sequence[tuple[Ciphertext, Ciphertext]]) -> list[Ciphertext]:
    """Return a ciphertext of the product of every pair, all of them in one round trip."""
    n, coins = servers.parameters.n, servers.coins
    asked, masks = [], []
    for x, y in pairs:
        mask_x, mask_y, blind_x, blind_y = (coins.below(n) for _ in range(4))
        blinds = servers.encrypt(blind_x), servers.encrypt(blind_y)
        masks.append((mask_x * mask_y % n, blinds))
        asked += [
            servers.add(x, servers.encrypt(mask_x)),
            servers.add(y, servers.encrypt(mask_y)),
            servers.add(blinds[0], servers.times(x, -mask_y)),
            servers.add(blinds[1], servers.times(y, -mask_x)),
        ]
    opened = servers.open(asked, servers.half_open(asked))
    products = []
    for place, (mask, blinds) in enumerate(masks):
        left, right, *rest = opened[4 * place : 4 * place + 4]
        replied = servers.reply([left * right % n, *rest])
        less = [servers.negate(c) for c in (servers.encrypt(mask), *blinds)]
        products.append(servers.add(*replied, *less))
    return products
