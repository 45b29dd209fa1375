"""The list of the broker's jars: complete, pinned, and compared in both directions."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from kafka import jars


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
