"""One real Kafka broker as a child process: started, killed, stopped, continued, started again."""

import base64
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import SystemRandom
from types import TracebackType
from typing import IO, Self

from kafka.certificates import write_certificate
from pipeline.kafka_settings import access_settings, broker_settings

JARS = Path(__file__).parents[2] / "build" / "kafka" / "libs"
START_SECONDS = 60.0
LOG_LINES = 50
_OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LISTENING = 20_000
ADMIN = "admin"
ADMIN_PASSWORD = "admin-secret"


class BrokerError(RuntimeError):
    """The broker did not start; the message ends with its log."""


class KafkaBroker:
    """A single node, broker and controller in one, with its data in a temporary folder.

    Attributes:
        address: ``host:port`` of the listener for clients.
        port: Its port.
        certificate: What a client must trust, with `tls`.
    """

    def __init__(
        self,
        *,
        users: Mapping[str, str] | None = None,
        access_rules: bool = False,
        tls: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Choose the kind of broker; `start` starts it.

        Args:
            users: Names and passwords; with any, clients log in by SCRAM-SHA-512, and `ADMIN` exists.
            access_rules: Refuse what no access rule allows, except to `ADMIN`.
            tls: Encrypt the listener for clients.
            settings: Broker settings beyond or instead of the usual ones.
        """
        if not JARS.is_dir():
            raise BrokerError("the broker's jars are missing: run `make kafka`")
        self._folder = Path(tempfile.mkdtemp(prefix="privml-kafka-"))
        self._users = {} if users is None else {ADMIN: ADMIN_PASSWORD, **users}
        self.port, controller_port = _free_ports(2)
        self.address = f"127.0.0.1:{self.port}"
        self.certificate: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._tls = tls
        if tls:
            self.certificate = self._folder / "ca.pem"
            write_certificate(self.certificate, self._folder / "server.pem")
        self._properties = self._folder / "server.properties"
        lines = {
            **broker_settings(),
            **self._listeners(controller_port),
            **(access_settings((f"User:{ADMIN}", "User:ANONYMOUS")) if access_rules else {}),
            # What only spares time on a machine where nothing has to last.
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.num.partitions": "1",
            # A killed broker may come back only when the controller has noticed; 9 s by default.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            "log.dirs": str(self._folder / "data"),
            **(settings or {}),
        }
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))

    def start(self) -> None:
        """Format the data folder, start the broker and wait until it answers.

        Raises:
            BrokerError: It does not answer in time.
        """
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        scram = [
            f"--add-scram=SCRAM-SHA-512=[name={name},password={password}]"
            for name, password in self._users.items()
        ]
        self._java(
            "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._properties), *scram
        ).wait()
        self.restart()

    def restart(self) -> None:
        """Start on the data and ports that are there, and wait until the broker answers."""
        self._process = self._java("kafka.Kafka", str(self._properties))
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                log = self.log().splitlines()[-LOG_LINES:]
                self.kill()
                raise BrokerError("the Kafka broker did not start:\n" + "\n".join(log))
            time.sleep(0.05)

    def kill(self) -> None:
        """End the whole process group at once, as a power failure of the process would."""
        if self._process is not None:
            # One that has ended by itself is no more.
            with contextlib.suppress(ProcessLookupError):
                self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Stop the broker without closing its connections; it answers nothing from when this returns."""
        self._signal(signal.SIGSTOP)
        while self._states() != {"T"}:
            time.sleep(0.005)

    def resume(self) -> None:
        """Let a paused broker go on."""
        self._signal(signal.SIGCONT)

    def log(self) -> str:
        """Return what the broker has written so far."""
        return (self._folder / "log").read_text(errors="replace")

    def close(self) -> None:
        """Kill the broker and remove its data."""
        self.kill()
        if self._log is not None:
            self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _states(self) -> set[str]:
        """Return the letters that the kernel has for the states of the broker's threads."""
        if self._process is None:
            raise BrokerError("the broker does not run")
        threads = Path(f"/proc/{self._process.pid}/task").glob("*/stat")
        return {thread.read_text().rpartition(")")[2].split()[0] for thread in threads}

    def _signal(self, number: int) -> None:
        if self._process is None:
            raise BrokerError("the broker does not run")
        os.killpg(self._process.pid, number)

    def _java(self, *arguments: str) -> subprocess.Popen[bytes]:
        if self._log is None:
            self._log = (self._folder / "log").open("ab")
        return subprocess.Popen(
            [
                "java",
                "-Xmx512m",
                "-XX:+UseSerialGC",
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                "-cp",
                f"{JARS}/*",
                *arguments,
            ],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - one call into libc, no lock
        )

    def _listeners(self, controller_port: int) -> dict[str, str]:
        kind = f"{'SASL_' if self._users else ''}{'SSL' if self._tls else 'PLAINTEXT'}"
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "listeners": f"CLIENT://{self.address},CONTROLLER://127.0.0.1:{controller_port}",
            "advertised.listeners": f"CLIENT://{self.address}",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
            "inter.broker.listener.name": "CLIENT",
            "listener.security.protocol.map": f"CLIENT:{kind.removesuffix('_')},CONTROLLER:PLAINTEXT",
        }
        if self._tls:
            settings |= {
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": str(self._folder / "server.pem"),
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": str(self.certificate),
            }
        if self._users:
            settings |= {
                "sasl.enabled.mechanisms": "SCRAM-SHA-512",
                "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
                "listener.name.client.scram-sha-512.sasl.jaas.config": (
                    "org.apache.kafka.common.security.scram.ScramLoginModule required "
                    f'username="{ADMIN}" password="{ADMIN_PASSWORD}";'
                ),
            }
        return settings

    def _answers(self) -> bool:
        """Ask for the API versions, which every listener answers to anybody."""
        request = struct.pack(">hhih", 18, 0, 1, 0)
        try:
            with self._connect() as connection:
                connection.sendall(struct.pack(">i", len(request)) + request)
                return len(connection.recv(4)) == 4
        except OSError:
            return False

    def _connect(self) -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=2)
        if not self._tls:
            return plain
        try:
            context = ssl.create_default_context(cafile=self.certificate)
            return context.wrap_socket(plain, server_hostname="127.0.0.1")
        except OSError:
            plain.close()
            raise


def _free_ports(count: int) -> Sequence[int]:
    """Return ports that nobody uses, of those that no outgoing connection gets.

    The broker takes them seconds later, and again after it was killed: any other port may by then be
    the near end of somebody's connection.
    """
    first = int(_OUTGOING.read_text().split()[0])
    candidates = iter(SystemRandom().sample(range(max(1024, first - _LISTENING), first), 1000))
    with contextlib.ExitStack() as stack:
        found: list[int] = []
        while len(found) < count:
            # Held together, so that they differ.
            one = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                one.bind(("127.0.0.1", next(candidates)))
                found.append(one.getsockname()[1])
        return found


def _die_with_parent() -> None:
    """Have the kernel end the child when the tests are killed (PR_SET_PDEATHSIG of prctl)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
