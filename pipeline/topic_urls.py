"""One URL says where a tenant's topics live."""

from pathlib import Path
from weakref import WeakValueDictionary

from pipeline.embedded_log import EmbeddedLog
from pipeline.errors import InvalidTransportUrlError
from pipeline.kafka_address import SCHEME, parse_kafka_url
from pipeline.memory_transport import MemoryBroker, MemoryTransport
from pipeline.transport import Transport

# Handles of one name share a broker, which goes when the last of them goes.
_brokers: WeakValueDictionary[str, MemoryBroker] = WeakValueDictionary()


def open_transport(url: str) -> Transport:
    """Return a transport that is ready for use; close it or use it as a context manager.

    Args:
        url: `log:DIR` for the embedded log in a directory of this host, which is made if it
            is not there; `memory:` or `memory:NAME` for topics within this process;
            `kafka://HOST:PORT` for a cluster, see `pipeline.kafka_address`.

    Raises:
        InvalidTransportUrlError: Another kind of URL, or no directory.
    """
    kind, colon, rest = url.partition(":")
    if colon and kind == "memory":
        broker = _brokers.setdefault(rest, MemoryBroker())
        return MemoryTransport(broker)
    if colon and kind == "log":
        if not rest:
            raise InvalidTransportUrlError("name the directory: log:DIR")
        return EmbeddedLog(Path(rest))
    if colon and kind == SCHEME:
        # Only here, since the library takes a while to import.
        from pipeline.kafka_transport import KafkaTransport  # noqa: PLC0415

        return KafkaTransport(parse_kafka_url(url))
    raise InvalidTransportUrlError("a transport is log:DIR, kafka://HOST:PORT or memory:")
