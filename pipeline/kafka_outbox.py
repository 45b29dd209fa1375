"""Appending to Kafka: every message is kept until a broker has acknowledged it.

One idempotent producer sends in the order of the calls. It outlives an outage by repeating what it
had sent, which the broker recognises. Where it cannot go on (the broker lost its state, or it stays
silent although the broker answers) another one takes its place and gets everything that was not
acknowledged, in order. The broker does not recognise those, so a message may then stand on its topic
twice; the first ones stand in order. The roles expect duplicates.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidTopicError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)

from pipeline.errors import BrokerRefusedError, PipelineError, TransportClosedError, UnknownTopicError
from pipeline.kafka_connection import (
    ACCESS_ERRORS,
    RETRY_SECONDS,
    KafkaConnection,
    cancelled_by_caller,
    refusal,
    stop,
)
from pipeline.kafka_settings import MAX_RECORD_BYTES
from pipeline.transport import Position, partition_for_key

# What one producer holds at most; a request with more than the broker's socket.request.max.bytes
# (100 MiB) would be cut off for ever.
IN_FLIGHT_BYTES = 16 * 1024 * 1024
BATCH_BYTES = 256 * 1024

TICK_SECONDS = 1.0
STALL_SECONDS = 15.0
GRACE_SECONDS = 5.0
CLOSE_SECONDS = 10.0
LAST_WORDS_SECONDS = 1.0
ATTEMPTS = 3


@dataclass(slots=True, eq=False)
class _Outgoing:
    topic: str
    partition: int | None
    key: bytes | None
    value: bytes = field(repr=False)
    headers: list[tuple[str, bytes]]
    position: asyncio.Future[Position]
    failures: int = 0

    @property
    def size(self) -> int:
        return len(self.value) + len(self.key or b"")


class KafkaOutbox:
    """Messages on their way to the cluster."""

    def __init__(self, connection: KafkaConnection) -> None:
        self._connection = connection
        self._producer: Any = None
        self._waiting: deque[_Outgoing] = deque()
        # In the order in which the producer got them.
        self._sent: dict[_Outgoing, None] = {}
        self._sent_bytes = 0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._broken = False
        self._progress = 0.0
        self._reachable_since: float | None = None
        self._closing = False

    def put(
        self,
        topic: str,
        partition: int | None,
        key: bytes | None,
        value: bytes,
        headers: Mapping[str, bytes],
    ) -> asyncio.Future[Position]:
        """Queue a message; the future tells where it stands, or why it does not."""
        loop = asyncio.get_running_loop()
        outgoing = _Outgoing(topic, partition, key, value, list(headers.items()), loop.create_future())
        if not self._waiting and not self._sent:
            self._progress = loop.time()
        self._waiting.append(outgoing)
        self._wake.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
            self._task.add_done_callback(self._ended)
        return outgoing.position

    async def close(self) -> None:
        """Finish what is queued, for a bounded time; what is left then fails."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)
            self._task.cancel()
            await asyncio.wait({self._task})
        unfinished = bool(self._waiting or self._sent)
        self._fail_all(TransportClosedError("the Kafka transport was closed before the broker acknowledged"))
        producer, self._producer = self._producer, None
        if producer is not None:
            if unfinished:
                self._connection.bury(_abandon(producer))
            else:
                await stop(producer)

    # --- the task

    async def _run(self) -> None:
        while self._waiting or self._sent or not self._closing:
            await self._pause()
            try:
                if self._broken or await self._stuck():
                    await self._replace_producer()
                await self._hand_over()
            except PipelineError as error:
                # Out of reach for longer than patience, or refused.
                self._fail_all(error)
                if self._producer is not None:
                    self._connection.bury(_abandon(self._producer))
                    self._producer = None

    async def _pause(self) -> None:
        """Wait until there is something to do; while answers are due, look after them now and then."""
        due = self._waiting or self._sent
        try:
            async with asyncio.timeout(TICK_SECONDS if due else None):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    async def _hand_over(self) -> None:
        """Give the producer what waits, in order, up to its limit."""
        while self._waiting and self._sent_bytes < IN_FLIGHT_BYTES and not self._broken:
            outgoing = self._waiting[0]
            if outgoing.position.done():  # cancelled, or acknowledged to a former producer
                self._waiting.popleft()
                continue
            try:
                place = await self._partition_of(outgoing)
                if self._producer is None:
                    self._producer = await self._connection.start(self._new_producer)
                sent = await self._producer.send(
                    outgoing.topic,
                    outgoing.value,
                    key=outgoing.key,
                    partition=place,
                    headers=outgoing.headers,
                )
            except UnknownTopicError as error:
                self._waiting.popleft()
                _fail(outgoing, error)
                continue
            except KafkaTimeoutError:
                return  # its buffer for this partition is full; the next tick tries again
            except (KafkaError, OSError) as error:
                self._note_failure(outgoing, error)
                return
            except asyncio.CancelledError:
                if cancelled_by_caller():
                    raise
                self._note_failure(outgoing, None)
                return
            self._waiting.popleft()
            self._sent[outgoing] = None
            self._sent_bytes += outgoing.size
            sent.add_done_callback(partial(self._settle, self._producer, outgoing))

    async def _partition_of(self, outgoing: _Outgoing) -> int:
        partitions = await self._connection.partitions(outgoing.topic)
        if outgoing.partition is None:
            return partition_for_key(outgoing.key, partitions)
        if not 0 <= outgoing.partition < partitions:
            raise UnknownTopicError(outgoing.topic, outgoing.partition)
        return outgoing.partition

    def _settle(self, producer: object, outgoing: _Outgoing, sent: asyncio.Future[Any]) -> None:
        """Take what a producer says of a message; a former producer's yes is still a yes."""
        error = None if sent.cancelled() else sent.exception()
        if error is None and not sent.cancelled() and sent.result().offset >= 0:
            at = sent.result()
            self._remove(outgoing)
            if not outgoing.position.done():
                outgoing.position.set_result(Position(at.topic, at.partition, at.offset))
            self._progress = asyncio.get_running_loop().time()
            self._connection.answered()
        elif producer is self._producer:
            # Without an error the producer gave up, or the broker knows the message but not where it
            # stands: send it again.
            self._note_failure(outgoing, error)
        self._wake.set()

    def _note_failure(self, outgoing: _Outgoing, error: BaseException | None) -> None:
        """Have the producer replaced; fail the message if another producer could do no better."""
        # Numbered messages that failed leave a gap, after which the broker takes no more of them.
        self._broken = True
        self._wake.set()
        outgoing.failures += 1
        final = None if error is None else _final(error)
        if final is None and error is not None and outgoing.failures >= ATTEMPTS:
            final = refusal(error)
        if final is not None:
            self._remove(outgoing)
            _fail(outgoing, final)

    async def _stuck(self) -> bool:
        """Return whether the producer stays silent although the broker answers.

        Raises:
            BrokerUnreachableError: The broker has not answered for longer than patience.
        """
        if not self._sent:
            return False
        clock = asyncio.get_running_loop().time
        silent = clock() - self._progress
        if silent < min(STALL_SECONDS, self._connection.patience):
            self._reachable_since = None
            return False
        if not await self._connection.reachable():
            self._reachable_since = None
            if silent > self._connection.patience:
                raise self._connection.unreachable()
            return False
        if self._reachable_since is None:
            self._reachable_since = clock()
        return clock() - self._reachable_since > GRACE_SECONDS

    async def _replace_producer(self) -> None:
        producer, self._producer = self._producer, None
        self._broken = False
        self._reachable_since = None
        # What it could not send to may not be there any more.
        self._connection.forget_topics()
        if producer is not None:
            self._connection.bury(_abandon(producer))
        self._waiting.extendleft(reversed([one for one in self._sent if not one.position.done()]))
        self._sent.clear()
        self._sent_bytes = 0
        if asyncio.get_running_loop().time() - self._progress > self._connection.patience:
            raise self._connection.unreachable()
        await asyncio.sleep(RETRY_SECONDS)

    def _new_producer(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            **self._connection.options(),
            acks="all",
            enable_idempotence=True,
            compression_type=None,
            linger_ms=0,
            max_batch_size=BATCH_BYTES,
            max_request_size=MAX_RECORD_BYTES,
        )

    # --- bookkeeping

    def _remove(self, outgoing: _Outgoing) -> None:
        if outgoing in self._sent:
            del self._sent[outgoing]
            self._sent_bytes -= outgoing.size
        elif outgoing in self._waiting:
            self._waiting.remove(outgoing)

    def _fail_all(self, error: PipelineError) -> None:
        for outgoing in [*self._sent, *self._waiting]:
            _fail(outgoing, error)
        self._sent.clear()
        self._sent_bytes = 0
        self._waiting.clear()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Leave nobody waiting if the task dies of something unforeseen."""
        if not task.cancelled() and task.exception() is not None:
            self._fail_all(BrokerRefusedError("sending to Kafka failed", hint="repeat; then report it"))


def _fail(outgoing: _Outgoing, error: PipelineError) -> None:
    if not outgoing.position.done():
        outgoing.position.set_exception(error)


def _final(error: BaseException) -> PipelineError | None:
    """Return our error if no producer could do better, None if another one may."""
    if isinstance(error, MessageSizeTooLargeError | RecordListTooLargeError):
        return BrokerRefusedError(
            "the Kafka broker takes no message of this size",
            hint="raise max.message.bytes of the topic to what `privml topics create` gives it",
        )
    if isinstance(error, (*ACCESS_ERRORS, InvalidTopicError)):
        return refusal(error)
    return None


async def _abandon(producer: Any) -> None:
    """End a producer without waiting for what it still holds.

    Its `stop` would wait for every message to be acknowledged, for ever if need be; so the sending task
    is ended first, as `stop` does it but past aiokafka's public face.
    """
    producer._closed = True  # or its finaliser would complain
    sender = producer._sender.sender_task
    if sender is not None:
        sender.cancel()
        # Requests under way may still be acknowledged.
        await asyncio.wait({sender}, timeout=LAST_WORDS_SECONDS)
    try:
        async with asyncio.timeout(LAST_WORDS_SECONDS):
            await producer.client.close()
    except TimeoutError:
        pass  # a halted broker takes nothing from the socket's buffer; it is closed all the same
    if sender is not None and not sender.done():
        sender.cancel()
        await asyncio.wait({sender}, timeout=LAST_WORDS_SECONDS)
