"""Inputs that once ended in something else than a value or a reason, each as short as it can be."""

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from fuzz.test_configurations import good_configuration
from fuzz.verdicts import check_error

from crypto.errors import PrivMLError, SchemaError
from pipeline.csv_rows import InputFileError, open_csv
from pipeline.errors import StorageError
from pipeline.log_files import NewMessage, TopicFile, create_topic_file
from pipeline.schema_files import read_schema
from pipeline.schema_inference import infer_schema
from pipeline.settings import SettingsError, dump_settings, load_settings
from pipeline.transport import Position
from roles.tenant import ConfigurationError, tenant_from
from schemas.configuration import Configuration
from schemas.schema_toml import load_schema
from schemas.topics import Durability, Kept, TopicSpec

SETTINGS = f"""\
tenant = "demo"
transport = "log:topics"
key_epoch = 1
authority = "authority"
authority_key = "{"00" * 32}"
configuration_sha256 = "{"00" * 32}"
"""


# --- TOML: what the parser leaves to `int`, to `Decimal` and to the stack


@pytest.mark.parametrize("value", ["[" * 3000, "{a=" * 3000, "9" * 5000])
def test_settings_that_the_parser_does_not_survive(tmp_path: Path, value: str) -> None:
    path = tmp_path / "privml.toml"
    path.write_text(f"{SETTINGS}more = {value}\n")
    with pytest.raises(SettingsError):
        load_settings(path)


@pytest.mark.parametrize("value", ["[" * 3000, "{a=" * 3000, "9" * 5000, "1e" + "9" * 30, "-1e-" + "9" * 30])
def test_schemas_that_the_parser_does_not_survive(tmp_path: Path, value: str) -> None:
    with pytest.raises(SchemaError):
        load_schema(f"format = {value}\n")
    (tmp_path / "schema.toml").write_text(f"format = {value}\n")
    with pytest.raises(InputFileError):
        read_schema(tmp_path / "schema.toml")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"demo"', '"De mo"'),  # a ValueError from the first topic's name
        ('"demo"', '""'),
        ("key_epoch = 1", "key_epoch = 0x" + "f" * 5000),  # a ValueError once it is printed
        ("key_epoch = 1", "key_epoch = -1"),
        ("key_epoch = 1", "key_epoch = true"),
        ('"log:topics"', '"log:\\u0000"'),  # a ValueError from opening the file
        ('authority = "authority"', 'authority = "authority"\nkeys = "\\u0000"'),
        ('authority = "authority"', 'authority = "authority"\npassphrase_file = "a\\u0000"'),
    ],
)
def test_settings_that_fail_only_when_they_are_used(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "privml.toml"
    path.write_text(SETTINGS)
    assert load_settings(path).tenant in dump_settings(load_settings(path))
    assert old in SETTINGS
    path.write_text(SETTINGS.replace(old, new))
    with pytest.raises(SettingsError) as refused:
        load_settings(path)
    assert refused.value.code == "invalid_config"


# --- CSV: a quote that is left open makes a column's name of the records


@pytest.mark.parametrize(
    "text",
    [
        'colour,kind,"more\nred,very-secret-one,x\ngreen,y",z\n',
        'colour,kind,"more\r\nred,very-secret-one,x\r\ngreen,y",z\r\n',
        'colour,kind,"' + "very-secret-one," * 40 + '"\nred,x,y\n',
    ],
    ids=["line feeds", "both", "one line"],
)
def test_records_in_the_header_are_not_quoted(tmp_path: Path, text: str) -> None:
    path = tmp_path / "records.csv"
    path.write_bytes(text.encode())
    for label in ("kind", "class"):
        with pytest.raises(InputFileError) as refused:
            infer_schema(path, label)
        check_error(refused.value, b"very-secret-one")
    with pytest.raises(InputFileError), open_csv(path):
        pass


# --- the embedded log, edited by hand

SPEC = TopicSpec("small.chunks", 1, Kept.AUDIT_WINDOW, Durability.FULL)


def edited(folder: Path, *statements: str) -> Path:
    """Make a topic of two messages and change it; return its folder."""
    create_topic_file(folder, SPEC)
    with closing(TopicFile(folder, SPEC.topic)) as file:
        file.append([NewMessage(0, None, None, b"0"), NewMessage(0, None, None, b"1")])
    connection = sqlite3.connect(folder / f"{SPEC.topic}.sqlite", isolation_level=None)
    with closing(connection):
        for statement in statements:
            connection.execute(statement)
    return folder


@pytest.mark.parametrize(
    "offset", ["'2'", "'abc'", "x'32'", "1.5", "9223372036854775807", "4611686018427387904", "-1"]
)
def test_a_row_without_a_place_in_the_sequence_is_not_there(tmp_path: Path, offset: str) -> None:
    row = f"INSERT INTO message VALUES (0, {offset}, NULL, NULL, x'68', 0)"
    with closing(TopicFile(edited(tmp_path, row), SPEC.topic)) as file:
        # SQLite itself makes a number of the text '2'.
        there = [b"0", b"1", b"h"] if offset == "'2'" else [b"0", b"1"]
        assert [(m.offset, m.value) for m in file.read(0, 0, 10, 1 << 20)] == list(enumerate(there))
        assert file.bounds(0) == (0, len(there))
        assert file.append([NewMessage(0, None, None, b"new")]) == [Position(SPEC.topic, 0, len(there))]
        assert [m.value for m in file.read(0, len(there), 10, 1 << 20)] == [b"new"]


@pytest.mark.parametrize("value", ["'abc'", "x'00'", "1.5", "-1", "9223372036854775807"])
@pytest.mark.parametrize("column", ["first_offset", "next_offset"])
def test_bounds_that_are_no_offsets_are_damage(tmp_path: Path, column: str, value: str) -> None:
    with closing(TopicFile(edited(tmp_path, f"UPDATE bounds SET {column} = {value}"), SPEC.topic)) as file:
        for use in (
            lambda: file.read(0, 0, 1, 1),
            lambda: file.bounds(0),
            file.info,
            lambda: file.append([NewMessage(0, None, None, b"new")]),
        ):
            with pytest.raises(StorageError):
                use()


@pytest.mark.parametrize("value", ["0", "-1", "'abc'", "1.5", "x'01'", "9223372036854775807"])
def test_a_number_of_partitions_that_is_none_is_damage(tmp_path: Path, value: str) -> None:
    with pytest.raises(StorageError):
        TopicFile(edited(tmp_path, f"UPDATE topic SET partitions = {value}"), SPEC.topic)


def test_a_damaged_name_that_is_no_text_is_damage(tmp_path: Path) -> None:
    path = edited(tmp_path, "PRAGMA wal_checkpoint(TRUNCATE)") / f"{SPEC.topic}.sqlite"
    data = path.read_bytes()
    # sqlite3 cannot make its own error: its text would quote this name.
    changed = data.replace(b"tablebounds", b"table\xd5ounds").replace(
        b"CREATE TABLE bounds", b"CREATE TABXE bounds"
    )
    assert len(changed) == len(data) != len(data.replace(b"tablebounds", b""))
    path.write_bytes(changed)
    with pytest.raises(StorageError) as refused:
        TopicFile(tmp_path, SPEC.topic)
    check_error(refused.value, data, SPEC.topic.encode())


# --- configurations


def with_party(good: Configuration, **changes: object) -> Configuration:
    party = msgspec.structs.replace(good.parties[-1], **changes)
    return msgspec.structs.replace(good, parties=(*good.parties[:-1], party))


@pytest.mark.parametrize(
    "changes", [{"role": "wizard"}, {"role": ""}, {"verify_key": b""}, {"verify_key": bytes(31)}]
)
def test_a_party_that_is_none(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        tenant_from(with_party(good_configuration(), **changes), allow_insecure=True)
    assert isinstance(refused.value, PrivMLError)
    assert refused.value.code == "invalid_config"
