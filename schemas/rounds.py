"""One round between the units: MU's request and SU's reply."""

from schemas.codec import WireStruct

SESSION_BYTES = 32


class Subject(WireStruct):
    """What a session is about; its hash (with tenant and key epoch) is the session's name.

    Attributes:
        purpose: ``base_ot``, ``refresh`` or ``query``.
        model_id: The model concerned; empty for base transfers.
        model_version: Its version.
        model_hash: SHA-256 over its ciphertexts; empty for base transfers.
        records: Records in the model; fixes the width of its counts.
        owners: Owners they came from.
        client: Who asked; empty unless a query.
        query_hash: Message id of the query; empty unless a query.
        query_partition: Where SU finds that query for itself, with `query_offset`.
        query_offset: See `query_partition`.
        rows: Rows asked; 0 unless a query.
    """

    purpose: str
    model_id: str
    model_version: int
    model_hash: bytes
    records: int
    owners: int
    client: str
    query_hash: bytes
    query_partition: int
    query_offset: int
    rows: int


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
