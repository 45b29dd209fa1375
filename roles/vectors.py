"""The ciphertexts of chunks and queries by their encodings: from the wire and back.

Names and sizes are held against what the tenant's models read; the ciphertexts' own checks are
`crypto.validation`'s.
"""

from collections.abc import Mapping, Sequence

from crypto.dtpkc import Ciphertext, decode_ciphertexts, encode_ciphertexts
from crypto.packing import SlotLayout
from roles.chunk_encodings import Vectors
from roles.plan import PlanViolationError
from roles.refusal import Refusal
from roles.tenant import Tenant
from schemas.chunks import EncodedVector
from schemas.queries import Query
from schemas.reasons import ReasonCode


def decode_vectors(
    tenant: Tenant, vectors: Sequence[EncodedVector], names: Sequence[str], layouts: Sequence[SlotLayout]
) -> Vectors:
    """Return the ciphertexts by encoding.

    Raises:
        Refusal: They are other encodings than `names`, or of other sizes than the layouts say.
    """
    if tuple(vector.encoding for vector in vectors) != tuple(names):
        raise Refusal(ReasonCode.MALFORMED)
    size = tenant.parameters.ciphertext_bytes
    for vector, layout in zip(vectors, layouts, strict=True):
        if len(vector.ciphertexts) != size * layout.ciphertexts:
            raise Refusal(ReasonCode.MALFORMED)
    return {
        vector.encoding: tuple(decode_ciphertexts(tenant.parameters, vector.ciphertexts))
        for vector in vectors
    }


def encode_vectors(tenant: Tenant, vectors: Mapping[str, Sequence[Ciphertext]]) -> tuple[EncodedVector, ...]:
    """Return ciphertexts by encoding as they travel."""
    return tuple(
        EncodedVector(name, encode_ciphertexts(tenant.parameters, ciphertexts))
        for name, ciphertexts in vectors.items()
    )


def query_t2s(
    tenant: Tenant, query: Query, names: Sequence[str], layouts: Sequence[SlotLayout]
) -> dict[str, tuple[int, ...]]:
    """Return T2 of a query's ciphertexts by encoding, from SU's own copy of the client's message.

    Raises:
        PlanViolationError: The message is no query of that kind; MU would not have accepted it.
    """
    try:
        vectors = decode_vectors(tenant, query.vectors, names, layouts)
    except Refusal as error:
        raise PlanViolationError("the query has other vectors than the model reads") from error
    return {name: tuple(c.t2 for c in ciphertexts) for name, ciphertexts in vectors.items()}
