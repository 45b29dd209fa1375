"""What can be computed on DT-PKC ciphertexts without any key.

None of these functions checks that its operands are valid, or under the same key: foreign
ciphertexts pass `crypto.validation` and a proof of plaintext knowledge first.

Source:
    docs/protocols.md §1.
"""

from collections.abc import Sequence

from crypto.arithmetic import inverses, powers, product
from crypto.errors import InvalidCiphertextError
from crypto.parameters import Ciphertext, Parameters


def add(parameters: Parameters, a: Ciphertext, b: Ciphertext) -> Ciphertext:
    """Return a ciphertext of the sum of two plaintexts under the same key."""
    return total(parameters, [a, b])


def add_plain(parameters: Parameters, ciphertext: Ciphertext, plaintext: int) -> Ciphertext:
    """Return a ciphertext of the sum with a known integer; T2 stays as it is."""
    n = parameters.n
    return Ciphertext(ciphertext.t1 * (1 + plaintext % n * n) % parameters.n_squared, ciphertext.t2)


def negate(parameters: Parameters, ciphertext: Ciphertext) -> Ciphertext:
    """Return a ciphertext of the negated plaintext.

    Raises:
        InvalidCiphertextError: A component is not invertible.
    """
    try:
        t1, t2 = inverses([ciphertext.t1, ciphertext.t2], parameters.n_squared)
    except ValueError:
        raise InvalidCiphertextError("a component is not coprime to N") from None
    return Ciphertext(t1, t2)


def scale(parameters: Parameters, ciphertext: Ciphertext, factor: int) -> Ciphertext:
    """Return a ciphertext of the plaintext times a known integer of either sign.

    Raises:
        InvalidCiphertextError: The factor is negative and a component not invertible.

    Security:
        Deterministic: whoever sees both ciphertexts can test a guess of the factor. Refresh
        the result if the factor is secret; a factor of 0 gives (1, 1), which is no valid
        ciphertext until refreshed.

    Cost:
        Two powers as long as the factor.
    """
    if factor < 0:
        return scale(parameters, negate(parameters, ciphertext), -factor)
    return Ciphertext(*powers([ciphertext.t1, ciphertext.t2], factor, parameters.n_squared))


def total(parameters: Parameters, ciphertexts: Sequence[Ciphertext]) -> Ciphertext:
    """Return a ciphertext of the sum of all plaintexts, at least one, under the same key.

    Raises:
        ValueError: There are none: the only neutral ciphertext, (1, 1), is not a valid one.
    """
    if not ciphertexts:
        raise ValueError("the sum of no ciphertexts has no valid ciphertext")
    return Ciphertext(
        product([ciphertext.t1 for ciphertext in ciphertexts], parameters.n_squared),
        product([ciphertext.t2 for ciphertext in ciphertexts], parameters.n_squared),
    )
