"""The client: rows become an encrypted query, and a sealed answer becomes labels and scores."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from crypto.coins import Coins
from crypto.dtpkc import WeakPrivateKey
from crypto.errors import RemoteProtocolError
from crypto.parameters import decode_ciphertexts
from roles.building_blocks.seal import unseal
from roles.encoding import EncodedRecords
from roles.learners import AnyLearner
from roles.proving import encrypt_and_prove
from roles.refusal import Refusal
from roles.tenant import statement_context
from roles.vectors import encode_vectors
from schemas.queries import QUERY_ID_BYTES, Answer, Query
from schemas.reasons import ReasonCode
from schemas.topics import TopicName


@dataclass(frozen=True, slots=True)
class Opened:
    """What a client reads in an answer.

    Attributes:
        labels: One index per row; C stands for a row that was no one-hot encoding.
        scores: Per row as the learner gives them; None where none were asked for.
    """

    labels: Sequence[int] = field(repr=False)
    scores: Sequence[Sequence[int]] | None = field(repr=False)


def make_query(
    learner: AnyLearner,
    client: str,
    rows: EncodedRecords,
    coins: Coins,
    *,
    scores: bool = False,
    pool: ThreadPoolExecutor | None = None,
    key_epoch: int | None = None,
) -> Query:
    """Encrypt rows under the service key and prove knowledge of them.

    Args:
        learner: Of the model asked.
        client: The client's name; the proof is bound to it.
        rows: At least one, with words where the model reads them.
        coins: Fresh from the operating system; the query id comes from them too.
        scores: Ask for more than the label, where the model has more to tell.
        pool: Threads for the powers.
        key_epoch: The one that the message will name; by default that of the learner's tenant.

    Security:
        Public are the client, the number of rows, the model and whether scores are asked for. All
        rows share ciphertexts.

    Cost:
        Two fixed-base powers per ciphertext, and two longer ones.
    """
    tenant = learner.tenant
    query_id = coins.bytes(QUERY_ID_BYTES)
    layouts = learner.query_layouts(len(rows))
    context = statement_context(tenant, "client", client, TopicName.QUERIES, query_id, layouts, key_epoch)
    plaintexts = learner.query_plaintexts(rows)
    vectors, proof = encrypt_and_prove(tenant.service_key, plaintexts, context, coins, pool)
    return Query(
        query_id,
        learner.model_id,
        tenant.schema.digest,
        len(rows),
        scores,
        encode_vectors(tenant, vectors),
        proof,
    )


def read_answer(learner: AnyLearner, key: WeakPrivateKey, query: Query, answer: Answer) -> Opened:
    """Open the sealed values of an answer.

    Raises:
        Refusal: The units refused the query, for the reason given.
        RemoteProtocolError: The answer is not one to this query.

    Cost:
        One short power per ciphertext of 175 values.
    """
    tenant = learner.tenant
    if answer.reason:
        if answer.reason not in set(ReasonCode):
            raise RemoteProtocolError("the units refused the query for a reason unknown to this version")
        raise Refusal(ReasonCode(answer.reason), "the units refused the query")
    layout = learner.answer_layout(query.rows, scores=query.scores)
    sealed = decode_ciphertexts(tenant.parameters, answer.ciphertexts)
    if answer.query_id != query.query_id or answer.rows != query.rows or len(sealed) != layout.ciphertexts:
        raise RemoteProtocolError("the answer does not belong to the query")
    values = list(unseal(key, layout, sealed))
    labels, rest = values[: query.rows], values[query.rows :]
    if any(label > tenant.schema.class_count for label in labels):
        raise RemoteProtocolError("the answer holds a label that the schema does not know")
    if not query.scores or not rest:
        return Opened(labels, None)
    return Opened(labels, [rest[row :: query.rows] for row in range(query.rows)])
