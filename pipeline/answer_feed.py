"""The answers to one client's own queries, as they come, whichever process has asked."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from crypto.dtpkc import WeakPrivateKey
from crypto.errors import CryptoError, RemoteProtocolError, SchemaError
from pipeline.mailbox import Inbox
from pipeline.query_book import AskedBefore, QueryBook
from pipeline.transport import Transport
from roles.arrival import Arrival
from roles.client import Opened, read_answer
from roles.learners import learners_of
from roles.refusal import Refusal
from roles.tenant import Tenant
from schemas.codec import decode
from schemas.queries import Answer, Query
from schemas.reasons import ReasonCode
from schemas.topics import TopicName, topic_name

WAIT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class OwnAnswer:
    """An answer that this client may read.

    Attributes:
        asked: The query.
        model_version: Version of the model that answered; 0 where the query was not accepted.
        opened: Labels and scores; None where the units refused.
        reason: Why they refused.
    """

    asked: AskedBefore
    model_version: int
    opened: Opened | None = field(repr=False)
    reason: ReasonCode | None


class AnswerFeed:
    """Reads the answers topic for one client.

    Args:
        transport: Where the topics are.
        tenant: Public facts.
        key: The client's.
        book: The client's own queries.
    """

    def __init__(self, transport: Transport, tenant: Tenant, key: WeakPrivateKey, book: QueryBook) -> None:
        self._transport = transport
        self._tenant = tenant
        self._key = key
        self._book = book
        self._learners = learners_of(tenant)

    async def answers(self, *, again: bool, wait: bool) -> AsyncGenerator[OwnAnswer, None]:
        """Yield own answers in their order, each once; it counts as shown when the next is asked for.

        Args:
            again: Also those that were shown before, as far back as the topic goes.
            wait: Go on for ever; else end where the topic ended at the beginning.
        """
        name = topic_name(self._tenant.name, TopicName.ANSWERS)
        end = await self._transport.end_offset(name, 0)
        beginning = await self._transport.beginning_offset(name, 0)
        unshown = await asyncio.to_thread(self._book.unshown_from)
        offset = beginning if again else max(beginning, end if unshown is None else min(unshown, end))
        inbox = Inbox(self._transport, self._tenant, TopicName.ANSWERS, offset=offset)
        done: set[bytes] = set()
        while wait or inbox.next_offset < end:
            before = inbox.next_offset
            for arrival in await inbox.receive(WAIT_SECONDS if wait else 0.0):
                if not isinstance(arrival, Arrival):
                    continue
                found = await asyncio.to_thread(self._own, arrival)
                if found is None or found.asked.query_id in done:
                    continue
                # What comes from now on is news, also where the command that asked shows it too.
                if found.asked.shown and not again and arrival.offset < end:
                    continue
                done.add(found.asked.query_id)
                yield found
                await asyncio.to_thread(self._book.mark_shown, found.asked.query_id)
            if not wait and inbox.next_offset == before:
                return

    def _own(self, arrival: Arrival) -> OwnAnswer | None:
        try:
            answer = decode(Answer, arrival.body)
        except SchemaError:
            return None
        asked = self._book.find(answer.query_id)
        if asked is None or asked.model_id not in self._learners:
            return None
        # As much of the query as its answer is held against.
        query = Query(asked.query_id, asked.model_id, b"", asked.rows, asked.scores, (), b"")
        try:
            opened = read_answer(self._learners[asked.model_id], self._key, query, answer)
        except Refusal as refusal:
            return OwnAnswer(asked, answer.model_version, None, refusal.reason)
        except (RemoteProtocolError, CryptoError):
            return OwnAnswer(asked, answer.model_version, None, ReasonCode.PROTOCOL_ERROR)
        return OwnAnswer(asked, answer.model_version, opened, None)
