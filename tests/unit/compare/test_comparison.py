"""The comparison with other systems: its models, lines at toy sizes, its report, its place in the page."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from toy_keys import toy_keys

from benchmarks.baselines.bost.decision_tree import Node
from benchmarks.compare import bost, clear, encryption, installed
from benchmarks.compare.__main__ import MARKER
from benchmarks.compare.encryption import Encryption
from benchmarks.compare.entry import BAYES, LINEAR, TREE, Entry, Stopwatch
from benchmarks.compare.installed import Program
from benchmarks.compare.original import Original
from benchmarks.compare.papers import HEADLINES
from benchmarks.compare.report import Comparison, size_text
from benchmarks.compare.splits import Split, split, twin_accuracy
from benchmarks.data_sets import DataSet
from benchmarks.machine import this_machine
from benchmarks.measure import PowerMeter
from benchmarks.number_sets import made_up
from benchmarks.page import markers
from crypto.profiles import profile
from schemas.models import NaiveBayesSpec

ROOT = Path(__file__).parents[3]
WATCH = Stopwatch(quick=True, meter=PowerMeter(64))


@pytest.fixture(scope="module")
def data() -> DataSet:
    return made_up(200, 4)


@pytest.fixture(scope="module")
def parts(data: DataSet) -> Split:
    return split(data)


def test_a_split_asks_about_a_fifth_and_learns_the_rest(data: DataSet, parts: Split) -> None:
    assert (len(parts.data.records), len(parts.test)) == (160, 40)
    whole, both = data.records.words, (parts.data.records.words, parts.test.words)
    assert whole is not None
    assert both[0] is not None
    assert both[1] is not None
    assert sorted(map(tuple, np.concatenate([both[0], both[1]]))) == sorted(map(tuple, whole))


def test_the_clear_models_find_the_rule(parts: Split) -> None:
    assert (clear.hyperplane(parts).sides(parts.test) == parts.test_labels).mean() > 0.8
    table = clear.bayes_table(parts)
    right = 100 * float((table.classes(parts.test.indices) == parts.test_labels).mean())
    assert right > 60
    assert right == twin_accuracy(NaiveBayesSpec("nb"), parts, 50)
    assert min(min(row) for row in table.entries) > 0
    node, model = clear.tree(parts)
    for row, expected in zip(parts.test.indices, model.predict(parts.test.indices), strict=True):
        found: object = node
        while isinstance(found, Node):
            found = found.below if row[found.attribute] < found.threshold else found.above
        assert found == expected


def test_the_original_blocks_line_is_products_times_their_cost(data: DataSet) -> None:
    keys = toy_keys(512)
    entry = Original(keys.parameters, keys.strong, WATCH).bayes(data)
    bits, classes = data.schema.onehot_columns, data.schema.class_count
    ciphertext, component = 256, 128
    product, comparison = 7 * ciphertext + 4 * component, 2 * ciphertext + component
    assert entry.train_bytes == (bits + classes) * ciphertext + bits * classes * product
    assert entry.query_bytes == bits * ciphertext + (bits * classes + 2) * product + comparison
    assert entry.query_rounds == 4
    assert entry.train_cpu is not None
    assert entry.train_cpu > 0


def test_published_classifiers_answer_as_their_models_do(
    parts: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bost, "data_set", lambda name: parts.data)
    monkeypatch.setattr(bost, "WIDTH", 32)
    monkeypatch.setattr(bost, "LEVELS", {256: "none"})
    lines = list(bost.Bost(256, WATCH).entries())
    assert [line.task for line in lines] == [BAYES, LINEAR, TREE]
    for line in lines:
        assert line.query_bytes
        assert line.query_bytes > 3 * 31 * 32
        assert line.query_rounds
        assert 32 <= line.query_rounds <= 36


def program(text: str, folder: Path, peer: str = "there") -> Program:
    (folder / "program.py").write_text(text)
    return Program(peer, "program.py", "a peer", "128", {"bayes": "nobody"}, {"x": 7})


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    monkeypatch.setattr(installed, "FOLDER", tmp_path)
    monkeypatch.setattr(installed, "PROGRAMS", tmp_path)
    monkeypatch.setattr(installed, "FOUND", tmp_path / "found.json")
    (tmp_path / "found.json").write_text(json.dumps({"there": "", "absent": "does not install"}))
    return tmp_path


def test_a_peers_program_reads_its_task_and_prints_figures(environment: Path) -> None:
    text = (
        "import json, sys\n"
        "print(json.dumps([{'task': 'bayes', 'train_cpu': json.load(sys.stdin)['x'] / 2, 'train_bytes': 5}]))"
    )
    (entry,) = installed.entries([program(text, environment)])
    assert entry == Entry(BAYES, "there", "a peer", "128", "nobody", 3.5, 5)
    assert list(installed.entries([program(text, environment, "absent")])) == []


def test_a_program_that_fails_is_named_with_its_last_line(environment: Path) -> None:
    (sentence,) = installed.entries([program("raise SystemExit('the counts are wrong')", environment)])
    assert sentence == "a peer ended with an error: the counts are wrong"


def test_a_program_that_takes_too_long_is_named(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "SECONDS_TO_RUN", 0.2)
    (sentence,) = installed.entries([program("while True: pass", environment)])
    assert sentence == "a peer takes more than 0.2 s"


def test_without_an_environment_every_peer_is_missing(environment: Path) -> None:
    installed.FOUND.unlink()
    found = installed.found_peers()
    assert set(found) == {*installed.PEERS, *installed.UNTRIED}
    assert all("make peers" in found[peer] for peer in installed.PEERS)
    assert all("not installed: " in found[peer] for peer in installed.UNTRIED)


def test_encryptions_are_divided_by_those_of_the_same_turn() -> None:
    lines = [
        Encryption("ours", "PrivML", (1e-3, 3e-3, 1e-3)),
        Encryption("heu", "HEU", (2e-3, 6e-3, 1e-3)),
    ]
    text = encryption.report(this_machine(), profile("legacy"), lines)
    assert "| PrivML | 1 ms (1 ms to 3 ms) | 0.5 |" in text
    assert "| HEU | 2 ms (1 ms to 6 ms) | 1 |" in text
    assert "| PrivML | 1 ms (1 ms to 3 ms) |  |" in encryption.report(
        this_machine(), profile("legacy"), lines[:1]
    )


def test_an_encryption_is_measured_at_every_turn_and_a_failing_library_is_named(environment: Path) -> None:
    (environment / "paillier_counts.py").write_text(
        "import json, sys\n"
        "task = json.load(sys.stdin)\n"
        "assert task['alone'] and task['bits'] == 512\n"
        "if task['library'] == 'phe': sys.exit('no modulus')\n"
        "print(json.dumps({'encrypt_cpu': 0.5}))"
    )
    (environment / "found.json").write_text(json.dumps({"heu": "", "phe": ""}))
    *lines, failure = encryption.measured(profile("toy"), 2)
    assert failure == "python-paillier ended with an error: no modulus"
    assert all(isinstance(found, Encryption) for found in lines)
    by_key = {found.key: found.seconds for found in lines if isinstance(found, Encryption)}
    assert by_key["heu"] == [0.5, 0.5]
    assert [len(by_key[key]) for key in ("ours", "ours.together")] == [2, 2]
    assert min(by_key["ours"]) > 0
    (environment / "found.json").write_text(json.dumps({"heu": "does not install: x", "phe": "y"}))
    assert [found for found in encryption.measured(profile("toy"), 1) if isinstance(found, str)] == [
        "`heu`: does not install: x",
        "`phe`: y",
    ]


def line(key: str, **figures: float) -> Entry:
    return Entry(BAYES, key, key, "", "", **figures)  # type: ignore[arg-type]


def test_the_report_divides_by_our_figures_and_says_what_was_reached() -> None:
    entries = [
        line("ours.1024", query_cpu=1.0, query_bytes=2000.0, train_cpu=1.0),
        line("ours.1024.together", query_cpu=0.1, query_bytes=100.0),
        line("bost.1024", query_cpu=5.0, query_bytes=1e6),
        line("tenseal", train_cpu=200.0, query_cpu=3.0),
    ]
    missing = {"phe": "", "openfhe": "does not import: no module"}
    text = Comparison(this_machine(), True, entries, missing, ["it ended with an error: x"]).markdown()
    rows = {row.split("|")[1].strip(): row.split("|")[2:4] for row in text.splitlines() if "reached" in row}
    assert rows[HEADLINES[0].claim] == [" 5 **not reached** ", " 50 reached "]
    assert rows[HEADLINES[1].claim] == [" 500 **not reached** ", " 10,000 reached "]
    assert rows[HEADLINES[2].claim] == [" 200 reached ", "  "]
    assert "| not measured |" in text
    assert "- `openfhe`: does not import: no module" in text
    assert "`phe`" not in text
    assert "- it ended with an error: x" in text
    assert "not to be quoted" in text
    assert "not to be quoted" not in Comparison(this_machine(), False, entries, {}, []).markdown()


@pytest.mark.parametrize(("size", "text"), [(12, "12 B"), (54_321, "54.3 kB"), (1.5e6, "1.5 MB")])
def test_sizes_have_a_fitting_unit(size: float, text: str) -> None:
    assert size_text(size) == text


def test_the_documentation_has_a_place_for_the_tables() -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    begin, end = markers(MARKER)
    table = text[text.index(begin) : text.index(end)]
    for headline in HEADLINES:
        assert headline.claim in table
