"""A deployment of the compose files without containers: its brokers and commands as plain processes.

What changes are places: a container's folders become folders of a temporary one, its host names and ports
become free ports of this machine. All else is what the files say, and the brokers' settings are made from
their environment by the class that the broker's image starts with.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from compose_files import ROOT, brokers, deployment, mounts, own_services, script_of

from kafka.broker import JARS, _die_with_parent, _free_ports

SECONDS = 120
PORTS = (19092, 9092, 9093, 9094)
METRICS_PORTS = (9464, 9465)
TOOLS = {
    "kafka-broker-api-versions.sh": "org.apache.kafka.tools.BrokerApiVersionsCommand",
    "kafka-configs.sh": "kafka.admin.ConfigCommand",
}
JAVA = ("java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{JARS}/*")
# The least that the image's class can read; the brokers here log by other means.
LOGGING = "Configuration: {Loggers: {Root: {level: INFO}, Logger: []}}\n"
QUIET = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"


class Composed:
    """One deployment. A context manager; leaving it ends all processes that it started."""

    def __init__(self, name: str, folder: Path) -> None:
        """Prepare the folders; nothing runs yet.

        Args:
            name: Of `compose_files.DEPLOYMENTS`.
            folder: An empty one.
        """
        self.folder = folder
        self.services: dict[str, Any] = deployment(name)["services"]
        self.brokers = brokers(self.services)
        ports = iter(_free_ports(len(PORTS) * len(self.brokers) + len(METRICS_PORTS)))
        self._ports = {broker: {port: next(ports) for port in PORTS} for broker in self.brokers}
        self._metrics = dict(zip(METRICS_PORTS, ports, strict=True))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        for service in own_services(self.services).values():
            for target in mounts(service):
                (folder / target.lstrip("/")).mkdir(mode=0o700, exist_ok=True)
        for place, source in (("data", "weather"), ("scripts", "kafka")):
            if (folder / place).is_dir():
                shutil.copytree(ROOT / "examples" / source, folder / place, dirs_exist_ok=True)
        self._write_tools()

    @property
    def address(self) -> str:
        """The address of the first broker for clients."""
        return f"localhost:{self._ports['kafka'][19092]}"

    def translated(self, text: str, service: str = "") -> str:
        """Return a text of the files with the places of this machine."""

        def port(broker: str, number: str) -> str:
            return str(self._ports[broker][int(number)])

        text = re.sub(r"\b(kafka(?:-\d)?):(\d+)", lambda found: f"localhost:{port(found[1], found[2])}", text)
        for port_there, port_here in self._metrics.items():
            text = text.replace(f"127.0.0.1:{port_there}", f"127.0.0.1:{port_here}")
        if service in self.brokers:
            text = re.sub(r"HOST://localhost:\d+", f"HOST://localhost:{port(service, '9092')}", text)
            text = re.sub(r"://:(\d+)", lambda found: f"://localhost:{port(service, found[1])}", text)
            text = text.replace("/var/lib/kafka/data", str(self.folder / f"{service}-data"))
        text = text.replace("/etc/kafka/secrets", str(self.folder / "secrets"))
        own = "|".join(sorted((p.name for p in self.folder.iterdir() if p.is_dir()), key=len, reverse=True))
        return re.sub(rf"(?<![\w.-])/({own})(?=[/\s\"'&]|$)", rf"{self.folder}/\1", text)

    # --- brokers

    def properties(self, broker: str) -> dict[str, str]:
        """Let the image's own class make a broker's settings of its environment, and format its storage."""
        environment = {
            name: self.translated(str(value), broker)
            for name, value in self.services[broker]["environment"].items()
        }
        folders = {kind: self.folder / f"{broker}-{kind}" for kind in ("default", "mounted", "final")}
        for folder in folders.values():
            folder.mkdir()
        for name in ("server.properties", "log4j2.yaml", "tools-log4j2.yaml"):
            for kind in ("default", "final"):
                (folders[kind] / name).write_text(LOGGING if name.endswith("yaml") else "")
        options = [word for kind in folders for word in (f"--{kind}-configs-dir", str(folders[kind]))]
        done = subprocess.run(
            [*JAVA, QUIET, "kafka.docker.KafkaDockerWrapper", "setup", *options],
            env={"PATH": os.environ["PATH"], **environment},
            check=False,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        lines = (folders["final"] / "server.properties").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if line)

    def start_brokers(self) -> None:
        """Start every broker on its settings, and wait until its health check holds."""
        for broker in self.brokers:
            self.properties(broker)
        for broker in self.brokers:
            self.start_broker(broker)
        for broker in self.brokers:
            self.await_health(broker)

    def start_broker(self, broker: str) -> None:
        """Start one whose settings are made."""
        log = (self.folder / f"{broker}.log").open("ab")
        command = [*JAVA, QUIET, "kafka.Kafka", str(self.folder / f"{broker}-final" / "server.properties")]
        self._start(broker, command, stdout=log)

    def await_health(self, service: str) -> None:
        """Run a service's health check until it holds."""
        _, *check = self.services[service]["healthcheck"]["test"]
        for _ in range(self.services[service]["healthcheck"]["retries"]):
            done = self.run_words([sys.executable if word == "python" else word for word in check])
            if done.returncode == 0:
                return
            assert self._processes[service].poll() is None, self.log(service)[-5000:]
            time.sleep(1.0)
        raise AssertionError(done.stdout + done.stderr)

    def kill(self, name: str) -> None:
        """End a process at once."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    # --- commands

    def run(self, service: str, *changes: tuple[str, str]) -> "subprocess.CompletedProcess[str]":
        """Run what a service runs, to its end.

        Args:
            service: Its name.
            changes: Pieces of its script and what takes their place.
        """
        if service not in own_services(self.services):
            return self.run_words(self.services[service]["command"])
        return subprocess.run(
            ["sh", "-euc", self.script(service, *changes)],
            env=self._environment(service),
            check=False,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )

    def run_words(self, words: list[str]) -> "subprocess.CompletedProcess[str]":
        """Run one of the broker's tools."""
        return subprocess.run(
            [self.translated(word).replace("/opt/kafka/bin", str(self.folder / "tools")) for word in words],
            check=False,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )

    def serve(self, service: str) -> None:
        """Start what a service runs."""
        log = (self.folder / f"{service}.log").open("ab")
        self._start(service, ["sh", "-euc", self.script(service)], env=self._environment(service), stdout=log)

    def log(self, service: str) -> str:
        """Return what a started service has written."""
        return (self.folder / f"{service}.log").read_text()

    def script(self, service: str, *changes: tuple[str, str]) -> str:
        """Return a service's script for this machine."""
        script = self.translated(script_of(self.services[service]))
        for piece, instead in changes:
            assert piece in script
            script = script.replace(piece, instead)
        return script

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in list(self._processes):
            self.kill(name)

    def _start(self, name: str, command: list[str], **options: Any) -> None:
        with options["stdout"]:
            self._processes[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.STDOUT,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - no other thread runs here
                **options,
            )

    def _environment(self, service: str) -> dict[str, str]:
        own = self.services[service].get("environment", {})
        return {
            "HOME": str(self.folder),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            **{name: self.translated(value) for name, value in own.items()},
        }

    def _write_tools(self) -> None:
        tools = self.folder / "tools"
        tools.mkdir()
        for name, program in TOOLS.items():
            path = tools / name
            words = " ".join(f"'{word}'" for word in (*JAVA, QUIET, program))
            path.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
            path.chmod(0o755)
