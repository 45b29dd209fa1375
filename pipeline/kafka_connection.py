"""The parts of a Kafka transport's work that all its clients share.

Starting a client within a bounded time, repeating what an outage interrupts, knowing when the
cluster last answered, and turning aiokafka's errors into ours. Everything that may depend on the
cluster goes through `start` or `retrying`, so that nothing waits for ever.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    ClusterAuthorizationFailedError,
    ConsumerStoppedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)

from pipeline.errors import (
    BrokerRefusedError,
    BrokerUnreachableError,
    PipelineError,
    TransportClosedError,
    UnknownTopicError,
)
from pipeline.kafka_address import KafkaAddress
from pipeline.kafka_diagnosis import Diagnosis, diagnose
from pipeline.log_setup import get_logger

log = get_logger()

T = TypeVar("T")
Place = tuple[str, int]
"""A topic and a partition."""

REQUEST_SECONDS = 10.0
RETRY_SECONDS = 0.2
BURIAL_SECONDS = 5.0

LOGIN_ERRORS = (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    IllegalSaslStateError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
ACCESS_ERRORS = (ClusterAuthorizationFailedError, TopicAuthorizationFailedError)


class KafkaConnection:
    """One transport's view of its cluster. Used from one event loop.

    Attributes:
        address: The cluster and the login.
    """

    def __init__(self, address: KafkaAddress) -> None:
        self.address = address
        self._options: dict[str, Any] | None = None
        self._admin: Any = None
        self._admin_lock = asyncio.Lock()
        self._partitions: dict[str, int] = {}
        self._last_answer: float | None = None
        self._lost = False
        self._closed = False
        self._closing: asyncio.Future[None] | None = None
        self._calls: set[asyncio.Task[Any]] = set()
        self._burials: set[asyncio.Task[None]] = set()
        # What aiokafka says of an outage comes to the caller as an error, and its debug entries hold
        # whole messages.
        library = logging.getLogger("aiokafka")
        if library.level == logging.NOTSET:
            library.setLevel(logging.CRITICAL)

    def options(self) -> dict[str, Any]:
        """Return what every client of this connection is made with."""
        if self._options is None:
            self._options = {
                **self.address.client_options(),
                "client_id": "privml",
                "request_timeout_ms": int(REQUEST_SECONDS * 1000),
                "retry_backoff_ms": 50,
            }
        return self._options

    def answered(self) -> None:
        """Note that the cluster has just answered."""
        self._last_answer = asyncio.get_running_loop().time()
        if self._lost:
            self._lost = False
            log.info("kafka_back")

    def silence(self) -> float:
        """Return for how many seconds the cluster has not answered; 0 before its first answer."""
        return 0.0 if self._last_answer is None else asyncio.get_running_loop().time() - self._last_answer

    @property
    def patience(self) -> float:
        """How long to try: longer with a cluster that has answered before."""
        return self.address.connect_seconds if self._last_answer is None else self.address.patience_seconds

    async def start(self, make: Callable[[], Any]) -> Any:
        """Make and start an aiokafka client; on failure make another, until patience ends.

        Raises:
            BrokerUnreachableError: No broker answered.
            BrokerRefusedError: The login was refused, or TLS failed.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + self.patience
        while True:
            self._check_open()
            seconds = min(REQUEST_SECONDS, max(deadline - clock(), 1.0))
            found = None if self._answered_just_now() else await self._diagnose(seconds)
            if found is None or found.answers:
                client = await self._started(make, seconds)
                if client is not None:
                    self.answered()
                    return client
            found = found or await self._diagnose(seconds)
            if found.refused:
                raise BrokerRefusedError(found.meaning, hint=found.hint)
            self._note_loss()
            if clock() >= deadline:
                raise BrokerUnreachableError(found.meaning, hint=found.hint)
            await asyncio.sleep(RETRY_SECONDS)

    def _answered_just_now(self) -> bool:
        return self._last_answer is not None and self.silence() < 1.0

    async def _diagnose(self, seconds: float) -> Diagnosis:
        return await diagnose(self.address, self.options(), seconds)

    async def _started(self, make: Callable[[], Any], seconds: float) -> Any:
        """Make and start a client; return None if it did not start in time for a reason that may pass."""
        client = make()
        starting = asyncio.create_task(client.start())
        started = False
        try:
            await self._wait_for(starting, seconds)
            self._check_open()
            started = starting.done() and not starting.cancelled() and starting.exception() is None
        finally:
            if not started:
                self.bury(_stop_started(client, starting))
        if started:
            return client
        error = starting.exception() if starting.done() and not starting.cancelled() else None
        if error is not None and not isinstance(error, KafkaError | OSError):
            raise error
        if error is not None and not may_pass(error):
            raise refusal(error) from error
        return None

    async def retrying(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Repeat a call while what stops it may pass, until patience ends.

        Raises:
            BrokerUnreachableError: It did not pass.
            BrokerRefusedError: The broker does not allow it.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + self.patience
        while True:
            self._check_open()
            try:
                # Twice, as a request may first have to connect.
                result = await self._bounded(call, min(2 * REQUEST_SECONDS, max(deadline - clock(), 1.0)))
            except (KafkaError, ConsumerStoppedError, OSError) as error:
                self._check_open()
                if not may_pass(error):
                    raise refusal(error) from error
                self._note_loss()
                # Perhaps a topic is not there any more.
                self.forget_topics()
                if clock() >= deadline:
                    raise self.unreachable() from error
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self.answered()
                return result

    async def _bounded(self, call: Callable[[], Coroutine[Any, Any, T]], seconds: float) -> T:
        """Await a call for a time, but not beyond the closing of the transport."""
        task = asyncio.create_task(call())
        self._calls.add(task)
        try:
            await self._wait_for(task, seconds)
            self._check_open()
            if not task.done():
                raise TimeoutError
            if task.cancelled():
                # By aiokafka, which ends its own tasks when a connection goes; never by our caller.
                raise KafkaConnectionError("the connection went away")
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
            self._calls.discard(task)

    async def _wait_for(self, task: asyncio.Task[Any], seconds: float) -> None:
        """Wait until a task or the transport's life has ended, or the time is over."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_future()
        await asyncio.wait({task, self._closing}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)

    def unreachable(self) -> BrokerUnreachableError:
        """Return the error for an outage that lasts too long."""
        if self._answered_just_now():
            return BrokerUnreachableError(
                f"the Kafka cluster answers but does not do its work: {','.join(self.address.servers)}",
                hint="look at the brokers' logs: too few copies in sync, a full disk or a deleted topic",
            )
        return BrokerUnreachableError(
            f"no Kafka broker has answered for {self.silence():.0f} s: {','.join(self.address.servers)}",
            hint="check that the cluster runs and can be reached from this host; then repeat",
        )

    async def reachable(self) -> bool:
        """Return whether a broker answers right now."""
        try:
            async with asyncio.timeout(3.0):
                await (await self.admin()).describe_cluster()
        except (KafkaError, OSError, PipelineError):
            return False
        self.answered()
        return True

    async def admin(self) -> Any:
        """Return the administration client, started."""
        async with self._admin_lock:
            if self._admin is not None and self._lost:
                # After an outage the brokers may be elsewhere: ask the servers of the URL again.
                await stop(self._admin)
                self._admin = None
            if self._admin is None:
                self._admin = await self.start(lambda: AIOKafkaAdminClient(**self.options()))
            return self._admin

    async def partitions(self, topic: str) -> int:
        """Return how many partitions a topic has.

        Raises:
            UnknownTopicError: There is no such topic, or this login may not know of it.
        """
        if topic not in self._partitions:
            await self.all_partitions()
        if topic not in self._partitions:
            raise UnknownTopicError(topic)
        return self._partitions[topic]

    async def check(self, topic: str, partition: int) -> None:
        """Check that a partition exists.

        Raises:
            UnknownTopicError: It does not.
        """
        if not 0 <= partition < await self.partitions(topic):
            raise UnknownTopicError(topic, partition)

    async def all_partitions(self) -> dict[str, int]:
        """Return every topic that this login may know of, with its number of partitions."""
        await self.admin()
        self._partitions = await self.retrying(self._all_partitions)
        return dict(self._partitions)

    def forget_topics(self) -> None:
        """Ask again which topics there are when that is next needed."""
        self._partitions = {}

    async def _all_partitions(self) -> dict[str, int]:
        # All topics, since aiokafka asks for a named one in a way that lets a broker make it.
        described = await (await self.admin()).describe_topics(None)
        return {
            topic["topic"]: len(topic["partitions"])
            for topic in described
            if not topic["is_internal"] and not topic["error_code"]
        }

    def bury(self, closing: Coroutine[Any, Any, None]) -> None:
        """Let something that closes a client run on beside everything else."""
        task = asyncio.create_task(closing)
        self._burials.add(task)
        task.add_done_callback(self._burials.discard)

    async def end_calls(self) -> None:
        """Begin to close: end everything that is being tried, so that clients can be closed."""
        self._closed = True
        if self._closing is not None and not self._closing.done():
            self._closing.set_result(None)
        while self._calls:
            await asyncio.wait(set(self._calls))
            await asyncio.sleep(0)

    async def close(self) -> None:
        """Close the administration client, and what is still being closed."""
        if self._admin is not None:
            await stop(self._admin)
            self._admin = None
        if self._burials:
            _, pending = await asyncio.wait(self._burials, timeout=BURIAL_SECONDS)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    def _check_open(self) -> None:
        if self._closed:
            raise TransportClosedError("the Kafka transport is closed")

    def _note_loss(self) -> None:
        if not self._lost:
            self._lost = True
            log.warning("kafka_lost", transport=",".join(self.address.servers)[:100])


async def stop(client: Any) -> None:
    """Close an aiokafka client, started or not, in a bounded time."""
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            await (client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop())
    except (KafkaError, OSError, TimeoutError):
        return


async def _stop_started(client: Any, starting: "asyncio.Task[None]") -> None:
    """Stop a client whose start failed or has not ended yet; it does so in bounded time."""
    # Cancelled while it starts, a client would leave a connection open.
    try:
        await asyncio.wait({starting}, timeout=3 * REQUEST_SECONDS)
    finally:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await stop(client)


def cancelled_by_caller() -> bool:
    """Return whether the running task was cancelled from outside; aiokafka lets its own cancellations out."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def may_pass(error: BaseException) -> bool:
    """Return whether an error of aiokafka may pass by itself."""
    return isinstance(error, OSError | TimeoutError | KafkaTimeoutError) or bool(
        getattr(error, "retriable", False)
    )


def refusal(error: BaseException) -> PipelineError:
    """Return our error for one of aiokafka that will not pass."""
    if isinstance(error, LOGIN_ERRORS):
        return BrokerRefusedError(
            "the Kafka broker refused the user name or the password",
            hint="check username, password_file and mechanism in the transport URL",
        )
    if isinstance(error, ACCESS_ERRORS):
        return BrokerRefusedError(
            "the Kafka broker does not allow this user to do that",
            hint="the operator grants access to topics per role",
        )
    # The text of a foreign error may quote what was sent; its name does not.
    return BrokerRefusedError(f"the Kafka broker refused: {type(error).__name__}")
