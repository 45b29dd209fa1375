"""The estimate of a workload: sizes of real messages, sums, rates, the command."""

import json
from pathlib import Path

import jsonschema
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from doubles import seeded_coins
from round_trips import random_records
from tenants import small_schema, small_tenant

from crypto.counting import Tally, counting
from crypto.errors import LayoutError
from crypto.profiles import profile
from pipeline.commands.main import main
from pipeline.csv_input import InputFileError
from pipeline.estimate import Phase, Workload, estimated_phases, totals, wire_bytes
from pipeline.operation_rates import OperationRates, measure_rates, rates_from
from roles.client import make_query
from roles.data_owner import make_chunk
from roles.learners import learner_of
from schemas.codec import encode
from schemas.models import LogisticSpec, NaiveBayesSpec, TreeSpec
from schemas.parts import MAX_PART_BODY_BYTES, seal_parts
from schemas.schema_toml import dump_schema
from schemas.topics import TopicName

ROOT = Path(__file__).parents[3]
MODELS = (NaiveBayesSpec("nb"), LogisticSpec("lr"), TreeSpec("dt", attempt_records=20, chunks_per_seal=2))
SMALL = small_tenant(models=MODELS)
RATES = OperationRates(1.0, 0.1, 0.01, 0.02, 1e-6, 1e-7, 1e-6, 1e-4)
WORK = Workload(100, 30, 2, 5, 2)


def named(phases: list[Phase]) -> dict[tuple[str, str | None], Phase]:
    return {(phase.name, phase.model): phase for phase in phases}


def powers(tally: Tally) -> int:
    return tally.powers_full + tally.powers_short + tally.fixed_base


def test_every_model_has_its_phases() -> None:
    phases = estimated_phases(SMALL.tenant, WORK)
    assert [(phase.name, phase.model) for phase in phases] == [
        ("encrypt", None),
        ("accept", None),
        ("base_transfers", None),
        ("refresh", "nb"),
        ("query", "nb"),
        ("learn", "lr"),
        ("query", "lr"),
        ("learn", "dt"),
        ("refresh", "dt"),
        ("query", "dt"),
    ]
    assert [phase.times for phase in phases] == [4, 4, 1, 1, 3, 4, 3, 4, 1, 3]
    without = estimated_phases(SMALL.tenant, Workload(100, 30, 2, 0, 2))
    assert {phase.name for phase in without} == {"encrypt", "accept", "base_transfers", "learn"}


def test_owners_and_clients_count_and_send_what_was_estimated() -> None:
    found = named(estimated_phases(SMALL.tenant, Workload(30, 30, 1, 4, 4)))
    with counting() as tally:
        chunk = make_chunk(SMALL.tenant, "a", 0, random_records(SMALL, 30, "x"), seeded_coins(1))
    encrypt = found["encrypt", None]
    assert powers(encrypt.counts["owner"]) == powers(tally)
    assert encrypt.sent == {"chunks": wire_bytes(TopicName.CHUNKS, "chunk", len(encode(chunk)))}
    for spec in MODELS:
        learner = learner_of(SMALL.tenant, spec)
        with counting() as tally:
            query = make_query(learner, "c", random_records(SMALL, 4, "y"), seeded_coins(2))
        asked = found["query", spec.model_id]
        answers = learner.answer_layout(4, scores=False).ciphertexts
        assert powers(asked.counts["client"]) == powers(tally) + answers
        assert asked.sent["queries"] == pytest.approx(
            wire_bytes(TopicName.QUERIES, "query", len(encode(query))), abs=8
        )


@pytest.mark.parametrize("size", [0, 100, 1 << 17, MAX_PART_BODY_BYTES, 2 * MAX_PART_BODY_BYTES + 5])
def test_a_message_has_the_size_of_its_wire_form(size: int) -> None:
    sealed = seal_parts(
        tenant="tenant",
        topic="chunks",
        sender="owner-1",
        key_epoch=1,
        sequence=1 << 40,
        kind="chunk",
        body=bytes(size),
        signing_key=Ed25519PrivateKey.generate(),
    )
    assert wire_bytes(TopicName.CHUNKS, "chunk", size) == sum(map(len, sealed))


def test_seconds_are_operations_times_rates() -> None:
    tally = Tally(
        powers_full=2, powers_short=3, fixed_base=5, multi_bases=7, cots=11, cot_payload_bytes=13, ands=17
    )
    expected = 2 + 0.3 + 0.05 + 0.14 + 11e-6 + 13e-7 + 17e-6 + 19e-4
    assert RATES.seconds(tally, 19) == pytest.approx(expected)
    phase = Phase("learn", counts={"mu": tally})
    assert phase.cpu_seconds(RATES) == pytest.approx(expected - 19e-4)
    assert phase.wall_seconds(RATES) == pytest.approx(expected - 19e-4 - 2.3 / 2)
    phase.layers, phase.rounds = 19, 4
    assert phase.cpu_seconds(RATES) == pytest.approx(expected + 19e-4)
    assert phase.wall_seconds(RATES) > expected + 19e-4 - 2.3 / 2


def test_owners_share_two_cores() -> None:
    one, three = (estimated_phases(SMALL.tenant, Workload(90, 30, owners, 0, 1))[0] for owners in (1, 3))
    assert one.cpu_seconds(RATES) == three.cpu_seconds(RATES) == pytest.approx(2 * three.wall_seconds(RATES))


def test_every_owner_cuts_its_own_chunks() -> None:
    assert Workload(100, 30, 1, 0, 1).chunks == [30, 30, 30, 10]
    assert Workload(100, 30, 3, 0, 1).chunks == [30, 4, 30, 3, 30, 3]
    assert Workload(2, 30, 3, 0, 1).chunks == [1, 1]


def test_totals_are_sums() -> None:
    phases = estimated_phases(SMALL.tenant, WORK)
    whole = totals(phases, RATES)
    assert whole["round_trips"] == sum(phase.rounds for phase in phases) > 0
    assert whole["cpu_seconds"] == pytest.approx(sum(phase.cpu_seconds(RATES) for phase in phases))
    assert sum(whole["bytes"].values()) == sum(sum(phase.sent.values()) for phase in phases)
    assert whole["bytes_owner_to_mu"] == whole["bytes"]["chunks"]
    assert whole["bytes_mu_su"] == whole["bytes"]["rounds.requests"] + whole["bytes"]["rounds.replies"]
    assert whole["bytes_client"] == whole["bytes"]["queries"] + whole["bytes"]["answers"]


def test_what_no_message_carries_is_refused() -> None:
    alone = small_tenant(models=(LogisticSpec("lr"),))
    with pytest.raises(LayoutError, match="a step takes"):
        estimated_phases(alone.tenant, Workload(1 << 20, 1 << 20, 1, 0, 1))


def test_measured_rates_are_positive() -> None:
    assert all(rate > 0 for name, rate in measure_rates(profile("toy")).as_dict().items() if name != "layer")


def test_rates_of_a_benchmark_are_read(tmp_path: Path) -> None:
    committed = ROOT / "docs" / "benchmarks.json"
    found = rates_from(committed, profile("standard"))
    assert found.power_full == json.loads(committed.read_text())["pm_seconds"]
    assert found.power_full > found.power_short > found.power_table
    assert min(found.as_dict().values()) > 0
    with pytest.raises(InputFileError, match="profile 'standard'"):
        rates_from(committed, profile("toy"))
    for text in ("", "[]", '{"profile": "standard", "rows": []}'):
        (tmp_path / "rates.json").write_text(text)
        with pytest.raises(InputFileError, match="no benchmark"):
            rates_from(tmp_path / "rates.json", profile("standard"))
    with pytest.raises(InputFileError, match="cannot be read"):
        rates_from(tmp_path / "none.json", profile("standard"))


def test_the_command_prints_its_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "schema.toml"
    path.write_text(dump_schema(small_schema()))
    command = ["estimate", "--schema", str(path), "--records", "90", "--profile", "toy", "--queries", "3"]
    models = [part for kind in ("nb", "lr", "dt:grace=20") for part in ("--classifier", kind)]
    assert main([*command, *models, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    jsonschema.validate(found, json.loads((ROOT / "schemas" / "cli" / "estimate.json").read_text()))
    assert {phase["model"] for phase in found["phases"]} == {None, "nb", "lr", "dt"}
    assert main(command) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "refresh" in shown.err
