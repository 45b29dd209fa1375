"""What a kafka:// URL says, and what it may not say."""

from pathlib import Path

import pytest

from pipeline.errors import InvalidTransportUrlError
from pipeline.kafka_address import KafkaAddress, map_files, parse_kafka_url
from pipeline.settings import Settings, dump_settings, load_settings


def test_a_plain_url_has_the_defaults() -> None:
    address = parse_kafka_url("kafka://one,two:19092,[::1]:1234")
    assert address == KafkaAddress(("one:9092", "two:19092", "[::1]:1234"))
    assert address.client_options() == {
        "bootstrap_servers": ["one:9092", "two:19092", "[::1]:1234"],
        "security_protocol": "PLAINTEXT",
    }


def test_every_option_arrives() -> None:
    url = (
        "kafka://h:1?security=SASL_SSL&ca_file=/c.pem&username=m%26u&password_file=keys/pw"
        "&mechanism=SCRAM-SHA-256&replication=3&connect=2.5&patience=90"
    )
    assert parse_kafka_url(url) == KafkaAddress(
        ("h:1",), "SASL_SSL", Path("/c.pem"), "m&u", Path("keys/pw"), "SCRAM-SHA-256", 3, 2.5, 90.0
    )


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("kafka://", "kafka://HOST"),
        ("kafka:host", "kafka://HOST"),
        ("kafka://host/path", "kafka://HOST"),
        ("kafka://host#x", "kafka://HOST"),
        ("kafka://,host", "a host is missing"),
        ("kafka://:9092", "a host is missing"),
        ("kafka://host:99999", "a port is"),
        ("kafka://host:x", "a port is"),
        ("kafka://user:secret@host", "does not stand before the host"),
        ("kafka://host?password=secret", "unknown or stands twice"),
        ("kafka://host?connect=1&connect=2", "unknown or stands twice"),
        ("kafka://host?connect", "NAME=VALUE"),
        ("kafka://host?security=ssl", "security is one of PLAINTEXT, SSL"),
        ("kafka://host?security=SASL_SSL", "belong together"),
        ("kafka://host?security=SASL_SSL&username=u", "belong together"),
        ("kafka://host?username=u&password_file=f", "belong together"),
        ("kafka://host?password_file=f", "belong together"),
        ("kafka://host?ca_file=f", "ca_file needs"),
        ("kafka://host?security=SSL&ca_file=", "names no file"),
        ("kafka://host?mechanism=PLAIN", "mechanism is one of"),
        ("kafka://host?replication=0", "whole number"),
        ("kafka://host?replication=two", "whole number"),
        ("kafka://host?connect=0", "positive number"),
        ("kafka://host?patience=nan", "positive number"),
        ("kafka://host?patience=-1", "positive number"),
    ],
)
def test_a_wrong_url_is_refused_without_repeating_secrets(url: str, said: str) -> None:
    with pytest.raises(InvalidTransportUrlError) as refused:
        parse_kafka_url(url)
    assert said in str(refused.value)
    assert "secret" not in f"{refused.value} {refused.value.hint}"


def login(folder: Path, content: bytes, mode: int = 0o600) -> KafkaAddress:
    file = folder / "password"
    file.touch(mode=mode)
    file.chmod(mode)
    file.write_bytes(content)
    return parse_kafka_url(f"kafka://h?security=SASL_PLAINTEXT&username=mu&password_file={file}")


def test_the_password_is_the_first_line_of_a_private_file(tmp_path: Path) -> None:
    address = login(tmp_path, "pässword with spaces \r\nsecond line".encode())
    options = address.client_options()
    assert options["sasl_plain_password"] == "pässword with spaces "
    assert (options["sasl_plain_username"], options["sasl_mechanism"]) == ("mu", "SCRAM-SHA-512")
    assert "password" not in repr(address)


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (b"secret\n", 0o640, "may be read by others"),
        (b"\nsecret", 0o600, "empty or too long"),
        (b"s" * 2000, 0o600, "empty or too long"),
        (b"\xffsecret\n", 0o600, "not UTF-8"),
    ],
)
def test_an_unusable_password_file_is_refused(tmp_path: Path, content: bytes, mode: int, said: str) -> None:
    with pytest.raises(InvalidTransportUrlError, match=said) as refused:
        login(tmp_path, content, mode).client_options()
    assert refused.value.file == tmp_path / "password"
    assert "secret" not in f"{refused.value} {refused.value.hint}"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for query in (
        f"security=SASL_PLAINTEXT&username=u&password_file={tmp_path / 'none'}",
        f"security=SSL&ca_file={tmp_path / 'none'}",
    ):
        with pytest.raises(InvalidTransportUrlError, match="cannot be read") as refused:
            parse_kafka_url(f"kafka://h?{query}").client_options()
        assert refused.value.file == tmp_path / "none"


def test_tls_checks_the_certificate_and_the_name() -> None:
    context = parse_kafka_url("kafka://h?security=SSL").client_options()["ssl_context"]
    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"


def test_files_are_changed_and_nothing_else() -> None:
    url = "kafka://h:1?security=SASL_SSL&username=a%26b&ca_file=/etc/ca.pem&password_file=keys/p%20w"
    resolved = map_files(url, lambda file: str("/tenant" / file))
    assert parse_kafka_url(resolved).password_file == Path("/tenant/keys/p w")
    assert parse_kafka_url(resolved).ca_file == Path("/etc/ca.pem")
    assert parse_kafka_url(resolved).username == "a&b"
    for unchanged in ("kafka://h:1", "log:/x?ca_file=y", "memory:"):
        assert map_files(unchanged, lambda file: f"/tenant/{file}") == unchanged


def test_files_in_the_settings_are_relative_to_it(tmp_path: Path) -> None:
    options = f"security=SASL_SSL&username=mu&ca_file=/etc/ca.pem&password_file={tmp_path}/keys/pw"
    made = Settings(
        tmp_path / "privml.toml", "t", f"kafka://h:1?{options}", 1, "authority", bytes(32), bytes(32),
        tmp_path / "keys", tmp_path / "state", None, insecure=False,
    )  # fmt: skip
    made.path.write_text(dump_settings(made))
    assert "password_file=keys/pw" in made.path.read_text()
    moved = tmp_path / "moved"
    moved.mkdir()
    made.path.rename(moved / "privml.toml")
    address = parse_kafka_url(load_settings(moved / "privml.toml").transport)
    assert (address.ca_file, address.password_file) == (Path("/etc/ca.pem"), moved / "keys" / "pw")
