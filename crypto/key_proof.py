"""Proof that a unit knows the private key of the public key it publishes.

Everyone encrypts under the product of both units' keys. A unit that could publish a key of its
choice without knowing its exponent, such as g^θ divided by the peer's key, would open everything alone;
the proof forbids that. It is bound to tenant, role and party, so that nobody passes off the
peer's key and proof as his own.
"""

from dataclasses import dataclass

from crypto.arithmetic import jacobi
from crypto.coins import Coins, digest
from crypto.dtpkc import Parameters, PublicKey, WeakPrivateKey
from crypto.errors import ProofError
from crypto.profiles import MASK_BITS, SECURITY_BITS, Profile

CHALLENGE_BITS = SECURITY_BITS
"""Width of a challenge: a forger who does not know the secret guesses it."""


def commitment_bits(profile: Profile) -> int:
    """Return the length of k: that of eθ and 80 bits more, which hide it."""
    return profile.exponent_bits + CHALLENGE_BITS + MASK_BITS


def key_proof_bytes(profile: Profile) -> int:
    """Return the wire size of a key proof."""
    return profile.component_bytes + _response_bytes(profile)


@dataclass(frozen=True, slots=True)
class KeyProof:
    """Commitment g^k and response k + eθ; the challenge e is a hash."""

    commitment: int
    z: int

    def encode(self, parameters: Parameters) -> bytes:
        """Return commitment ‖ response, big-endian, in widths fixed by the profile.

        Raises:
            ProofError: A value does not fit its width.
        """
        try:
            return self.commitment.to_bytes(parameters.component_bytes, "big") + self.z.to_bytes(
                _response_bytes(parameters.profile), "big"
            )
        except OverflowError:
            raise ProofError("a value of the proof does not fit its width") from None

    @classmethod
    def decode(cls, parameters: Parameters, data: bytes) -> "KeyProof":
        """Return the proof of an encoding; values are checked by `verify_key`.

        Raises:
            ProofError: The length is not that of a key proof.
        """
        if len(data) != key_proof_bytes(parameters.profile):
            raise ProofError(f"{len(data)} bytes are no key proof")
        width = parameters.component_bytes
        return cls(int.from_bytes(data[:width], "big"), int.from_bytes(data[width:], "big"))


def prove_key(key: WeakPrivateKey, context: bytes, coins: Coins) -> KeyProof:
    """Prove knowledge of θ with h = g^θ.

    Args:
        key: The key pair.
        context: Framed tenant, role and party.
        coins: Fresh ones; they are mixed with the statement and θ, so that even repeated coins
            do not answer two challenges with one k.

    Security:
        The response is 2^-80-close to a value independent of θ.

    Cost:
        One power with |θ| + 208 bits.

    Source:
        Girault, Poupard, Stern, "On the fly authentication and signature schemes based on
        groups of unknown order", 2006; docs/protocols.md §1, "The service key".
    """
    public, parameters = key.public, key.public.parameters
    binding = _statement_digest(public, context)
    secret = digest("privml/key-proof/secret/1", key.theta)
    nonces = Coins.from_seed(coins.bytes(32), ("privml/key-proof/nonce/1",), binding, secret)
    k = nonces.integer_bits(commitment_bits(parameters.profile))
    commitment = parameters.power(parameters.g, k)
    return KeyProof(commitment, k + _challenge(parameters, binding, commitment) * key.theta)


def verify_key(public: PublicKey, context: bytes, proof: KeyProof) -> None:
    """Verify that whoever made the proof knows θ with h = ±g^θ.

    The sign is left open for the reason given in `crypto.plaintext_proof`; it does no harm,
    because L is total. That θ is even and short is its owner's own interest and not shown.

    Args:
        public: The key, itself validated (`crypto.validation`).
        context: Framed tenant, role and party, as the verifier knows them.
        proof: From the party.

    Raises:
        ProofError: The response is too long, the commitment no residue of symbol +1, or the
            equation g^z = ± commitment · h^e does not hold.

    Cost:
        One power with |θ| + 209 bits and one with 128.

    Source:
        Girault, Poupard, Stern 2006; docs/protocols.md §1, "The service key".
    """
    parameters = public.parameters
    if not (proof.z >= 0 and proof.z.bit_length() <= commitment_bits(parameters.profile) + 1):
        raise ProofError("the response is longer than an honest one")
    if not valid_commitment(proof.commitment, parameters):
        raise ProofError("the commitment is not a residue of symbol +1")
    e = _challenge(parameters, _statement_digest(public, context), proof.commitment)
    right = proof.commitment * parameters.power(public.h, e) % parameters.n_squared
    if not equal_up_to_sign(parameters.power(parameters.g, proof.z), right, parameters):
        raise ProofError("the proof of knowledge of a private key does not verify")


def equal_up_to_sign(a: int, b: int, parameters: Parameters) -> bool:
    """Return whether a = ±b mod N², both reduced: equality as far as proofs can show it."""
    return a == b or a + b == parameters.n_squared


def valid_commitment(a: int, parameters: Parameters) -> bool:
    """Return whether a residue is reduced, coprime to N and of Jacobi symbol +1."""
    return 0 < a < parameters.n_squared and jacobi(a % parameters.n, parameters.n) == 1


def _statement_digest(public: PublicKey, context: bytes) -> bytes:
    parameters = public.parameters
    width = parameters.component_bytes
    numbers = (number.to_bytes(width, "big") for number in (parameters.n, parameters.g, public.h))
    return digest("privml/key-proof/1/statement", context, *numbers)


def _challenge(parameters: Parameters, binding: bytes, commitment: int) -> int:
    encoded = commitment.to_bytes(parameters.component_bytes, "big")
    return int.from_bytes(digest("privml/key-proof/1", binding, encoded)[: CHALLENGE_BITS // 8], "big")


def _response_bytes(profile: Profile) -> int:
    return (commitment_bits(profile) + 1 + 7) // 8
