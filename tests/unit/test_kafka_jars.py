"""The list of the broker's jars: complete, pinned, and compared in both directions."""

import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from kafka import jars

ROOT = Path(__file__).parents[2]


def test_every_jar_is_pinned_by_its_checksum() -> None:
    listed = jars.listed()
    assert len(listed) > 50
    for name, checksum in listed.items():
        assert re.fullmatch(r"[A-Za-z0-9._-]+-[0-9][A-Za-z0-9.-]*\.jar", name)
        assert re.fullmatch(r"[0-9a-f]{64}", checksum)


def test_the_pom_and_the_list_speak_of_the_same_versions() -> None:
    root = ElementTree.parse(jars.HERE / "pom.xml").getroot()
    for dependency in root.iter("dependency"):
        artifact = dependency.findtext("artifactId")
        version = dependency.findtext("version")
        assert f"{artifact}-{version}.jar" in jars.listed()
    # Where the jars come from is the machine's own setting.
    text = (jars.HERE / "pom.xml").read_text()
    assert "repositor" not in text


def test_a_jar_that_differs_is_named(tmp_path: Path) -> None:
    for name, content in (("a-1.jar", b"a"), ("b-1.jar", b"b")):
        (tmp_path / name).write_bytes(content)
    found = jars.checksums(tmp_path)
    assert jars.differences(found, found) == []
    assert jars.differences(found, {**found, "c-1.jar": "0"}) == ["missing: c-1.jar"]
    assert jars.differences({**found, "c-1.jar": "0"}, found) == ["not on the list: c-1.jar"]
    assert jars.differences(found, {**found, "a-1.jar": "0"}) == ["another content: a-1.jar"]


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.argv", ["jars.py", str(tmp_path / "libs")])
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match=r"java not found.*PRIVML_TEST_KAFKA=host:port.*PRIVML_SKIP_KAFKA=1"):
        jars.main()


@pytest.mark.parametrize("failing", [False, True])
def test_a_container_is_the_broker_where_java_is_missing(tmp_path: Path, *, failing: bool) -> None:
    calls = tmp_path / "calls"
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    for program in ("make", "sh"):
        (tmp_path / "bin" / program).symlink_to(str(shutil.which(program)))
    # What the search path has may be a script that needs more programs than these.
    (tmp_path / "bin" / "python3").symlink_to(Path(sys.executable).resolve())
    for name, line in (
        ("bin/docker", 'echo "docker $*"'),
        ("venv/bin/python", 'echo "$PRIVML_TEST_KAFKA $*"'),
    ):
        script = tmp_path / name
        script.write_text(f"#!/bin/sh\n{line} >> {calls}\n{'exit 3' if failing and 'venv' in name else ''}\n")
        script.chmod(0o755)
    (tmp_path / "venv" / ".installed").touch()
    environment = {"PATH": str(tmp_path / "bin")}
    ended = subprocess.run(
        ["make", "test-kafka", f"VENV={tmp_path / 'venv'}", "ARGS=-q"],
        cwd=ROOT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert (ended.returncode == 0) is not failing
    assert "java not found" in ended.stderr
    compose = "docker compose -p privml-tests -f docker-compose.kafka.yml"
    assert calls.read_text().splitlines() == [
        "docker info",
        f"{compose} up --detach --wait kafka",
        "localhost:9092 -m pytest -m kafka -rs -n 2 --dist loadfile -q",
        f"{compose} down --volumes",
    ]
