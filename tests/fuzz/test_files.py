"""Files that people edit or receive: settings, data schemas, records, queries, public keys."""

from functools import partial
from pathlib import Path

import pytest
from doubles import seeded_coins
from fuzz.drawing import Draws
from fuzz.mutants import Corpus, mutate_bytes, noise
from fuzz.texts import CSV, TOML, Scratch, changed_text
from fuzz.verdicts import INPUTS, Tally, check_error
from tenants import small_schema
from toy_keys import toy_keys

from pipeline.csv_input import check_training_file, read_query_file, read_training_file
from pipeline.csv_rows import InputFileError
from pipeline.dealer import read_parameters
from pipeline.party_keys import read_public_key
from pipeline.schema_files import read_schema
from pipeline.settings import Settings, dump_settings, load_settings
from roles.encoding import count_table
from schemas.codec import encode
from schemas.configuration import Party, PublicParameters, UnitPublicKey
from schemas.data_schema import (
    SCHEMA_VERSION,
    CategoricalAttribute,
    ClassLabel,
    DataSchema,
    Missing,
    NumericAttribute,
)
from schemas.schema_toml import dump_schema
from schemas.topics import TopicName, topic_name

SCHEMA = DataSchema(
    SCHEMA_VERSION,
    (
        CategoricalAttribute("colour", ("red", "green", "violet"), Missing.OWN_VALUE),
        NumericAttribute("weight", ("1", "2.5", "10"), "0", "20", Missing.REFUSE),
    ),
    ClassLabel("kind", ("x", "y")),
)


def settings_texts(folder: Path) -> list[bytes]:
    made = [
        Settings(
            path=folder / "file",
            tenant=tenant,
            transport=f"log:{folder / 'topics'}",
            key_epoch=epoch,
            authority="authority",
            authority_key=bytes(range(32)),
            configuration=bytes(32),
            keys=folder / "keys",
            state=folder.parent / "state",
            passphrase_file=passphrase,
            insecure=passphrase is None,
        )
        for tenant, epoch, passphrase in (("demo", 1, None), ("other-1", 9, folder / "pass phrase"))
    ]
    return [dump_settings(settings).encode() for settings in made]


def test_any_settings_are_read_or_refused(scratch: Scratch) -> None:
    draws, tally = Draws("settings"), Tally()
    good = settings_texts(scratch.folder)

    def read(data: bytes) -> Settings:
        settings = load_settings(scratch.write(data))
        # What follows at once from the settings must not fail for another reason than theirs.
        topic_name(settings.tenant, TopicName.CONFIG)
        return settings

    for _ in range(INPUTS):
        source = draws.pick(good)
        data, mutated = noise(draws), False
        if not draws.chance(30):
            data = changed_text(draws, source, draws.pick(good), TOML)
            mutated = data != source
        # Settings hold no secret, and whoever edits them is told which line is wrong.
        settings = tally.judge(read, data, mutated=mutated, secret=b"")
        if settings is not None:
            assert load_settings(scratch.write(dump_settings(settings).encode())) == settings
            assert len(settings.authority_key) == len(settings.configuration) == 32
            if settings.passphrase_file is not None:
                tally.judge_call(partial(settings.passphrase, None, None), data, mutated=mutated, secret=b"")
    tally.check(reasons=["invalid_config", "wrong_passphrase"])


def test_any_schema_file_is_read_or_refused(scratch: Scratch) -> None:
    draws, tally = Draws("schema files"), Tally()
    good = [dump_schema(SCHEMA).encode(), dump_schema(small_schema()).encode()]
    # The preamble is comments: cut, so that what counts is hit more often.
    good = [text[text.index(b"format") :] for text in good]
    for _ in range(INPUTS):
        source = draws.pick(good)
        data, mutated = noise(draws), False
        if not draws.chance(30):
            data = changed_text(draws, source, draws.pick(good), TOML)
            mutated = data != source
        # A data schema is public.
        schema = tally.judge(lambda d: read_schema(scratch.write(d)), data, mutated=mutated, secret=b"")
        if schema is not None:
            assert read_schema(scratch.write(dump_schema(schema).encode())) == schema
    tally.check(reasons=["wrong_schema"])


# --- records


def record_files() -> list[bytes]:
    rows = ["red,0.5,x", "green,2.5,y", "violet,3,x", "?,1e1,y", '"red",19.25,x', " green , 7 ,y"]
    files = [["colour,weight,kind", *rows], ["kind,colour,weight", "x,red,5", "y,?,0.125"]]
    texts = ["\n".join(lines).encode() for lines in files]
    return [*texts, b"\xef\xbb\xbf" + texts[0].replace(b"\n", b"\r\n") + b"\r\n"]


def hostile_file(draws: Draws, good: list[bytes]) -> tuple[bytes, bool]:
    if draws.chance(30):
        return draws.pick((draws.up_to(200), noise(draws))), False
    source = draws.pick(good)
    if draws.chance(60):
        return source, False
    data = changed_text(draws, source, draws.pick(good), CSV)
    return data, data != source


def header_and_records(data: bytes) -> tuple[bytes, bytes]:
    """Return the line that names the columns, and all behind it, which no error may repeat."""
    header, _, records = data.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n").partition(b"\n")
    return header, records


def test_any_training_file_is_read_or_refused(scratch: Scratch) -> None:
    draws, tally = Draws("training files"), Tally()
    good = record_files()
    for _ in range(INPUTS):
        data, mutated = hostile_file(draws, good)
        header, secret = header_and_records(data)
        records = tally.judge(
            lambda d: check_training_file(scratch.write(d), SCHEMA),
            data,
            mutated=mutated,
            secret=secret,
            known=header,
        )
        if records is not None and draws.chance(4):
            batches = list(read_training_file(scratch.path, SCHEMA, 2))
            assert sum(map(len, batches)) == records
            assert sum(int(count_table(SCHEMA, batch).class_counts.sum()) for batch in batches) == records
    tally.check(
        reasons=[
            *("malformed", "wrong_columns", "unknown_category", "not_a_number", "missing_value"),
            "empty_file",
        ]
    )


def test_any_query_file_is_read_row_by_row(scratch: Scratch) -> None:
    draws, tally = Draws("query files"), Tally()
    good = [*record_files(), b"weight,colour\n3,red\n1e400,green\n", b"colour,weight\nred,1\n"]
    sizes = SCHEMA.attribute_sizes
    errors = answered = 0
    for _ in range(INPUTS):
        data, mutated = hostile_file(draws, good)
        header, secret = header_and_records(data)
        rows = tally.judge(
            lambda d: list(read_query_file(scratch.write(d), SCHEMA)),
            data,
            mutated=mutated,
            secret=secret,
            known=header,
        )
        for number, row in enumerate(rows or (), start=1):
            assert row.row == number
            assert (row.indices is None) == (row.error is not None)
            if row.error is not None:
                check_error(row.error, secret, header)
                errors += 1
            else:
                assert row.indices is not None
                assert all(0 <= index < size for index, size in zip(row.indices, sizes, strict=True))
                answered += 1
    tally.check(reasons=["malformed", "wrong_columns", "empty_file"])
    assert min(errors, answered) > 1000


def test_a_header_that_swallows_the_records_is_not_quoted(scratch: Scratch) -> None:
    # One quote in the header, closed in a record: all between is a name of a column.
    data = b'colour,weight,kind,"more\nred,secret-one,x\ngreen,secret-two",y\n'
    for read in (check_training_file, lambda path, schema: list(read_query_file(path, schema))):
        with pytest.raises(InputFileError) as refused:
            read(scratch.write(data), SCHEMA)
        check_error(refused.value, header_and_records(data)[1])
        assert "secret" not in str(refused.value) + str(refused.value.column)


# --- what the authority receives


def test_any_public_key_file_is_read_or_refused(scratch: Scratch) -> None:
    draws, tally = Draws("public keys"), Tally()
    coins = seeded_coins("fuzz public keys")
    parties = [Party(name, name, coins.bytes(32), coins.bytes(64), coins.bytes(90)) for name in ("mu", "su")]
    corpus = Corpus.of_msgpack([encode(UnitPublicKey("demo", party)) for party in parties])
    for _ in range(INPUTS):
        data, mutated = (noise(draws), False) if draws.chance(20) else corpus.mutant(draws)
        tally.judge(lambda d: read_public_key(scratch.write(d)), data, mutated=mutated, again=encode)
    tally.check(reasons=["malformed"])


def test_any_parameters_file_is_read_or_refused(scratch: Scratch) -> None:
    draws, tally = Draws("parameters files"), Tally()
    small = toy_keys(512).parameters
    modulus, generator = small.n.to_bytes(64, "big"), small.g.to_bytes(128, "big")
    good = [encode(PublicParameters("demo", epoch, "toy", modulus, generator)) for epoch in (1, 2)]
    corpus = Corpus.of_msgpack([*good, encode(PublicParameters("demo", 1, "paper", modulus, generator))])
    for _ in range(INPUTS):
        data, mutated = (noise(draws), False) if draws.chance(20) else corpus.mutant(draws)
        if draws.chance(10):
            data = good[0].replace(modulus, mutate_bytes(draws, modulus, generator)[:64].ljust(64, b"\xff"))
        tally.judge(
            lambda d: read_parameters(scratch.write(d)),
            data,
            mutated=mutated,
            again=lambda read: encode(read[0]),
            # All of it is public, and an unknown profile is named.
            secret=b"",
        )
    tally.check(reasons=["malformed", "invalid_key", "invalid_config"])
