"""The client: rows become an encrypted query, and a sealed answer becomes labels."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from crypto.coins import Coins
from crypto.dtpkc import WeakPrivateKey, draw_exponent
from crypto.errors import RemoteProtocolError
from crypto.parameters import decode_ciphertexts, encode_ciphertexts
from crypto.plaintext_proof import prove_plaintexts
from roles.building_blocks.seal import unseal
from roles.refusal import Refusal
from roles.tenant import Tenant, statement_context
from schemas.queries import QUERY_ID_BYTES, Answer, Query
from schemas.reasons import ReasonCode
from schemas.topics import TopicName


def make_query(
    tenant: Tenant,
    client: str,
    model_id: str,
    bits: npt.NDArray[np.uint8],
    coins: Coins,
    pool: ThreadPoolExecutor | None = None,
) -> Query:
    """Encrypt one-hot rows under the service key and prove knowledge of them.

    Args:
        tenant: Public facts.
        client: The client's name; the proof is bound to it.
        model_id: Whom to ask.
        bits: Shape (n, F), zeros and ones.
        coins: Fresh from the operating system; the query id comes from them too.
        pool: Threads for the powers.

    Security:
        Public are the client, the number of rows and the model. All rows share ciphertexts.

    Cost:
        Two fixed-base powers per ciphertext of about 1,500 bits, and two longer ones.
    """
    query_id = coins.bytes(QUERY_ID_BYTES)
    layout = tenant.query_layout(len(bits))
    plaintexts = layout.pack(bits.reshape(-1))
    randomness = [draw_exponent(tenant.parameters, coins) for _ in plaintexts]
    ciphertexts = tenant.service_key.encrypt_many_with(plaintexts, randomness, pool)
    context = statement_context(tenant, "client", client, TopicName.QUERIES, query_id, (layout,))
    proof = prove_plaintexts(
        tenant.service_key, ciphertexts, plaintexts, randomness, context=context, coins=coins
    )
    return Query(
        query_id,
        model_id,
        tenant.schema.digest,
        len(bits),
        encode_ciphertexts(tenant.parameters, ciphertexts),
        proof.encode(tenant.parameters, len(ciphertexts)),
    )


def read_answer(tenant: Tenant, key: WeakPrivateKey, query: Query, answer: Answer) -> Sequence[int]:
    """Open the sealed labels of an answer.

    Returns:
        One label index per row; C stands for a row that was no one-hot encoding.

    Raises:
        Refusal: The units refused the query, for the reason given.
        RemoteProtocolError: The answer is not one to this query.

    Cost:
        One short power per ciphertext of 175 labels.
    """
    if answer.reason:
        if answer.reason not in set(ReasonCode):
            raise RemoteProtocolError("the units refused the query for a reason unknown to this version")
        raise Refusal(ReasonCode(answer.reason), "the units refused the query")
    layout = tenant.label_layout(query.rows)
    sealed = decode_ciphertexts(tenant.parameters, answer.ciphertexts)
    if answer.query_id != query.query_id or answer.rows != query.rows or len(sealed) != layout.ciphertexts:
        raise RemoteProtocolError("the answer does not belong to the query")
    labels = unseal(key, layout, sealed)
    if any(label > tenant.schema.class_count for label in labels):
        raise RemoteProtocolError("the answer holds a label that the schema does not know")
    return labels
