"""The documents against the program: links, paths, commands, tables; the README's session is run."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from pipeline.commands.main import app
from schemas.reasons import ExitCode, ReasonCode
from schemas.topics import EVERYBODY, TOPICS, Role

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
CLI = ROOT / "docs" / "cli.md"
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")


def name_of(document: Path) -> str:
    return str(document.relative_to(ROOT))


def prose(document: Path) -> str:
    return FENCE.sub("", document.read_text())


def rows(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading, without its two header lines."""
    below = re.split(rf"^#+ {re.escape(heading)}$", text, maxsplit=1, flags=re.MULTILINE)[1]
    table = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)
    assert table is not None, f"no table below '{heading}'"
    lines = table.group().splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


# --- places


def anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_relative_link_resolves(document: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_path_named_is_there(document: Path) -> None:
    # A folder that may hold something else in a tenant's or a build's place is not meant here.
    ours = re.compile(r"(?:crypto|schemas|roles|pipeline|tests|benchmarks|docs|stubs)/[\w./-]*")
    for span in SPAN.findall(prose(document)):
        if ours.fullmatch(span) and "NAME" not in span:
            assert (ROOT / span).exists(), span


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_no_document_names_a_machine_or_an_index(document: Path) -> None:
    text = document.read_text()
    absolute = re.findall(r"(?<![\w.~$}/<-])/(?:[a-z]+)/[\w./-]+", text)
    assert not [path for path in absolute if path not in {"/dev/urandom", "/dev/null"}]
    # Put together here, so that this file does not name one itself.
    index = "|".join(("pypi", "pythonhosted", "index" + "-url", "/simple" + "/", "artifact" + "ory"))
    assert not re.search(index, text, re.IGNORECASE)


def test_decisions_are_numbered_short_and_complete() -> None:
    decisions = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    for number, decision in enumerate(decisions, start=1):
        text = decision.read_text()
        assert decision.name.startswith(f"{number:04d}-")
        assert text.startswith(f"# {number:04d} ")
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]
        assert 10 <= len(text.splitlines()) <= 30


# --- tables


def test_the_topics_table_is_the_one_of_the_code() -> None:
    def roles(names: frozenset[Role]) -> str:
        return "everybody" if names == EVERYBODY else ", ".join(sorted(names))

    documented = rows((ROOT / "docs" / "architecture.md").read_text(), "Topics")
    assert documented == [
        [
            f"`{topic.name}`",
            str(topic.partitions),
            str(topic.key),
            roles(topic.writers),
            roles(topic.readers),
            str(topic.kept),
            str(topic.durability),
        ]
        for topic in TOPICS.values()
    ]


def test_exit_codes_are_those_of_the_code() -> None:
    documented = {int(code) for row in rows(CLI.read_text(), "Rules") for code in row[0].split(", ")}
    signals = {128 + signal.SIGINT, 128 + signal.SIGPIPE}
    assert documented == {int(code) for code in ExitCode} | signals


def test_reasons_of_the_validation_table_exist() -> None:
    text = (ROOT / "docs" / "security.md").read_text()
    named = {code for row in rows(text, "Order of validation") for code in SPAN.findall(row[2])}
    assert named
    assert named <= {reason.value for reason in ReasonCode}


# --- the command line


def command_line() -> Any:
    return typer.main.get_command(app)


def commands(command: Any, path: tuple[str, ...] = ("privml",)) -> Iterator[tuple[str, Any]]:
    """Yield every command that does something by itself, with its words."""
    children = getattr(command, "commands", {})
    if not children or (command.invoke_without_command and len(path) > 1):
        yield " ".join(path), command
    for name, child in children.items():
        yield from commands(child, (*path, name))


def options_of(command: Any) -> set[str]:
    return {
        option
        for parameter in command.params
        if parameter.param_type_name == "option" and not parameter.hidden
        for option in parameter.opts
    }


def calls(document: Path) -> Iterator[str]:
    """Yield what a document tells its reader to type: spans and lines of shell blocks."""
    yield from SPAN.findall(prose(document))
    for language, block in FENCE.findall(document.read_text()):
        if language == "bash":
            for line in block.replace("\\\n", " ").splitlines():
                yield re.split(r"\s[&>#|]", line)[0]


def is_placeholder(word: str) -> bool:
    return word.isupper() or word == "…"


def takes_value(command: Any, option: str) -> bool:
    return any(option in parameter.opts and not parameter.is_flag for parameter in command.params)


def check_call(call: str) -> None:
    """Refuse a command line whose command or options do not exist; values are not looked at."""
    command, before = command_line(), ""
    for word in shlex.split(call)[1:]:
        children = getattr(command, "commands", {})
        if word.startswith("-"):
            assert word in options_of(command) | {"--json", "--help", "-h"}, call
        elif not takes_value(command, before):
            if children and is_placeholder(word):
                return
            assert not children or word in children, call
            command = children.get(word, command)
        before = word


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_command_named_exists(document: Path) -> None:
    for call in calls(document):
        if call.startswith("privml "):
            check_call(call)


@pytest.mark.parametrize(
    "call", ["privml nothing", "privml mu nothing", "privml mu --nothing", "privml --debug nothing"]
)
def test_the_check_of_commands_notices_what_does_not_exist(call: str) -> None:
    with pytest.raises(AssertionError):
        check_call(call)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_make_target_named_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for call in calls(document):
        for part in call.split("&&"):
            program, *words = part.split() or [""]
            named = [word for word in words if "=" not in word and not is_placeholder(word)]
            if program == "make":
                assert set(named[:1]) <= targets, call


def test_the_cli_page_has_every_command_with_every_option() -> None:
    page = CLI.read_text().split("\n## Commands\n")[1].split("\n## Objects\n")[0]
    documented: dict[str, set[str]] = {}
    for section in page.split("\n### ")[1:]:
        heading, _, text = section.partition("\n")
        listed = text[text.index("Options: ") :].split("\n\n")[0]
        for span in SPAN.findall(heading):
            words = [word for word in span.split() if not word.isupper()]
            documented[" ".join(words)] = {option.split()[0] for option in re.findall(r"`(--[^`]+)`", listed)}
    assert documented == {words: options_of(command) for words, command in commands(command_line())}


def documented_objects() -> list[tuple[str, list[str]]]:
    return [(SPAN.findall(row[0])[0], SPAN.findall(row[2])) for row in rows(CLI.read_text(), "Objects")]


def test_objects_have_the_fields_of_their_json_schemas() -> None:
    documented = dict(documented_objects())
    for path in sorted((ROOT / "schemas" / "cli").glob("*.json")):
        schema = json.loads(path.read_text())
        name = path.stem.replace("_", " ")
        if name != "predict":  # its three forms are compared with real output below
            assert ["schema", *documented[name]] == schema["required"], name


# --- sessions


def block_after(marker: str) -> str:
    found = re.search(
        rf"<!-- {re.escape(marker)}[^>]*-->\n```\w*\n(.*?)^```$",
        (ROOT / "README.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    assert found is not None, marker
    return found.group(1)


def environment() -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if name != "PRIVML_CONFIG"}
    return {**own, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Run the README's session as it stands, but for the profile; return its folder and its stdout."""
    folder = tmp_path_factory.mktemp("by_hand")
    script = block_after("by hand")
    assert script.count("--profile standard") == 1
    # The one thing that is not as the README says: small keys, so that the suite stays quick.
    script = script.replace("--profile standard", "--profile toy --insecure")
    shell = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        stdout, stderr = shell.communicate(timeout=200)
    finally:
        if shell.returncode != 0:
            # Of a session that failed the units still run; the group is the shell's own.
            os.killpg(shell.pid, signal.SIGKILL)
    assert shell.returncode == 0, stderr
    return folder, stdout


@pytest.mark.slow
def test_the_session_of_the_readme_runs(by_hand: tuple[Path, str]) -> None:
    folder, stdout = by_hand
    expected = block_after("answers of the block above")
    assert (folder / "answers.csv").read_text().split() == expected.split()
    assert expected in stdout.replace("\r\n", "\n")
    assert len(re.findall(r"^[0-9a-f]{64}  7 records  accepted at \d+$", stdout, re.MULTILINE)) == 2
    assert re.search(r"^demo\.chunks +2 messages", stdout, re.MULTILINE)
    assert [line.split()[1] for line in stdout.splitlines() if re.match(r" +\d+ [a-z]+ ", line)] == [
        "accept",
        "accept",
        "query",
        "answered",
    ]
    assert re.search(r"^records: 14$", stdout, re.MULTILINE)


def privml(folder: Path, *command: str, exit_code: int = 0) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pipeline", *command, "--json"],
        cwd=folder,
        env={**environment(), "PRIVML_CONFIG": "tenant/privml.toml"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == exit_code, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def start_unit(folder: Path, role: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "pipeline", role, "--json"],
        cwd=folder,
        env={**environment(), "PRIVML_CONFIG": "tenant/privml.toml"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@pytest.mark.slow
def test_objects_have_the_fields_of_the_cli_page(by_hand: tuple[Path, str]) -> None:
    folder, _ = by_hand
    (folder / "mixed.csv").write_text(
        "outlook,temperature,humidity,windy\nfoggy,hot,high,no\nsunny,hot,high,no\n"
    )
    printed = privml(folder, "schema", "infer", "weather.csv", "--label", "play", "--yes")
    printed += privml(folder, "authority", "parameters", "--dir", "other", "--profile", "toy")
    parties = ("--owner", "a", "--client", "c", "--passphrase-file", "passphrase")
    new = ("--dir", "other", "--profile", "toy", "--insecure", "--schema", "schema.toml")
    printed += privml(folder, "authority", "init", *new, *parties)
    keys = ("--parameters", "other/parameters.privml", "--passphrase-file", "passphrase")
    printed += privml(folder, "authority", "classifiers")
    printed += privml(folder, "estimate", "--schema", "schema.toml", "--records", "14", "--profile", "toy")
    printed += privml(folder, "owner", "keygen", *keys, "--keystore", "d.key", "--public", "d.pub")
    units = [start_unit(folder, role) for role in ("mu", "su")]
    try:
        published = privml(folder, "owner", "publish", "a.csv", "--owner", "a", "--wait")
        chunk = published[0]["chunks"][0]["chunk_id"]
        printed += published
        printed += privml(folder, "predict", "mixed.csv", "--client", "c", exit_code=ExitCode.BAD_INPUT)
        printed += privml(folder, "owner", "withdraw", chunk, "--owner", "a")
        printed += privml(folder, "owner", "withdraw", chunk, "--owner", "b", exit_code=ExitCode.REFUSED)
    finally:
        for unit in units:
            unit.terminate()
        stopped = [unit.communicate(timeout=60)[0] for unit in units]
    assert [unit.returncode for unit in units] == [0, 0]
    printed += [json.loads(line) for output in stopped for line in output.splitlines()]
    printed += privml(folder, "inspect", "chunk", chunk)
    printed += privml(folder, "client", "answers", "--client", "c", "--once", "--all")
    printed += privml(folder, "status")
    (folder / "passphrase").chmod(0o600)
    printed += privml(folder, "doctor")
    printed += privml(folder, "audit")
    printed += privml(folder, "replay", "--to", f"log:{folder / 'again'}")
    printed += privml(folder, "authority", "enroll", "--client", "e")
    printed += privml(folder, "authority", "revoke", "e")
    printed += privml(folder, "mu", "rekey", "--public", "mu-2.pub")
    printed += privml(folder, "authority", "renew", "--unit-key", "mu-2.pub")
    printed += privml(folder, "backup", "c.backup", "--party", "c")
    (folder / "tenant" / "keys" / "c.key").unlink()
    printed += privml(folder, "restore", "c.backup")
    documented = documented_objects()
    for found in printed:
        kind = found["schema"].removeprefix("privml.").removesuffix("/1")
        assert (kind, [name for name in found if name != "schema"]) in documented
    seen = {found["schema"].removeprefix("privml.").removesuffix("/1") for found in printed}
    without = {"version", "errors", "demo", "inspect topics", "inspect model", "inspect journal", "history"}
    # Those of topics and access rules have tests of their own.
    others = {name for name, _ in documented if name.split()[0] in {"topics", "acl"}}
    assert seen == {name for name, _ in documented} - without - others
