"""Inputs that once ended in something else than a value or a reason, each as short as it can be."""

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from fuzz.every_learner import (
    LOGISTIC,
    TREE,
    every_learner_tenant,
    logistic,
    taught,
    taught_chunk,
    tree,
)
from fuzz.test_audited_entries import SEALED, linked, middle_of_a_journal
from fuzz.test_configurations import good_configuration
from fuzz.verdicts import check_error
from round_trips import secondary_unit
from tenants import SmallTenant, small_tenant

from crypto.errors import PrivMLError, SchemaError
from pipeline.csv_rows import InputFileError, open_csv
from pipeline.errors import StorageError
from pipeline.log_files import NewMessage, TopicFile, create_topic_file
from pipeline.schema_files import read_schema
from pipeline.schema_inference import infer_schema
from pipeline.sealed_models import _restored, _sealed
from pipeline.set_up import _check_sizes
from pipeline.settings import SettingsError, dump_settings, load_settings
from pipeline.transport import Position
from roles.classifiers.hoeffding_tree_detail import TreeDetail
from roles.classifiers.logistic_regression_schedule import MAX_BATCH_RECORDS
from roles.plan import MAX_STEPS
from roles.session import session_name
from roles.tenant import ConfigurationError, Tenant, tenant_from
from schemas.codec import decode, encode
from schemas.configuration import Configuration, Limits
from schemas.models import LogisticSpec, ModelSpec, NaiveBayesSpec, TreeSpec
from schemas.rounds import Request, Subject
from schemas.schema_toml import load_schema
from schemas.snapshots import SealedModel, SealedPlace
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


# --- models: what is still open, each with the answer that it should have


def tenant_with(spec: ModelSpec, limits: Limits) -> Tenant:
    configuration = msgspec.structs.replace(good_configuration((spec,)), limits=limits)
    return tenant_from(configuration, allow_insecure=True)


LIMITS = Limits(64, 1 << 10, 8, 1, 1, 0)


def asked_of_su(small: SmallTenant, subject: Subject) -> str:
    """Return the reason why SU refuses the first request of a session."""
    name = session_name(small.tenant, subject)
    request = Request(name, subject, bytes(32), 1, ())
    return secondary_unit(small).answer(request, encode(request), None).reason


def test_a_tree_tries_its_root_after_one_record() -> None:
    spec = TreeSpec("t", attempt_records=1)
    small = small_tenant(every_learner_tenant(LIMITS).tenant.schema, models=(spec,), limits=LIMITS)
    _, grown = taught(small, tree(small), tree(small).starting(), [taught_chunk(small, 0, 1)])
    assert grown.records == 1


def test_su_refuses_attempts_on_leaves_without_records() -> None:
    # Two fresh leaves, and more records since the last attempt than were published since they are there.
    nodes = ((0, 0, 0, 1, 2), (1, 24, 0, -1, -1), (1, 24, 0, -1, -1))
    detail = encode(TreeDetail(nodes, 24, 0, 0))
    subject = Subject("grow", TREE, 0, bytes(32), 20, 1, detail=detail)
    assert asked_of_su(every_learner_tenant(LIMITS), subject) == "plan_violation"


@pytest.mark.parametrize("model_id", [LOGISTIC, TREE])
def test_su_refuses_details_longer_than_a_message(model_id: str) -> None:
    subject = Subject("learn", model_id, 0, bytes(32), 20, 1, rows=3, detail=bytes((4 << 20) + 1))
    assert asked_of_su(every_learner_tenant(LIMITS), subject) == "plan_violation"


@pytest.mark.parametrize("records", [0, MAX_BATCH_RECORDS + 1])
def test_chunks_that_logistic_regression_cannot_take_are_refused_at_once(records: int) -> None:
    limits = msgspec.structs.replace(LIMITS, max_chunk_records=records)
    with pytest.raises((SettingsError, ConfigurationError)):
        _check_sizes(tenant_with(LogisticSpec("lr"), limits))


def test_a_model_that_may_hold_no_records_is_refused_at_once() -> None:
    limits = msgspec.structs.replace(LIMITS, max_total_records=0)
    with pytest.raises((SettingsError, ConfigurationError)):
        _check_sizes(tenant_with(NaiveBayesSpec("nb"), limits))


def test_a_tree_of_any_number_of_leaves_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError):
        tenant_with(TreeSpec("dt", max_leaves=1 << 40), LIMITS)


def test_lessons_of_more_round_trips_than_su_answers_are_refused_at_once() -> None:
    spec = LogisticSpec("lr", passes=300, batch_records=1)
    assert 4 * 300 * LIMITS.max_chunk_records > MAX_STEPS
    with pytest.raises((SettingsError, ConfigurationError)):
        _check_sizes(tenant_with(spec, LIMITS))


@pytest.mark.parametrize("byte", [b"\x00", b"\xff"])
def test_sealed_models_hold_numbers_in_range(byte: bytes) -> None:
    # An auditor who hashes such a model stops with an error instead of a finding.
    small = every_learner_tenant(LIMITS)
    learner = logistic(small)
    body, _ = _sealed(learner, learner.starting())
    sealed = decode(SealedModel, body)
    width = small.tenant.parameters.component_bytes
    content = byte * width + sealed.ciphertexts[width:]
    body = encode(msgspec.structs.replace(sealed, ciphertexts=content))
    place = SealedPlace(0, 0, bytes(32), hashlib.sha256(content).digest())
    assert _restored(learner, body, place) is None


def test_a_lesson_of_more_records_than_a_window_holds_does_not_follow() -> None:
    limits = msgspec.structs.replace(LIMITS, max_chunk_records=60_000, max_total_records=1 << 20)
    learner = tree(every_learner_tenant(limits))
    before = learner.starting()
    assert not learner.follows(before, (60_000, 60_000), before.content)


@pytest.mark.parametrize("invalid", [-1000, 7, 2**63])
def test_a_lesson_neither_adds_records_nor_loses_more_than_there_are(invalid: int) -> None:
    journal = middle_of_a_journal(every_learner_tenant(LIMITS))
    auditor, unit = journal.auditor, journal.auditor.unit
    learnt = next(candidate.learnt for candidate in journal.candidates if candidate.learnt is not None)
    auditor.fold(linked(unit.decide_learnt(LOGISTIC, (invalid,), SEALED)), None, learnt=learnt)
    assert auditor.findings.found
