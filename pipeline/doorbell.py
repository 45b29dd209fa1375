"""Wakes readers in other processes: a datagram socket per reading process in one directory.

A hint only. Rings may be lost (a reader's queue is short, a socket may fail); readers also look
by themselves now and then. Nothing received is trusted: it names a place where to look.
"""

import asyncio
import contextlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

# sun_path holds 108 bytes with its terminator.
_MAX_ADDRESS_BYTES = 100
_MAX_RING_BYTES = 512
# The kernel queues about ten rings; so many at once mean that more may have been lost.
_MANY = 8
# A directory's time is as coarse as the kernel's clock: younger than this it may hide a second change.
_SETTLED_NANOSECONDS = 50_000_000


class Doorbell:
    """Rings other readers' bells, and has one of its own once `listen` was called."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._folder: int | None = None
        self._lock = threading.Lock()
        self._sender: socket.socket | None = None
        self._others: tuple[int, list[str]] = (0, [])
        self._listened = False
        self._socket: socket.socket | None = None
        self._own: Path | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def listen(self, heard: Callable[[set[bytes] | None], None]) -> None:
        """Bind a socket and call `heard` in the running loop with the places rung, None for any.

        Without the means for sockets (no such system, path too long and no /proc) it does
        nothing: the reader's own looking remains.
        """
        if self._listened or not self._directory.parent.is_dir():
            return
        self._listened = True
        own = self._directory / f"{os.getpid()}-{secrets.token_hex(4)}.sock"
        bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            bell.setblocking(False)
            bell.bind(self._address(own.name))
        except OSError:
            bell.close()
            return
        self._socket, self._own, self._loop = bell, own, asyncio.get_running_loop()
        self._loop.add_reader(bell, self._receive, bell, heard)

    def ring(self, places: Iterable[bytes]) -> None:
        """Tell all other listening handles where something new is; never blocks."""
        try:
            with self._lock:
                names = self._listening()
                if self._sender is None:
                    self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                    self._sender.setblocking(False)
                sender = self._sender
        except OSError:
            return
        places = list(places)
        for name in names:
            for place in places:
                if not self._send(sender, name, place):
                    break

    def close(self) -> None:
        """Remove the own socket; idempotent."""
        if self._socket is not None and self._own is not None and self._loop is not None:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None
            with contextlib.suppress(OSError):
                self._own.unlink()
        with self._lock:
            if self._sender is not None:
                self._sender.close()
                self._sender = None
            if self._folder is not None:
                os.close(self._folder)
                self._folder = None

    def _listening(self) -> list[str]:
        """Return the names of the others' sockets; the directory is read only when it has changed."""
        changed = self._directory.stat().st_mtime_ns
        if self._others[0] != changed:
            own = self._own.name if self._own is not None else None
            names = [n for n in os.listdir(self._directory) if n.endswith(".sock") and n != own]
            settled = time.time_ns() - changed > _SETTLED_NANOSECONDS
            self._others = (changed if settled else 0, names)
        return self._others[1]

    def _send(self, sender: socket.socket, name: str, place: bytes) -> bool:
        try:
            sender.sendto(place, self._address(name))
        except BlockingIOError:
            return False  # its queue is full, so it is about to wake anyway
        except (ConnectionRefusedError, FileNotFoundError):
            # Its process died without removing it.
            with contextlib.suppress(OSError):
                (self._directory / name).unlink()
            return False
        except OSError:
            return False
        return True

    def _address(self, name: str) -> str:
        path = str(self._directory / name)
        if len(os.fsencode(path)) <= _MAX_ADDRESS_BYTES:
            return path
        # A long path by way of an open descriptor of its directory.
        with self._lock:
            if self._folder is None:
                self._folder = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        return f"/proc/self/fd/{self._folder}/{name}"

    @staticmethod
    def _receive(bell: socket.socket, heard: Callable[[set[bytes] | None], None]) -> None:
        places: set[bytes] = set()
        rings = 0
        with contextlib.suppress(BlockingIOError):
            while rings < 64 * _MANY:
                places.add(bell.recv(_MAX_RING_BYTES))
                rings += 1
        heard(None if rings >= _MANY else places)
