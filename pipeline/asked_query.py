"""SU's own copy of the query that a session is about: read from its topic, never taken from MU."""

from crypto.errors import SchemaError
from pipeline.meter import Meter
from pipeline.stored_message import stored_message
from pipeline.transport import Transport
from roles.tenant import Tenant
from schemas.codec import decode
from schemas.queries import Query
from schemas.rounds import Subject
from schemas.topics import TopicName


async def asked_query(
    transport: Transport, tenant: Tenant, subject: Subject, meter: Meter | None = None
) -> Query | None:
    """Return the client's own signed query; None if it is not where and what the subject says."""
    place = subject.partition, subject.offset, subject.message_hash
    arrival = await stored_message(transport, tenant, TopicName.QUERIES, *place, meter)
    if arrival is None or (arrival.sender, arrival.kind) != (subject.client, "query"):
        return None
    try:
        return decode(Query, arrival.body, len(arrival.body))
    except SchemaError:
        return None
