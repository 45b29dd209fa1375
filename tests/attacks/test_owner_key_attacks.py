"""Attacks on chunks under owners' own keys: each works where a safeguard is left out, and fails with it."""

from dataclasses import replace

import pytest
from doubles import seeded_coins
from round_trips import arrival_of, chunk_of, vectors_of
from tenants import small_tenant

from crypto.arithmetic import inverse
from crypto.dtpkc import Ciphertext, add, add_plain, log_total
from crypto.errors import NotOpenableError
from crypto.plaintext_proof import prove_plaintexts
from crypto.strong_key import root_combine, root_partial
from roles.chunk_encodings import COUNTS, ChunkEncodings
from roles.screening import failing_proofs, read_chunk, screen_chunk
from roles.tenant import statement_context
from schemas.chunks import Chunk, EncodedVector
from schemas.codec import encode
from schemas.topics import TopicName

SMALL = small_tenant(owner_keys=True)
TENANT = SMALL.tenant
PARAMETERS = TENANT.parameters
N, MODULUS = PARAMETERS.n, PARAMETERS.n_squared
OWNER = SMALL.owner_key
assert OWNER is not None
KEY = OWNER.public
RECORDS = 20
ENCODINGS = ChunkEncodings(TENANT)
(LAYOUT,) = ENCODINGS.layouts(RECORDS)


def units_open(ciphertexts: list[Ciphertext]) -> list[int]:
    """Open with both shares, as the units do behind a mask."""
    first, second = SMALL.master.strong_share, SMALL.secondary.strong_share
    assert first is not None
    assert second is not None
    return root_combine(ciphertexts, root_partial(ciphertexts, first), second)


def is_accepted(chunk: Chunk) -> bool:
    """Return whether MU accepts a chunk of owner ``a``."""
    arrival = arrival_of(encode(chunk))
    read = read_chunk(TENANT, arrival)
    assert isinstance(read, Chunk)
    return not failing_proofs([screen_chunk(ENCODINGS, arrival, read).proven])


def as_chunk(ciphertexts: list[Ciphertext], proof: bytes) -> Chunk:
    width = PARAMETERS.component_bytes
    data = b"".join(part.to_bytes(width, "big") for c in ciphertexts for part in (c.t1, c.t2))
    return Chunk(TENANT.schema.digest, RECORDS, (EncodedVector(COUNTS, data),), proof)


def test_the_honest_chunk_is_accepted() -> None:
    assert is_accepted(chunk_of(SMALL, 0, RECORDS))


def test_a_foreign_t1_is_opened_and_has_no_proof() -> None:
    """The strong key opens any T1: a client's query, copied into a chunk, would come out for its copier."""
    secrets = [1000 + i for i in range(LAYOUT.ciphertexts)]
    query = TENANT.service_key.encrypt_many(secrets, seeded_coins("victim"))
    own = KEY.encrypt_many([0] * len(secrets), seeded_coins("attacker"))
    copied = [Ciphertext(foreign.t1, mine.t2) for foreign, mine in zip(query, own, strict=True)]
    assert units_open(copied) == secrets
    # The attacker proves what it can: knowledge of its own r, or of nothing.
    context = statement_context(TENANT, "owner", "a", TopicName.CHUNKS, 0, (LAYOUT,))
    guessed = prove_plaintexts(
        KEY, copied, secrets, [1] * len(copied), context=context, coins=seeded_coins("proof")
    )
    assert not is_accepted(as_chunk(copied, guessed.encode(PARAMETERS, len(copied))))


def test_another_owners_chunk_shifted_or_rerandomised_has_no_proof() -> None:
    honest = chunk_of(SMALL, 0, RECORDS)
    vector = list(vectors_of(SMALL, honest)[COUNTS])
    noise = KEY.encrypt_many([0] * len(vector), seeded_coins("noise"))
    for changed in (
        [add_plain(PARAMETERS, ciphertext, 2) for ciphertext in vector],
        [add(PARAMETERS, ciphertext, zero) for ciphertext, zero in zip(vector, noise, strict=True)],
        vector[::-1],
    ):
        assert not is_accepted(as_chunk(changed, honest.proof))


def test_a_proof_under_the_service_key_is_none_under_the_owners() -> None:
    as_if = replace(TENANT, owner_keys={})
    chunk = chunk_of(replace(SMALL, tenant=as_if), 0, RECORDS)
    assert not is_accepted(chunk)


def test_a_mask_without_randomness_is_read_beside_the_chunk() -> None:
    (ciphertext,) = KEY.encrypt_many([42], seeded_coins("chunk"))
    mask = seeded_coins("mask").below(N)
    bare = ciphertext.t1 * (1 + mask * N) % MODULUS
    ratio = bare * inverse(ciphertext.t1, MODULUS) % MODULUS
    assert log_total(ratio, N) == mask
    full = KEY.encrypt(mask, seeded_coins("fresh")).t1 * ciphertext.t1 % MODULUS
    with pytest.raises(NotOpenableError):
        log_total(full * inverse(ciphertext.t1, MODULUS) % MODULUS, N)


def test_a_result_without_a_fresh_zero_shows_the_mask_to_su() -> None:
    mask = seeded_coins("mask").below(N)
    reply = TENANT.service_key.encrypt((42 + mask) % N, seeded_coins("reply"))
    bare = add_plain(PARAMETERS, reply, -mask)
    ratio = bare.t1 * inverse(reply.t1, MODULUS) % MODULUS
    assert -log_total(ratio, N) % N == mask
    fresh = TENANT.service_key.refresh(bare, seeded_coins("zero"))
    with pytest.raises(NotOpenableError):
        log_total(fresh.t1 * inverse(reply.t1, MODULUS) % MODULUS, N)
