"""Commands with bad input: one exit code and one JSON object that says whose fault it is."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from integration.deployment import COLUMNS, Deployment, Ended, in_process, rows, write_csv

from pipeline.settings import load_settings
from schemas.reasons import ExitCode
from schemas.topics import TopicName

GOOD = rows(4)


def changed(row: int, column: int, cell: str) -> list[tuple[str, ...]]:
    """Return good records with one cell changed."""
    records = [list(record) for record in GOOD]
    records[row][column] = cell
    return [tuple(record) for record in records]


def publish(capsys: pytest.CaptureFixture[str], deployment: Deployment, file: Path, *more: str) -> Ended:
    command = ["owner", "publish", str(file), "--owner", "a", "--config", str(deployment.config)]
    return in_process(capsys, *command, *more)


def nothing_was_published(deployment: Deployment) -> bool:
    outbox = list((deployment.config.parent / "state").glob("outbox-*/*.chunk"))
    return not deployment.values(TopicName.CHUNKS) and not outbox


# --- input files

BAD_FILES: dict[str, tuple[bytes, str, int | None, str | None]] = {}


def bad_file(name: str, content: str | bytes, code: str, line: int | None, column: str | None) -> None:
    data = content if isinstance(content, bytes) else content.encode()
    BAD_FILES[name] = (data, code, line, column)


def text(records: Sequence[Sequence[str]], columns: Sequence[str] = COLUMNS) -> str:
    return "\n".join(",".join(row) for row in (columns, *records)) + "\n"


bad_file("empty", "", "empty_file", 1, None)
bad_file("header only", text([]), "empty_file", 1, None)
bad_file(
    "no weight",
    text([(r[0], r[1], r[3]) for r in GOOD], ("colour", "size", "class")),
    "wrong_columns",
    1,
    "weight",
)
bad_file("no label", text([r[:3] for r in GOOD], COLUMNS[:3]), "wrong_columns", 1, "class")
bad_file("one more column", text([(*r, "1") for r in GOOD], (*COLUMNS, "name")), "wrong_columns", 1, "name")
bad_file("twice a column", text([(*r, "s") for r in GOOD], (*COLUMNS, "size")), "wrong_columns", 1, "size")
bad_file("no header", text(GOOD[1:], GOOD[0]), "wrong_columns", 1, "colour")
bad_file("semicolons", text(GOOD).replace(",", ";"), "wrong_columns", 1, "colour")
bad_file("unknown category", text(changed(2, 0, "mauve")), "unknown_category", 4, "colour")
bad_file("unknown label", text(changed(1, 3, "w")), "unknown_category", 3, "class")
bad_file("a NaN", text(changed(3, 2, "NaN")), "missing_value", 5, "weight")
bad_file("an infinity", text(changed(0, 2, "inf")), "not_a_number", 2, "weight")
bad_file("a word for a number", text(changed(0, 2, "heavy")), "not_a_number", 2, "weight")
bad_file("a missing cell", text(changed(1, 0, "")), "missing_value", 3, "colour")
bad_file("a missing label", text(changed(1, 3, "?")), "missing_value", 3, "class")
bad_file("a ragged row", text([*GOOD, ("red", "s", "1")]), "malformed", 6, None)
bad_file("a long row", text([*GOOD, ("red", "s", "1", "x", "y")]), "malformed", 6, None)
bad_file("Latin-1", text(GOOD).encode() + "grün,s,1,x\n".encode("latin-1"), "malformed", 6, None)
bad_file("UTF-16", text(GOOD).encode("utf-16"), "malformed", 1, None)
bad_file("a NUL", text(changed(0, 1, "s\0")), "malformed", 2, None)
bad_file("an open quote", text(changed(2, 1, '"s')), "malformed", 4, None)


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_training_file_is_refused_whole(
    template: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    data, code, line, column = BAD_FILES[name]
    file = tmp_path / "bad.csv"
    file.write_bytes(data)
    ended = publish(capsys, template, file)
    assert ended.code == ExitCode.BAD_INPUT
    error = ended.object
    assert error["schema"] == "privml.error/1"
    assert (error["code"], error["file"], error["line"], error["column"]) == (code, str(file), line, column)
    assert error["hint"]
    # The message is on stderr too; neither quotes a cell.
    assert error["message"] in ended.err
    assert "mauve" not in str(error) + ended.err
    assert nothing_was_published(template)


def test_a_training_file_that_is_not_there(
    template: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in (tmp_path / "none.csv", tmp_path):
        ended = publish(capsys, template, file)
        assert (ended.code, ended.object["code"]) == (ExitCode.BAD_INPUT, "unreadable_file")
        assert ended.object["file"] == str(file)
    assert nothing_was_published(template)


def test_a_chunk_larger_than_the_tenant_takes_is_wrong_usage(
    template: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = publish(capsys, template, write_csv(tmp_path / "x.csv", GOOD), "--chunk-size", str(1 << 21))
    assert (ended.code, ended.object["code"]) == (ExitCode.USAGE, "usage")
    assert nothing_was_published(template)


def test_schema_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write_csv(tmp_path / "good.csv", rows(50))
    ended = in_process(capsys, "schema", "infer", str(good), "--label", "class", "--yes")
    assert (ended.code, ended.object["records"], ended.object["classes"]) == (0, 50, 3)
    ended = in_process(capsys, "schema", "infer", str(good), "--label", "klass", "--yes")
    assert (ended.code, ended.object["code"]) == (ExitCode.BAD_INPUT, "wrong_columns")
    # Without --yes nothing is published unasked.
    ended = in_process(capsys, "schema", "infer", str(good), "--label", "class")
    assert (ended.code, ended.object["code"]) == (ExitCode.USAGE, "usage")


# --- set-up


def init(tmp_path: Path, template: Deployment, **options: str) -> list[str]:
    given = {
        "--dir": str(tmp_path / "N"),
        "--schema": str(template.folder / "schema.toml"),
        "--passphrase-file": str(template.config.parent / "passphrase"),
        "--profile": "toy",
        "--owner": "a",
        "--client": "c",
        **{f"--{name.replace('_', '-')}": value for name, value in options.items()},
    }
    return ["authority", "init", "--insecure", *(part for item in given.items() for part in item)]


@pytest.mark.parametrize(
    ("options", "code", "exit_code"),
    [
        ({"tenant": "My Tenant"}, "usage", 2),
        ({"tenant": "-x"}, "usage", 2),
        ({"owner": "../a"}, "usage", 2),
        ({"owner": "c"}, "usage", 2),
        ({"client": "mu"}, "usage", 2),
        ({"classifier": "oracle"}, "usage", 2),
        ({"alpha": "0.001"}, "usage", 2),
        ({"profile": "huge"}, "invalid_config", 4),
        ({"passphrase_file": "/nowhere/passphrase"}, "wrong_passphrase", 4),
        ({"schema": "/nowhere/schema.toml"}, "unreadable_file", 3),
        ({"schema": __file__}, "wrong_schema", 3),
    ],
)
def test_a_set_up_that_cannot_work_fails_before_anything_is_made(
    template: Deployment,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: dict[str, str],
    code: str,
    exit_code: int,
) -> None:
    ended = in_process(capsys, *init(tmp_path, template, **options))
    assert (ended.object["code"], ended.code) == (code, exit_code)
    assert not (tmp_path / "N").exists()


def test_an_insecure_profile_wants_to_be_asked_for(
    template: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [part for part in init(tmp_path, template) if part != "--insecure"]
    ended = in_process(capsys, *command)
    assert (ended.code, ended.object["code"]) == (ExitCode.USAGE, "usage")


def test_a_folder_holds_one_tenant(
    template: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = in_process(capsys, *init(tmp_path, template, dir=str(template.config.parent)))
    assert (ended.code, ended.object["code"]) == (ExitCode.CONFIGURATION, "invalid_config")


def test_a_schema_too_wide_for_the_units_is_refused(
    template: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = [f"a{i}" for i in range(6)]
    records = [[f"v{i % 60}" for _ in columns] + [f"c{i}"] for i in range(120)]
    write_csv(tmp_path / "wide.csv", records, [*columns, "class"])
    ended = in_process(capsys, "schema", "infer", str(tmp_path / "wide.csv"), "--label", "class", "--yes")
    (tmp_path / "wide.toml").write_text(ended.object["toml"])
    ended = in_process(capsys, *init(tmp_path, template, schema=str(tmp_path / "wide.toml")))
    assert (ended.code, ended.object["code"]) == (ExitCode.CONFIGURATION, "invalid_config")
    assert "MiB" in ended.object["message"]


def test_units_make_their_keys_on_hosts_of_their_own(
    template: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "N"
    # A toy modulus is not drawn by this command: it has no --insecure.
    folder.mkdir()
    source = template.config.parent / "parameters.privml"
    (folder / "parameters.privml").write_bytes(source.read_bytes())
    passphrase = str(template.config.parent / "passphrase")
    for role in ("mu", "su"):
        ended = in_process(
            capsys,
            *(role, "keygen", "--parameters", str(folder / "parameters.privml")),
            *("--keystore", str(tmp_path / role / f"{role}.key"), "--public", str(tmp_path / f"{role}.pub")),
            *("--passphrase-file", passphrase),
        )
        assert (ended.code, ended.object["role"], ended.object["name"]) == (0, role, role)
    command = init(tmp_path, template)
    for role in ("mu", "su"):
        command += ["--unit-key", str(tmp_path / f"{role}.pub")]
    ended = in_process(capsys, *command)
    assert ended.code == 0
    assert [party["role"] for party in ended.object["parties"]] == ["mu", "su", "owner", "client"]
    assert not (folder / "keys" / "mu.key").exists()
    again = in_process(
        capsys,
        *("mu", "keygen", "--parameters", str(folder / "parameters.privml")),
        *("--keystore", str(tmp_path / "mu" / "mu.key"), "--public", str(tmp_path / "again.pub")),
        *("--passphrase-file", passphrase),
    )
    assert (again.code, again.object["code"]) == (ExitCode.CONFIGURATION, "invalid_keystore")


def test_parameters_are_made_once(
    template: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["authority", "parameters", "--dir", str(tmp_path / "P"), "--profile", "toy"]
    ended = in_process(capsys, *command)
    assert (ended.code, ended.object["profile"]) == (0, "toy")
    assert Path(ended.object["file"]).is_file()
    ended = in_process(capsys, *command)
    assert (ended.code, ended.object["code"]) == (ExitCode.CONFIGURATION, "invalid_config")


# --- settings, keystores, passphrases; a unit, an owner and a client alike

COMMANDS = {
    "mu": ["mu"],
    "su": ["su"],
    "a": ["owner", "withdraw", "00" * 32, "--owner", "a"],
    "c": ["predict", "FILE", "--client", "c", "--timeout", "0.2"],
}


def command_of(name: str, deployment: Deployment, *more: str) -> list[str]:
    file = write_csv(deployment.folder / "asked.csv", [row[:3] for row in GOOD], COLUMNS[:3])
    command = [str(file) if part == "FILE" else part for part in COMMANDS[name]]
    return [*command, "--config", str(deployment.config), *more]


def refused(
    capsys: pytest.CaptureFixture[str], command: Sequence[str], code: str, exit_code: int = 4
) -> Ended:
    ended = in_process(capsys, *command)
    assert (ended.object["code"], ended.code) == (code, exit_code), ended
    assert "correct horse" not in str(ended.object) + ended.err
    return ended


@pytest.mark.parametrize("name", COMMANDS)
def test_keystores_and_passphrases(
    deployment: Deployment, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    keystore = deployment.config.parent / "keys" / f"{name}.key"
    wrong = deployment.folder / "wrong"
    wrong.write_text("battery staple\n")
    refused(capsys, command_of(name, deployment, "--passphrase-file", str(wrong)), "wrong_passphrase")
    missing = str(deployment.folder / "none")
    refused(capsys, command_of(name, deployment, "--passphrase-file", missing), "wrong_passphrase")
    refused(capsys, command_of(name, deployment, "--passphrase-fd", "77"), "wrong_passphrase")
    refused(capsys, command_of(name, deployment, "--keystore", missing), "invalid_keystore")
    other = deployment.config.parent / "keys" / "b.key"
    ended = refused(capsys, command_of(name, deployment, "--keystore", str(other)), "invalid_keystore")
    assert "'b'" in ended.object["message"]
    keystore.chmod(0o644)
    ended = refused(capsys, command_of(name, deployment), "invalid_keystore")
    assert "chmod 600" in ended.object["hint"]
    keystore.chmod(0o600)
    data = bytearray(keystore.read_bytes())
    data[-40] ^= 1
    keystore.write_bytes(data)
    refused(capsys, command_of(name, deployment), "invalid_keystore")


@pytest.mark.parametrize("name", COMMANDS)
def test_settings(deployment: Deployment, capsys: pytest.CaptureFixture[str], name: str) -> None:
    settings = deployment.config.read_text()
    pinned = load_settings(deployment.config)

    def with_settings(text: str, code: str, exit_code: int = 4) -> None:
        deployment.config.write_text(text)
        refused(capsys, command_of(name, deployment), code, exit_code)

    pin = pinned.configuration.hex()
    with_settings(settings.replace(pin, "00" * 32), "invalid_config")
    with_settings(settings.replace(pin, "00"), "invalid_config")
    with_settings(settings.replace(pinned.authority_key.hex(), "11" * 32), "invalid_config")
    with_settings("", "invalid_config")
    with_settings("tenant = ", "invalid_config")
    with_settings(re.sub("tenant = .*", "tenant = 7", settings), "invalid_config")
    with_settings(re.sub("transport = .*", 'transport = "pigeon:"', settings), "invalid_config")
    with_settings(re.sub("transport = .*", 'transport = "log:nowhere"', settings), "unknown_topic", 5)
    # What `authority init --insecure` noted is not there: the units do not use a toy modulus unasked.
    with_settings(settings.replace("insecure = true", "insecure = false"), "invalid_config")
    deployment.config.unlink()
    refused(capsys, command_of(name, deployment), "invalid_config")


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        (["owner", "withdraw", "00" * 32, "--owner", "c"], "of role owner it has: a, b"),
        (["owner", "withdraw", "00" * 32, "--owner", "zoe"], "of role owner it has: a, b"),
        (["predict", "FILE", "--client", "a"], "of role client it has: c"),
    ],
)
def test_a_party_is_used_in_its_own_role(
    template: Deployment,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    hint: str,
) -> None:
    file = write_csv(tmp_path / "asked.csv", [row[:3] for row in GOOD], COLUMNS[:3])
    given = [str(file) if part == "FILE" else part for part in command]
    ended = refused(capsys, [*given, "--config", str(template.config)], "invalid_keystore")
    assert ended.object["hint"] == hint


def test_a_chunk_that_was_never_published_cannot_be_withdrawn(
    template: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["owner", "withdraw", "--owner", "a", "--config", str(template.config)]
    for chunk_id in ("00" * 32, "not hexadecimal"):
        refused(capsys, [*command, chunk_id], "not_withdrawable", 6)
    assert nothing_was_published(template)


# --- nobody there


def test_without_mu_the_silent_unit_is_mu(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_csv(deployment.folder / "t.csv", GOOD)
    ended = publish(capsys, deployment, file, "--wait", "--timeout", "0.3")
    assert (ended.code, ended.object["code"]) == (ExitCode.UNREACHABLE, "timeout")
    assert "privml mu" in ended.object["hint"]
    # Repeating it publishes nothing twice.
    ended = publish(capsys, deployment, file, "--wait", "--timeout", "0.3")
    assert ended.code == ExitCode.UNREACHABLE
    assert len(deployment.values(TopicName.CHUNKS)) == 1
    ended = in_process(capsys, *command_of("c", deployment))
    assert (ended.code, ended.object["code"]) == (ExitCode.UNREACHABLE, "timeout")
    assert "MU is silent" in ended.object["message"]


def test_predict_says_at_once_that_it_cannot_write_its_answers(
    template: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = command_of("c", template, "--out", str(tmp_path / "none" / "out.csv"))
    refused(capsys, command, "usage", 2)


def test_predict_without_a_single_good_row_asks_nobody(
    template: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_csv(tmp_path / "q.csv", [("mauve", "s", "1"), ("red", "s", "heavy")], COLUMNS[:3])
    ended = in_process(capsys, "predict", str(file), "--client", "c", "--config", str(template.config))
    assert ended.code == ExitCode.BAD_INPUT
    first, second, summary = ended.objects
    assert (first["row"], first["error"]["code"], first["error"]["line"]) == (1, "unknown_category", 2)
    assert (second["row"], second["error"]["column"]) == (2, "weight")
    assert summary["summary"] == {
        "rows": 2,
        "answered": 0,
        "failed": 2,
        "seconds": summary["summary"]["seconds"],
    }
    assert not template.values(TopicName.QUERIES)
