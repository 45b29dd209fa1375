"""Ciphertexts, proofs and keys from outside, on the smallest moduli of the vectors."""

import itertools
from collections.abc import Sequence
from functools import partial

from doubles import seeded_coins
from fuzz.drawing import Draws
from fuzz.mutants import mutate_bytes
from fuzz.verdicts import INPUTS, Tally
from toy_keys import toy_keys

from crypto.coins import Coins
from crypto.dtpkc import Ciphertext, Parameters, PublicKey, draw_exponent
from crypto.errors import InvalidCiphertextError
from crypto.key_proof import KeyProof, prove_key, verify_key
from crypto.parameters import decode_ciphertexts, encode_ciphertexts
from crypto.plaintext_proof import (
    PlaintextProof,
    Statement,
    failing_statements,
    proof_bytes,
    prove_plaintexts,
    verify_plaintexts,
)
from crypto.profiles import Profile
from crypto.validation import validate_ciphertexts, validate_parameters, validate_public_key

KEYS = toy_keys(64)
PARAMETERS = KEYS.parameters
PUBLIC = KEYS.master.public
N, N_SQUARED = PARAMETERS.n, PARAMETERS.n_squared
WIDTH = PARAMETERS.component_bytes
# Numbers that checks may forget: borders, order 2, multiples of a factor, elements of order N.
BORDERS = (
    *(0, 1, 2, N - 1, N, N + 1, 2 * N, N_SQUARED - N, N_SQUARED - 2, N_SQUARED - 1, N_SQUARED),
    *(N_SQUARED + 1, 1 + 3 * N, N_SQUARED - 1 - N, 1 << (8 * WIDTH - 1), (1 << 8 * WIDTH) - 1),
    *(KEYS.strong.p, KEYS.strong.q, KEYS.strong.p**2 % N_SQUARED, KEYS.strong.p * KEYS.strong.q),
)


def number(draws: Draws, honest: int) -> int:
    """Return a component instead of an honest one."""
    match draws.below(5):
        case 0:
            return draws.pick(BORDERS)
        case 1:
            return (N_SQUARED - honest) % N_SQUARED
        case 2:
            return honest * (1 + draws.below(1000) * N) % N_SQUARED
        case 3:
            return (honest + draws.pick((1, N, N_SQUARED))) % (1 << 8 * WIDTH)
        case _:
            return int.from_bytes(draws.bytes(WIDTH), "big")


def components(data: bytes) -> list[int]:
    return [int.from_bytes(data[i : i + WIDTH], "big") for i in range(0, len(data), WIDTH)]


def joined(numbers: Sequence[int]) -> bytes:
    return b"".join(value.to_bytes(WIDTH, "big") for value in numbers)


def numbers_changed(draws: Draws, data: bytes, other: bytes) -> bytes:
    """Return encoded ciphertexts with some components changed or moved."""
    if not data or draws.chance(2):
        return mutate_bytes(draws, data, other)
    numbers = components(data)
    for _ in range(draws.pick((1, 1, 2))):
        at, to = draws.below(len(numbers)), draws.below(len(numbers))
        if draws.chance(3):
            numbers[at], numbers[to] = numbers[to], numbers[at]
        else:
            numbers[at] = number(draws, numbers[at])
    return joined(numbers)


def read_ciphertexts(data: bytes) -> list[Ciphertext]:
    ciphertexts = decode_ciphertexts(PARAMETERS, data)
    validate_ciphertexts(PARAMETERS, ciphertexts)
    return ciphertexts


def encrypted(sizes: Sequence[int]) -> list[bytes]:
    coins = seeded_coins("fuzz ciphertexts")
    made = [PUBLIC.encrypt_many([coins.below(1 << 40) for _ in range(size)], coins) for size in sizes]
    return [encode_ciphertexts(PARAMETERS, ciphertexts) for ciphertexts in made]


def test_any_bytes_are_ciphertexts_or_a_reason() -> None:
    draws, tally = Draws("ciphertexts"), Tally()
    good = encrypted([1, 2, 2, 3, 5] * 6)
    for _ in range(INPUTS):
        if draws.chance(5):
            data, mutated = draws.up_to(6 * WIDTH), False
        else:
            source = draws.pick(good)
            data = numbers_changed(draws, source, draws.pick(good))
            mutated = data != source
        accepted = tally.judge(
            read_ciphertexts, data, mutated=mutated, again=lambda c: encode_ciphertexts(PARAMETERS, c)
        )
        for ciphertext in accepted or ():
            assert 0 < ciphertext.t1 < N_SQUARED
            assert ciphertext.t2 % N not in {0, 1, N - 1}
            assert ciphertext.t1 % KEYS.strong.p
            assert ciphertext.t1 % KEYS.strong.q
    tally.check(reasons=["invalid_ciphertext"])


class ProvenMessages:
    """Messages of one or two ciphertexts with their proofs."""

    def __init__(self) -> None:
        coins = seeded_coins("fuzz proofs")
        self.messages: list[tuple[bytes, bytes, bytes]] = []
        for i in range(24):
            plaintexts = [coins.below(1 << 40) for _ in range(1 + i % 2)]
            randomness = [draw_exponent(PARAMETERS, coins) for _ in plaintexts]
            ciphertexts = PUBLIC.encrypt_many_with(plaintexts, randomness)
            context = coins.bytes(16)
            proof = prove_plaintexts(
                PUBLIC, ciphertexts, plaintexts, randomness, context=context, coins=coins
            )
            encoded = encode_ciphertexts(PARAMETERS, ciphertexts)
            self.messages.append((encoded, proof.encode(PARAMETERS, len(ciphertexts)), context))


def read_proven(ciphertexts: bytes, proof: bytes, context: bytes) -> tuple[list[Ciphertext], PlaintextProof]:
    decoded = read_ciphertexts(ciphertexts)
    read = PlaintextProof.decode(PARAMETERS, len(decoded), proof)
    verify_plaintexts(PUBLIC, [Statement(decoded, read, context)], Coins.fresh())
    return decoded, read


def test_no_change_passes_the_proof_of_plaintexts() -> None:
    draws, tally = Draws("plaintext proofs"), Tally()
    messages = ProvenMessages().messages
    known = set(messages)
    for _ in range(INPUTS):
        ciphertexts, proof, context = source = draws.pick(messages)
        other = draws.pick(messages)
        match draws.below(8):
            case 0:
                proof = draws.bytes(proof_bytes(PARAMETERS.profile, len(ciphertexts) // (2 * WIDTH)))
            case 1:
                proof = draws.pick((other[1], b"", draws.up_to(200)))
            case 2:
                context = draws.pick((other[2], context[:-1], context + b"\0"))
            case 3:
                ciphertexts = numbers_changed(draws, ciphertexts, other[0])
            case 4:
                changed = numbers_changed(draws, proof[: 2 * WIDTH], other[1][: 2 * WIDTH])
                proof = changed + proof[2 * WIDTH :]
            case 5:
                # Only the responses.
                proof = proof[: 2 * WIDTH] + mutate_bytes(draws, proof[2 * WIDTH :], other[1][2 * WIDTH :])
            case 6:
                ciphertexts, proof = (
                    numbers_changed(draws, ciphertexts, other[0]),
                    mutate_bytes(draws, proof, other[1]),
                )
            case _:
                pass
        message = (ciphertexts, proof, context)
        accepted = tally.judge_call(
            partial(read_proven, *message),
            ciphertexts + proof,
            mutated=message != source,
            again=lambda read: (
                encode_ciphertexts(PARAMETERS, read[0]) + read[1].encode(PARAMETERS, len(read[0]))
            ),
        )
        assert accepted is None or message in known
    tally.check(reasons=["invalid_ciphertext", "bad_proof"])


def test_bad_proofs_are_found_in_any_batch() -> None:
    draws = Draws("batches")
    messages = ProvenMessages().messages
    for _ in range(60):
        statements, bad = [], set()
        for place in range(draws.between(1, 12)):
            ciphertexts, proof, context = draws.pick(messages)
            decoded = read_ciphertexts(ciphertexts)
            if draws.chance(3):
                changed = proof[: 2 * WIDTH] + draws.bytes(len(proof) - 2 * WIDTH)
                proof = proof[:-1] + bytes([proof[-1] ^ 1]) if draws.chance(2) else changed
                bad.add(place)
            read = PlaintextProof.decode(PARAMETERS, len(decoded), proof)
            statements.append(Statement(decoded, read, context))
        assert set(failing_statements(PUBLIC, statements, Coins.fresh())) == bad


def test_no_change_passes_the_proof_of_a_key() -> None:
    draws, tally = Draws("key proofs"), Tally()
    good = []
    for i, key in enumerate((KEYS.master, KEYS.secondary) * 4):
        context = b"party %d" % i
        proof = prove_key(key, context, seeded_coins(f"fuzz key proof {i}")).encode(PARAMETERS)
        good.append((key.public.h.to_bytes(WIDTH, "big"), proof, context))

    def read(h: bytes, proof: bytes, context: bytes) -> KeyProof:
        number = int.from_bytes(h, "big")
        validate_public_key(PARAMETERS, number)
        decoded = KeyProof.decode(PARAMETERS, proof)
        verify_key(PublicKey(PARAMETERS, number), context, decoded)
        return decoded

    for _ in range(INPUTS):
        h, proof, context = source = draws.pick(good)
        other = draws.pick(good)
        match draws.below(6):
            case 0:
                h = joined([number(draws, int.from_bytes(h, "big"))])
            case 1:
                proof = draws.pick((other[1], b"", draws.bytes(len(proof))))
            case 2:
                context = other[2]
            case 3:
                proof = numbers_changed(draws, proof[:WIDTH], other[1][:WIDTH]) + proof[WIDTH:]
            case _:
                proof = mutate_bytes(draws, proof, other[1])
        message = (h, proof, context)
        accepted = tally.judge_call(
            partial(read, *message),
            proof,
            mutated=message != source,
            again=lambda proof: proof.encode(PARAMETERS),
            secret=h + proof,
        )
        # The sign of h is left open by the proof, and bound by its hash.
        assert accepted is None or message in good
    tally.check(reasons=["bad_proof", "invalid_key"])


def test_any_modulus_and_generator_are_checked() -> None:
    draws, tally = Draws("parameters"), Tally()
    moduli = [toy_keys(bits).parameters for bits in (64, 256)]
    good = [(p.profile, p.n, p.g) for p in moduli]

    def read(profile: Profile, n: int, g: int) -> Parameters:
        parameters = Parameters(profile, n, g)
        validate_parameters(parameters)
        return parameters

    def spelled(parameters: Parameters, width: int) -> bytes:
        return parameters.n.to_bytes(4 * width, "big") + parameters.g.to_bytes(4 * width, "big")

    for _ in range(INPUTS):
        profile, n, g = source = draws.pick(good)
        width = profile.plaintext_bytes
        match draws.below(7):
            case 0:
                n ^= 1 << draws.below(profile.modulus_bits + 1)
            case 1:
                n = draws.pick((0, 1, n - 1, n + 2, 2 * n, n * n, KEYS.strong.p, n >> 1, draws.pick(good)[1]))
            case 2:
                n = int.from_bytes(draws.bytes(width), "big") | 1 << 8 * width - 1 | 1
            case 3:
                root = 1 << profile.modulus_bits // 2
                n = (root - 1 - draws.below(1000)) ** 2
            case 4:
                g = draws.pick((0, 1, 2, n - 1, n, n * n - 1, n * n, 1 + n, 3 * n, KEYS.strong.p))
            case 5:
                g = int.from_bytes(draws.bytes(2 * width), "big")
            case _:
                g ^= 1 << draws.below(2 * profile.modulus_bits)
        message = (profile, n, g)
        data = n.to_bytes(4 * width, "big") + g.to_bytes(4 * width, "big")
        accepted = tally.judge_call(
            partial(read, *message),
            data,
            mutated=message != source,
            again=partial(spelled, width=width),
        )
        if accepted is not None and accepted.n == PARAMETERS.n:
            assert all(accepted.g % factor for factor in (KEYS.strong.p, KEYS.strong.q))
    tally.check(reasons=["invalid_key"])


def test_the_border_numbers_in_every_place() -> None:
    good = components(encrypted([2])[0])
    for place, border in itertools.product(range(4), BORDERS):
        numbers = [*good[:place], border, *good[place + 1 :]]
        try:
            read = read_ciphertexts(joined(numbers))
        except (InvalidCiphertextError, OverflowError):
            continue
        # What passes is a unit of symbol +1, and no T2 that hides nothing.
        assert border % KEYS.strong.p
        assert border % KEYS.strong.q
        assert place % 2 == 0 or border % N not in {1, N - 1}
        assert encode_ciphertexts(PARAMETERS, read) == joined(numbers)
