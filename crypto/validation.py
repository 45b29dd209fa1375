"""Cheap checks of numbers from outside: moduli, generators, public keys, ciphertexts.

They keep arithmetic within the group of units with Jacobi symbol +1. They cannot tell whether a
number is in the group that g generates (that is as hard as deciding composite residuosity), nor
whether it was negated: for that there are the proof of plaintext knowledge, even keys and the
total L. Errors name what failed and never a value.

Source:
    docs/protocols.md §1.
"""

from collections.abc import Sequence

from crypto.arithmetic import gcd, is_perfect_power, is_probable_prime, jacobi, remainder
from crypto.dtpkc import Ciphertext, Parameters
from crypto.errors import InvalidCiphertextError, InvalidKeyError
from crypto.primes import small_factor
from crypto.profiles import Profile

SMALL_FACTOR_BOUND = 1 << 16


def validate_ciphertexts(parameters: Parameters, ciphertexts: Sequence[Ciphertext]) -> None:
    """Check every component: 0 < T < N², coprime to N, Jacobi symbol +1; and T2 ≢ ±1 mod N.

    Args:
        parameters: What the ciphertexts claim to be under.
        ciphertexts: Shape (n,), from outside.

    Raises:
        InvalidCiphertextError: The first failure: which ciphertext, which component, which check.

    Security:
        Necessary and by far not sufficient: a T2 with a factor 1 − xN passes, and opens to
        V + x(θ_M + θ_S). Verify the proof of plaintext knowledge too, before any secret exponent
        touches a ciphertext.

    Cost:
        One reduction mod N and one Jacobi symbol a component, no power. Coprimality comes free:
        the symbol is 0 if and only if there is a common factor.
    """
    n, n_squared = parameters.n, parameters.n_squared
    for index, ciphertext in enumerate(ciphertexts):
        for name, component in (("T1", ciphertext.t1), ("T2", ciphertext.t2)):
            failed = _failed_check(component, n, n_squared)
            if failed:
                raise InvalidCiphertextError(f"ciphertext {index}: {name} {failed}")
        if remainder(ciphertext.t2, n) in {1, n - 1}:
            raise InvalidCiphertextError(f"ciphertext {index}: T2 is 1 or −1 mod N")


def validate_modulus(n: int, profile: Profile) -> None:
    """Check a foreign modulus: exact size, odd, no small factor, composite, no perfect power.

    Raises:
        InvalidKeyError: The first check that fails.

    Security:
        Says nothing about the factors' form. Whoever dealt the modulus is trusted for that.

    Cost:
        One gcd with the primes below 2^16, a compositeness test and the roots of n; once per
        configuration.
    """
    if n < 0 or n.bit_length() != profile.modulus_bits:
        raise InvalidKeyError(f"the modulus has not exactly {profile.modulus_bits} bits")
    if n % 2 == 0:
        raise InvalidKeyError("the modulus is even")
    if small_factor(n, min(SMALL_FACTOR_BOUND, 1 << (profile.prime_bits - 1))) is not None:
        raise InvalidKeyError("the modulus has a small factor")
    if is_probable_prime(n):
        raise InvalidKeyError("the modulus is prime")
    if is_perfect_power(n):
        raise InvalidKeyError("the modulus is a perfect power")


def validate_generator(parameters: Parameters) -> None:
    """Check a foreign g: in range, coprime, Jacobi symbol +1, and not 1 modulo a factor of N.

    Raises:
        InvalidKeyError: The first check that fails.
    """
    _validate_element("generator", parameters.g, parameters)


def validate_parameters(parameters: Parameters) -> None:
    """Check a foreign modulus and its generator.

    Raises:
        InvalidKeyError: The first check that fails.
    """
    validate_modulus(parameters.n, parameters.profile)
    validate_generator(parameters)


def validate_public_key(parameters: Parameters, h: int) -> None:
    """Check a foreign h before it becomes a `PublicKey`; its proof of knowledge comes after.

    Raises:
        InvalidKeyError: The first check that fails.
    """
    _validate_element("public key", h, parameters)


def _validate_element(name: str, value: int, parameters: Parameters) -> None:
    n = parameters.n
    failed = _failed_check(value, n, parameters.n_squared)
    if failed:
        raise InvalidKeyError(f"the {name} {failed}")
    # An element of order 2 or of order 1 modulo one prime would hide nothing there.
    if gcd(value % n - 1, n) != 1 or gcd(value % n + 1, n) != 1:
        raise InvalidKeyError(f"the {name} is 1 or −1 modulo a factor of N")


def _failed_check(component: int, n: int, n_squared: int) -> str | None:
    if not 0 < component < n_squared:
        return "is out of range"
    symbol = jacobi(component, n)
    if symbol == 0:
        return "is not coprime to N"
    return None if symbol == 1 else "has not the Jacobi symbol +1"
