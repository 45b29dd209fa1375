"""One round between the units: MU's request and SU's reply."""

from schemas.codec import WireStruct

SESSION_BYTES = 32


class Subject(WireStruct):
    """What a session is about; its hash (with tenant and key epoch) is the session's name.

    Attributes:
        purpose: ``base_ot``, ``rekey``, ``learn``, ``grow``, ``refresh`` or ``query``.
        model_id: The model concerned; empty for base transfers and re-keying.
        model_version: Its version; 0 where a session is about the model's content alone.
        model_hash: SHA-256 over its ciphertexts; empty where there is no model.
        records: Records in the model.
        owners: Owners they came from.
        client: Who asked, or whose chunk is re-keyed; else empty.
        message_hash: Message id of the query or of the chunk to be re-keyed, or hash of the ids of the
            chunks to be learnt.
        partition: Where SU finds a query for itself, with `offset`.
        offset: See `partition`.
        rows: Rows asked, or records to be re-keyed or learnt.
        detail: What else is public of the model and fixes the plan, in the learner's own form.
    """

    purpose: str
    model_id: str = ""
    model_version: int = 0
    model_hash: bytes = b""
    records: int = 0
    owners: int = 0
    client: str = ""
    message_hash: bytes = b""
    partition: int = 0
    offset: int = 0
    rows: int = 0
    detail: bytes = b""


class Request(WireStruct):
    """MU asks for one step of a session's plan.

    Attributes:
        session: Name of the session.
        subject: What it is about; the same in every step.
        plan: Digest of the plan that MU follows.
        step: Number of the step, from 1.
        sections: The step's fields in the plan's order; sizes are the plan's.
    """

    session: bytes
    subject: Subject
    plan: bytes
    step: int
    sections: tuple[bytes, ...]


class Reply(WireStruct):
    """SU's answer to exactly one request.

    Attributes:
        session: As in the request.
        step: As in the request.
        request_hash: SHA-256 of the request's body.
        reason: Empty when answered, else a reason code.
        sections: The step's fields in the plan's order.
    """

    session: bytes
    step: int
    request_hash: bytes
    reason: str
    sections: tuple[bytes, ...]
