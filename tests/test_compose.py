"""The compose files and the Dockerfile, held against what they rely on; no container engine is needed.

tests/kafka/test_compose_brokers.py runs what they say against real brokers.
"""

import csv
import json
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from compose_files import (
    CLUSTER,
    DEPLOYMENTS,
    FILES,
    ROOT,
    broker_properties,
    brokers,
    deployment,
    kafka_version_of_tests,
    mounts,
    own_services,
    own_version,
    privml_calls,
    read_file,
    script_of,
)
from cryptography import x509

from pipeline.commands.main import main
from pipeline.kafka_settings import access_settings, broker_settings
from schemas.reasons import ExitCode

# Settings that say where a broker is and how it is reached: no table has them.
PLACE = {
    "process.roles",
    "node.id",
    "controller.quorum.voters",
    "controller.listener.names",
    "listeners",
    "advertised.listeners",
    "listener.security.protocol.map",
    "inter.broker.listener.name",
    "log.dirs",
}
SECURITY = {
    "sasl.enabled.mechanisms": "SCRAM-SHA-512",
    "listener.name.internal.ssl.client.auth": "required",
    "listener.name.controller.ssl.client.auth": "required",
    "ssl.keystore.type": "PEM",
    "ssl.truststore.type": "PEM",
}


@pytest.fixture(params=DEPLOYMENTS)
def services(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = deployment(request.param)["services"]
    return found


# --- form


@pytest.mark.parametrize("name", FILES)
def test_a_file_conforms_to_the_compose_specification(name: str) -> None:
    schemas = files("check_jsonschema") / "builtin_schemas" / "vendor"
    schema = json.loads((schemas / "compose-spec.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(read_file(name))


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_deployment_names_only_what_is_there(name: str) -> None:
    whole = deployment(name)
    services = whole["services"]
    for service in services.values():
        for other, condition in service.get("depends_on", {}).items():
            assert other in services
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in services[other]
            if condition["condition"] == "service_completed_successfully":
                assert services[other]["restart"] == "no"
        for source in mounts(service).values():
            assert (ROOT / source).exists() if source.startswith("./") else source in whole["volumes"]
    used = {source for service in services.values() for source in mounts(service).values()}
    assert set(whole["volumes"]) <= used


def test_no_service_waits_for_itself(services: dict[str, Any]) -> None:
    waiting = {name: set(service.get("depends_on", {})) for name, service in services.items()}
    while ready := [name for name, others in waiting.items() if not others & waiting.keys()]:
        for name in ready:
            del waiting[name]
    assert not waiting


def test_images_are_pinned_and_the_broker_is_the_tested_one(services: dict[str, Any]) -> None:
    images = {service["image"] for service in services.values()}
    assert images == {
        f"apache/kafka:{kafka_version_of_tests()}",
        f"privml:{own_version()}",
        "ghcr.io/kafbat/kafka-ui:v1.5.0",
    }


def test_profiles_are_those_the_documents_name(services: dict[str, Any]) -> None:
    by_profile: dict[str, set[str]] = {}
    for name, service in services.items():
        for profile in service.get("profiles", [""]):
            by_profile.setdefault(profile, set()).add(name)
    assert by_profile["demo"] == {"owner-a", "owner-b", "client"}
    assert by_profile["ui"] == {"ui"}
    assert {"topics", "tenant", "mu", "su"} <= by_profile[""]


def test_ports_are_open_to_this_host_alone(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in ports)
    assert len({port.split(":")[1] for port in ports}) == len(ports)


# --- the broker's settings


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_every_broker_setting_is_one_of_the_table(name: str) -> None:
    found = brokers(deployment(name)["services"])
    assert len(found) == (3 if name == "cluster" else 1)
    table = broker_settings(len(found))
    if name == "secure":
        table |= access_settings(("User:admin", "User:CN=kafka")) | SECURITY
    for broker in found.values():
        properties = broker_properties(broker["environment"])
        rest = {setting: value for setting, value in properties.items() if setting not in PLACE}
        if name == "secure":
            rest = {
                setting: value
                for setting, value in rest.items()
                if not setting.endswith((".sasl.jaas.config", "store.location"))
            }
        assert rest == table
        assert properties.keys() >= PLACE


def test_names_become_properties_as_the_image_makes_them() -> None:
    assert broker_properties(
        {"KAFKA_A_B": "1", "KAFKA_A___B_C": "2", "KAFKA_A__B": "3", "CLUSTER_ID": "x", "KAFKA_HEAP_OPTS": "y"}
    ) == {"a.b": "1", "a-b.c": "2", "a_b": "3"}


def test_brokers_of_a_cluster_differ_in_their_place_alone() -> None:
    found = [broker["environment"] for broker in brokers(deployment("cluster")["services"]).values()]
    own = {"KAFKA_NODE_ID", "KAFKA_ADVERTISED_LISTENERS"}
    common = [{name: value for name, value in one.items() if name not in own} for one in found]
    assert common[0] == common[1] == common[2]
    for name in own:
        assert len({one[name] for one in found}) == 3


def test_every_listener_of_the_secure_broker_asks_who_comes() -> None:
    (broker,) = brokers(deployment("secure")["services"]).values()
    properties = broker_properties(broker["environment"])
    kinds = dict(pair.split(":") for pair in properties["listener.security.protocol.map"].split(","))
    listeners = {text.split("://")[0] for text in properties["listeners"].split(",")}
    assert listeners == set(kinds)
    for listener in listeners:
        prefix = f"listener.name.{listener.lower()}."
        if kinds[listener] == "SASL_SSL":
            assert properties[f"{prefix}scram-sha-512.sasl.jaas.config"].endswith(
                "ScramLoginModule required;"
            )
        else:
            assert kinds[listener] == "SSL"
            assert properties[f"{prefix}ssl.client.auth"] == "required"
    assert "password" not in json.dumps(broker["environment"]).lower()


# --- who has what


def test_a_unit_has_its_own_keys_and_nobody_elses(services: dict[str, Any]) -> None:
    shared = {"public", "kafka", "./examples/weather", "./examples/kafka"}
    for unit, other in (("mu", "su"), ("su", "mu")):
        for name in (unit, f"{unit}-keys"):
            own = set(mounts(services[name]).values()) - shared
            assert own <= {unit, f"{unit}-login"}
        holders = {name for name, service in services.items() if unit in mounts(service).values()}
        assert holders == {unit, f"{unit}-keys"}
        assert other not in mounts(services[unit])


def test_secrets_of_the_broker_stay_with_the_broker() -> None:
    services = deployment("secure")["services"]
    holders = {name for name, service in services.items() if "secrets" in mounts(service).values()}
    assert holders == {"certificates", "kafka", "admin"}
    admins = {
        name
        for name, service in services.items()
        if "username=admin" in service.get("environment", {}).get("TRANSPORT", "")
    }
    assert admins == {"topics", "tenant", "acl"}


def test_every_party_of_the_secure_deployment_logs_in_as_itself() -> None:
    services = deployment("secure")["services"]
    logins = {
        name: re.findall(r"username=([\w.]+)", services[name]["environment"]["TRANSPORT"])
        for name in ("mu", "su", "owner-a", "owner-b", "client")
    }
    assert logins == {
        "mu": ["demo.mu"],
        "su": ["demo.su"],
        "owner-a": ["demo.a"],
        "owner-b": ["demo.b"],
        "client": ["demo.c"],
    }


# --- commands


def test_every_command_of_ours_is_one_the_program_knows(
    services: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    calls = [call for service in own_services(services).values() for call in privml_calls(script_of(service))]
    assert len(calls) >= 10
    for call in calls:
        # Options are read, and unknown ones refused, before the help is shown.
        assert main([*call, "--help"]) == 0, call
        assert "Usage: privml" in capsys.readouterr().out


def test_the_check_of_commands_notices_what_is_not_there() -> None:
    for call in (["topics", "make"], ["topics", "create", "--tennant", "demo"]):
        with pytest.raises(SystemExit) as ended:
            main([*call, "--help"])
        assert ended.value.code == ExitCode.USAGE


def test_scripts_are_what_a_shell_takes(services: dict[str, Any]) -> None:
    for service in own_services(services).values():
        script = script_of(service)
        done = subprocess.run(["sh", "-n", "-c", script], check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_the_cluster_asks_for_as_many_copies_as_it_has_brokers() -> None:
    whole = deployment("cluster")["services"]
    (call,) = privml_calls(script_of(whole["topics"]))
    assert call[call.index("--replication") + 1] == str(len(brokers(whole)))
    assert call[call.index("--min-in-sync") + 1] == broker_settings(3)["min.insync.replicas"]
    assert set(read_file(CLUSTER)["services"]["topics"]["depends_on"]) == set(brokers(whole))


# --- the image


def instructions() -> list[tuple[str, str]]:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"(?m)^\s*#.*\n", "", text).replace("\\\n", " ").splitlines()
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines if line.strip()]


def test_the_image_copies_what_is_there_and_passes_the_ignore_file() -> None:
    passed = {
        line.removeprefix("!").removeprefix("/")
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }
    sources = {
        source
        for kind, rest in instructions()
        if kind == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    }
    assert sources == passed
    assert all((ROOT / source).exists() for source in sources)
    assert sources >= {"crypto", "schemas", "roles", "pipeline", "requirements.lock"}


def test_the_image_installs_the_lock_and_runs_as_nobody_special() -> None:
    listed = instructions()
    runs = " ".join(rest for kind, rest in listed if kind == "RUN")
    assert "--require-hashes -r requirements.lock" in runs
    assert "--constraint requirements.lock /wheels/*.whl" in runs
    bases = [rest.split()[0] for kind, rest in listed if kind == "FROM"]
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.1[1-3]-slim-\w+", bases[0])
    assert [rest for kind, rest in listed if kind == "USER"] == ["privml"]
    assert listed[-1] == ("ENTRYPOINT", '["privml"]')


def test_the_image_has_a_place_for_every_volume(services: dict[str, Any]) -> None:
    runs = " ".join(rest for kind, rest in instructions() if kind == "RUN")
    (made,) = re.findall(r"install -d [^&]*", runs)
    for service in own_services(services).values():
        for target, source in mounts(service).items():
            assert source.startswith("./") or target in made.split()


# --- the examples


def test_the_certificates_are_the_brokers_and_the_files_private(tmp_path: Path) -> None:
    for name in ("secrets", "passwords"):
        (tmp_path / name).mkdir()
    ca = tmp_path / "ca.pem"
    subprocess.run(
        [
            sys.executable,
            ROOT / "examples" / "kafka" / "make_secrets.py",
            *("--secrets", tmp_path / "secrets", "--passwords", tmp_path / "passwords", "--ca", ca),
            *("--host", "kafka", "--host", "localhost", "--place", "where-it-is"),
        ],
        check=True,
        timeout=60,
    )
    authority = x509.load_pem_x509_certificate(ca.read_bytes())
    broker = x509.load_pem_x509_certificate((tmp_path / "secrets" / "broker.pem").read_bytes())
    broker.verify_directly_issued_by(authority)
    # Super user of the broker under this name.
    assert broker.subject.rfc4514_string() == "CN=kafka"
    names = broker.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["kafka", "localhost"]
    private = [*(tmp_path / "secrets").iterdir(), *(tmp_path / "passwords").iterdir()]
    assert {path.stat().st_mode & 0o777 for path in private} == {0o600}
    assert len(private) == 5
    settings = (tmp_path / "secrets" / "internal.properties").read_text()
    assert "ssl.keystore.location=where-it-is/broker.pem\n" in settings
    password = (tmp_path / "passwords" / "admin.password").read_text().strip()
    assert (tmp_path / "secrets" / "admin.scram").read_text().endswith(f"password={password}\n")


def test_the_weather_is_the_readmes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weather = ROOT / "examples" / "weather"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows: list[list[str]] = []
    for name in ("a.csv", "b.csv"):
        header, *records = list(csv.reader((weather / name).read_text(encoding="utf-8").splitlines()))
        rows += records
    whole = tmp_path / "weather.csv"
    whole.write_text("\n".join(",".join(row) for row in (header, *rows)) + "\n")
    assert whole.read_text() in readme
    assert (weather / "queries.csv").read_text().split()[0] in readme
    assert main(["schema", "infer", str(whole), "--label", "play", "--yes"]) == 0
    assert capsys.readouterr().out == (weather / "schema.toml").read_text(encoding="utf-8")
