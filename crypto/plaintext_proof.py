"""Proof that the sender of ciphertexts knows their plaintexts.

DT-PKC is malleable and its opening trusts T2. Without this proof a ciphertext with
T2 = g^r (1 − xN) opens to its plaintext plus x times the private key, and whoever copies, shifts or
re-randomises somebody else's query has it opened for himself. So a chunk or a query carries one
proof for all its ciphertexts, bound to its tenant, sender and place, and nobody applies a
secret exponent before the proof is verified.

For T_i = (h^r_i (1 + m_i N), g^r_i) the prover commits to A = (h^s (1 + uN), g^s) and answers the
challenges c_i, 128 bits each, with z = Σ c_i r_i + s over the integers and y = Σ c_i m_i + u mod N. The
verifier accepts if z is no longer than an honest one and, for each component up to its sign,

    h^z (1 + yN) = ± A_1 Π T_{1,i}^c_i     and     g^z = ± A_2 Π T_{2,i}^c_i     mod N².

What an accepted proof shows. N is a product of safe primes p = 2p' + 1 and q = 2q' + 1, both 3 mod
4, so the residues with Jacobi symbol +1 are {±1} × a group of order p'q'N: no order but 2 has a small
prime factor. Two answers to challenges that differ in place i only, by δ < 2^128, give
T_i^δ = (± h^Δz (1 + Δy N), ± g^Δz). δ divides Δz, or else the prover has computed a root of g and so
solved the strong RSA problem. δ-th roots are unique up to sign, δ being coprime to p'q'N,
so T_i = (± h^ρ (1 + μN), ± g^ρ) with ρ = Δz/δ and μ = Δy/δ mod N, both known to the prover. A
factor 1 + xN in T2, whose order is at least the smaller of p and q, is excluded.

Why signs do not count. What becomes of −1, the only element of order 2, depends on the parity of the
challenges, and in a batch on that of the weights. Exact equality would accept a −T1 for half of all
challenges, and the verdict of a batch could differ from that of the auditor who checks alone. Up to
sign both are the same function of the message. A sign is harmless: θ is even, so that of T2
vanishes, and L is total, so that of T1 does.

Source:
    Fiat–Shamir in its strong form (Bernhard, Pereira, Warinschi 2012) over a Schnorr proof in a
    group of unknown order (Girault, Poupard, Stern 2006); docs/protocols.md §1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from crypto.coins import Coins, digest, xof
from crypto.dtpkc import Ciphertext, Parameters, PublicKey, decode_ciphertexts, encode_ciphertexts
from crypto.errors import CryptoError, ProofError
from crypto.key_proof import CHALLENGE_BITS, equal_up_to_sign, valid_commitment
from crypto.multi_power import multi_powers
from crypto.profiles import MASK_BITS, Profile

WEIGHT_BITS = MASK_BITS
"""Width of a batch weight: a batch with a bad proof passes with probability 2^-80."""


def masking_bits(profile: Profile, ciphertexts: int) -> int:
    """Return the length of s: that of Σ c_i r_i and 80 bits more, which hide it."""
    return profile.exponent_bits + CHALLENGE_BITS + MASK_BITS + (ciphertexts - 1).bit_length()


def response_bits(profile: Profile, ciphertexts: int) -> int:
    """Return the length that z may have; an honest z = Σ c_i r_i + s always fits."""
    return masking_bits(profile, ciphertexts) + 1


def table_bits(profile: Profile, ciphertexts: int, *, batch: int = 1) -> int:
    """Return the exponent width for `PublicKey.prepare` that serves proofs of this size.

    Args:
        profile: The sizes.
        ciphertexts: The largest number of ciphertexts in one statement.
        batch: The largest number of statements verified together; 1 for provers.
    """
    weights = WEIGHT_BITS + (batch - 1).bit_length() if batch > 1 else 0
    return response_bits(profile, ciphertexts) + weights


@dataclass(frozen=True, slots=True)
class PlaintextProof:
    """The commitment A and the response (z, y) of one proof; the challenges are hashes."""

    commitment: Ciphertext
    z: int
    y: int

    def encode(self, parameters: Parameters, ciphertexts: int) -> bytes:
        """Return A ‖ z ‖ y, big-endian, in widths fixed by the profile and the statement's size.

        Raises:
            ProofError: A value does not fit its width.
        """
        z_bytes = _response_bytes(parameters.profile, ciphertexts)
        try:
            return (
                encode_ciphertexts(parameters, [self.commitment])
                + self.z.to_bytes(z_bytes, "big")
                + self.y.to_bytes(parameters.profile.plaintext_bytes, "big")
            )
        except (OverflowError, CryptoError):
            raise ProofError("a value of the proof does not fit its width") from None

    @classmethod
    def decode(cls, parameters: Parameters, ciphertexts: int, data: bytes) -> "PlaintextProof":
        """Return the proof of an encoding; values are checked by `verify_plaintexts`.

        Raises:
            ProofError: The length is not that of a proof for so many ciphertexts.
        """
        if ciphertexts < 1 or len(data) != proof_bytes(parameters.profile, ciphertexts):
            raise ProofError(f"{len(data)} bytes are no proof for {ciphertexts} ciphertexts")
        width = parameters.component_bytes
        z_end = 2 * width + _response_bytes(parameters.profile, ciphertexts)
        (commitment,) = decode_ciphertexts(parameters, data[: 2 * width])
        z, y = int.from_bytes(data[2 * width : z_end], "big"), int.from_bytes(data[z_end:], "big")
        return cls(commitment, z, y)


@dataclass(frozen=True, slots=True)
class Statement:
    """Ciphertexts of one message, their proof, and the place in the world that it is bound to.

    Attributes:
        ciphertexts: Shape (n,), n >= 1, under the key that the verifier names.
        proof: What the sender made of them.
        context: Framed tenant, role, sender, topic, sequence or query id, and layouts, as the
            *verifier* knows them from the authenticated message.
    """

    ciphertexts: Sequence[Ciphertext]
    proof: PlaintextProof
    context: bytes


def proof_bytes(profile: Profile, ciphertexts: int) -> int:
    """Return the wire size of a proof for so many ciphertexts."""
    return profile.ciphertext_bytes + _response_bytes(profile, ciphertexts) + profile.plaintext_bytes


def prove_plaintexts(
    public: PublicKey,
    ciphertexts: Sequence[Ciphertext],
    plaintexts: Sequence[int],
    randomness: Sequence[int],
    *,
    context: bytes,
    coins: Coins,
) -> PlaintextProof:
    """Prove knowledge of all plaintexts of one message.

    Inputs are not compared with the ciphertexts: a proof from wrong ones is refused by the verifier.

    Args:
        public: The key that they are encrypted under.
        ciphertexts: Shape (n,), n >= 1.
        plaintexts: Shape (n,).
        randomness: Shape (n,), the r of each encryption, in (0, 2^exponent_bits).
        context: See `Statement`.
        coins: Mixed with statement and secrets: even repeated ones never answer two challenges
            with one s.

    Raises:
        ValueError: The shapes differ, there are no ciphertexts, or an r is out of range.

    Security:
        z is 2^-80-close to a value independent of every r_i, y to one independent of every m_i.

    Cost:
        One power of h and one of g with `masking_bits`: 0.04 full powers with tables, 0.33 without.
    """
    profile, n = public.parameters.profile, public.parameters.n
    if not ciphertexts or not len(ciphertexts) == len(plaintexts) == len(randomness):
        raise ValueError("a proof needs one plaintext and one randomness per ciphertext")
    if not all(r > 0 and r.bit_length() <= profile.exponent_bits for r in randomness):
        raise ValueError("the randomness of an encryption lies outside (0, 2^exponent_bits)")
    binding = _statement_digest(public, ciphertexts, context)
    secrets = digest("privml/pok/secrets/1", tuple(plaintexts), tuple(randomness))
    nonces = Coins.from_seed(coins.bytes(32), ("privml/pok/nonces/1",), binding, secrets)
    s = nonces.integer_bits(masking_bits(profile, len(ciphertexts)))
    u = nonces.below(n)
    commitment = _commit(public, s, u)
    challenges = _challenges(public.parameters, binding, commitment, len(ciphertexts))
    z = s + sum(c * r for c, r in zip(challenges, randomness, strict=True))
    y = (u + sum(c * m for c, m in zip(challenges, plaintexts, strict=True))) % n
    return PlaintextProof(commitment, z, y)


def verify_plaintexts(public: PublicKey, statements: Sequence[Statement], coins: Coins) -> None:
    """Verify the proofs of all statements under one key, together.

    The equations of statement k are raised to a weight w_k and multiplied. One statement alone is
    checked without any weight, so its verdict depends on nothing but the message. In a batch each
    quotient of left and right sides lies in the residues of symbol +1, and it is ±1 for every
    statement that would pass alone: such batches always pass. Another quotient is, up to sign, of an
    order whose prime factors all exceed 2^80, so given the other weights at most one w_k in 2^80
    makes the product ±1. The first weight can be 1 by the same argument: if only that statement
    is bad the product is its quotient, and if another one is bad, that one's weight is random.

    Args:
        public: The key of all ciphertexts, itself validated.
        statements: Any number, of any sizes. The ciphertexts must have passed
            `crypto.validation.validate_ciphertexts`: symbol +1 is assumed above.
        coins: Fresh from the operating system, drawn after the statements arrived: a sender
            who can predict weights can pair two bad proofs. Not read for one statement.

    Raises:
        ProofError: At least one proof fails; `failing_statements` tells which.

    Cost:
        One fixed-base power of h and of g, and two multi-exponentiations over all ciphertexts with
        128-bit exponents for one statement, 208-bit ones for several. Multiplications hold
        the interpreter lock, hence no pool of threads.
    """
    for statement in statements:
        _check_shape(public.parameters, statement)
    weights = [1, *(coins.integer_bits(WEIGHT_BITS) for _ in statements[1:])][: len(statements)]
    if not _holds(public, statements, weights):
        raise ProofError("a proof of plaintext knowledge does not verify")


def failing_statements(public: PublicKey, statements: Sequence[Statement], coins: Coins) -> list[int]:
    """Return the indices of the statements whose proof fails, ascending; none if all verify.

    The arguments and what they must have passed are those of `verify_plaintexts`.

    Cost:
        Bisects: about three batches for one bad statement, log2 n + 1 if every second one is bad.
    """
    pending = [range(len(statements))]
    failing: list[int] = []
    while pending:
        part = pending.pop()
        try:
            verify_plaintexts(public, [statements[index] for index in part], coins)
        except ProofError:
            if len(part) == 1:
                failing.append(part[0])
            else:
                middle = len(part) // 2
                # The lower half is popped first, which keeps the result ascending.
                pending += (part[middle:], part[:middle])
    return failing


def _holds(public: PublicKey, statements: Sequence[Statement], weights: Sequence[int]) -> bool:
    parameters = public.parameters
    bases: list[Ciphertext] = []
    exponents: list[int] = []
    z = y = 0
    for statement, weight in zip(statements, weights, strict=True):
        proof, size = statement.proof, len(statement.ciphertexts)
        binding = _statement_digest(public, statement.ciphertexts, statement.context)
        challenges = _challenges(parameters, binding, proof.commitment, size)
        bases += (*statement.ciphertexts, proof.commitment)
        exponents += (*(weight * challenge for challenge in challenges), weight)
        z += weight * proof.z
        y += weight * proof.y
    expected = _commit(public, z, y)
    try:
        t1, t2 = multi_powers(
            [[base.t1 for base in bases], [base.t2 for base in bases]], exponents, parameters.n_squared
        )
    except ValueError:
        # Not coprime to N, so never a power of h or g.
        return False
    return equal_up_to_sign(t1, expected.t1, parameters) and equal_up_to_sign(t2, expected.t2, parameters)


def _check_shape(parameters: Parameters, statement: Statement) -> None:
    proof, size = statement.proof, len(statement.ciphertexts)
    if size == 0:
        raise ProofError("a proof about no ciphertexts proves nothing")
    if not (proof.z >= 0 and proof.z.bit_length() <= response_bits(parameters.profile, size)):
        raise ProofError("the response is longer than an honest one")
    if not 0 <= proof.y < parameters.n:
        raise ProofError("the response is not reduced mod N")
    if not all(valid_commitment(a, parameters) for a in (proof.commitment.t1, proof.commitment.t2)):
        raise ProofError("the commitment is not a residue of symbol +1")


def _commit(public: PublicKey, exponent: int, plaintext: int) -> Ciphertext:
    """Return (h^exponent (1 + plaintext · N), g^exponent); the exponent may be long."""
    parameters = public.parameters
    message = 1 + plaintext % parameters.n * parameters.n  # = (1 + N)^plaintext mod N²
    return Ciphertext(
        parameters.power(public.h, exponent) * message % parameters.n_squared,
        parameters.power(parameters.g, exponent),
    )


def _statement_digest(public: PublicKey, ciphertexts: Sequence[Ciphertext], context: bytes) -> bytes:
    """Return the hash of all that is known before the commitment: context, N, g, h, every T."""
    parameters = public.parameters
    width = parameters.component_bytes
    try:
        encoded = encode_ciphertexts(parameters, ciphertexts)
    except CryptoError:
        raise ProofError("a ciphertext is out of range") from None
    numbers = (number.to_bytes(width, "big") for number in (parameters.n, parameters.g))
    common = digest("privml/parameters/1", *numbers)
    return digest("privml/pok/1/statement", context, common, public.h.to_bytes(width, "big"), encoded)


def _challenges(parameters: Parameters, binding: bytes, commitment: Ciphertext, size: int) -> list[int]:
    """Return c_1 .. c_n: 16n bytes of SHAKE256 over the hash of the whole statement, and A."""
    step = CHALLENGE_BITS // 8
    stream = xof("privml/pok/1", binding, encode_ciphertexts(parameters, [commitment]), length=step * size)
    return [int.from_bytes(stream[low : low + step], "big") for low in range(0, len(stream), step)]


def _response_bytes(profile: Profile, ciphertexts: int) -> int:
    return (response_bits(profile, ciphertexts) + 7) // 8
