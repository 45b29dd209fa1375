"""The compose files as an engine would read them: merged, and their parts by name."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
BASE = "docker-compose.kafka.yml"
CLUSTER = "docker-compose.kafka-cluster.yml"
SECURE = "docker-compose.kafka-secure.yml"
FILES = (BASE, CLUSTER, SECURE)

DEPLOYMENTS: dict[str, tuple[str, ...]] = {
    "plain": (BASE,),
    "cluster": (BASE, CLUSTER),
    "secure": (BASE, SECURE),
}
"""What docs/kafka.md says to run, by the files it names."""

# A later file's list of these replaces the earlier one; other lists are joined.
_REPLACED = {"command", "entrypoint", "test"}

# The image's own rules: variables that are no settings, and how a name becomes a property.
NO_SETTINGS = {"KAFKA_HEAP_OPTS"}


def read_file(name: str) -> dict[str, Any]:
    """Return a compose file with its anchors resolved."""
    parser = YAML(typ="safe", pure=True)
    loaded: dict[str, Any] = parser.load((ROOT / name).read_text(encoding="utf-8"))
    return loaded


def merged(earlier: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """Return what several files given with -f make, by the Compose Specification's rules."""
    result = dict(earlier)
    for name, value in later.items():
        before = result.get(name)
        if isinstance(before, dict) and isinstance(value, dict):
            result[name] = merged(before, value)
        elif isinstance(before, list) and isinstance(value, list) and name not in _REPLACED:
            result[name] = before + [item for item in value if item not in before]
        else:
            result[name] = value
    return result


def deployment(name: str) -> dict[str, Any]:
    """Return the services and volumes of a deployment."""
    result: dict[str, Any] = {}
    for file in DEPLOYMENTS[name]:
        result = merged(result, read_file(file))
    return result


def brokers(services: dict[str, Any]) -> dict[str, Any]:
    """Return the services that run a broker."""
    return {
        name: service
        for name, service in services.items()
        if "KAFKA_PROCESS_ROLES" in service.get("environment", {})
    }


def broker_properties(environment: dict[str, str]) -> dict[str, str]:
    """Return the properties that the broker's image makes of its environment."""
    return {
        name.removeprefix("KAFKA_")
        .lower()
        .replace("___", "-")
        .replace("__", "\0")
        .replace("_", ".")
        .replace("\0", "_"): value
        for name, value in environment.items()
        if name.startswith("KAFKA_") and name not in NO_SETTINGS
    }


def own_services(services: dict[str, Any]) -> dict[str, Any]:
    """Return the services that run our image."""
    return {name: service for name, service in services.items() if service["image"].startswith("privml:")}


def script_of(service: dict[str, Any]) -> str:
    """Return what a service of our image runs, as a script for a shell."""
    command: list[str] = service["command"]
    if "entrypoint" not in service:
        return shlex.join(["privml", *command])
    assert service["entrypoint"] == ["/bin/sh", "-euc"]
    (script,) = command
    # A doubled sign is how a compose file writes one.
    return script.replace("$$", "$")


def privml_calls(script: str) -> Iterator[list[str]]:
    """Yield the arguments of every call of the program in a script."""
    for line in script.replace("\\\n", " ").splitlines():
        found = re.search(r"(?:^|\s)privml\s+(\w.*)$", line)
        if found:
            yield shlex.split(found.group(1))


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """Return source by target of a service's volumes."""
    return {target: source for source, target, *_ in (text.split(":") for text in service.get("volumes", []))}


def kafka_version_of_tests() -> str:
    """Return the version of the broker that the tests run."""
    pom = (ROOT / "tests" / "kafka" / "pom.xml").read_text(encoding="utf-8")
    found = re.search(r"<artifactId>kafka_2\.13</artifactId>\s*<version>([\d.]+)</version>", pom)
    assert found is not None
    return found.group(1)


def own_version() -> str:
    """Return the project's version."""
    version: str = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    return version
