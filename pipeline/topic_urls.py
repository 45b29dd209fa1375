"""One URL says where a tenant's topics live."""

from pathlib import Path
from weakref import WeakValueDictionary

from pipeline.embedded_log import EmbeddedLog
from pipeline.errors import InvalidTransportUrlError
from pipeline.memory_transport import MemoryBroker, MemoryTransport
from pipeline.transport import Transport

# Handles of one name share a broker, which goes when the last of them goes.
_brokers: WeakValueDictionary[str, MemoryBroker] = WeakValueDictionary()


def open_transport(url: str) -> Transport:
    """Return a transport that is ready for use; close it or use it as a context manager.

    Args:
        url: `log:DIR` for the embedded log in a directory of this host, which is made if it
            is not there; `memory:` or `memory:NAME` for topics within this process.

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
    if colon and kind == "kafka":
        raise InvalidTransportUrlError("kafka:// is not available in this version; use log:DIR")
    raise InvalidTransportUrlError("a transport is log:DIR or memory:")
