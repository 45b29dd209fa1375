"""Owner keys from the command line: on one host, and with units on hosts of their own."""

import csv
import shutil
from pathlib import Path

import pytest
from integration.deployment import Deployment, in_process, rows, write_csv
from tenants import small_schema
from test_docs import documented_objects

from pipeline.dealer import read_parameters
from pipeline.keystore import Keystore
from pipeline.passphrase import Passphrase
from schemas.schema_toml import dump_schema

COUNTED = ["chunk", "attribute", "value", "class", "count"]


@pytest.mark.slow
def test_owners_read_their_history_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deployment = Deployment.make(tmp_path, "--owner-keys")
    file = write_csv(tmp_path / "a.csv", rows(150, 1))
    config = ["--config", str(deployment.config)]
    publish = ["owner", "publish", str(file), "--owner", "a", "--chunk-size", "100", "--wait"]
    with deployment.units():
        done = in_process(capsys, *publish, *config)
        assert (done.code, done.object["rejected"], done.object["not_learnt"]) == (0, 0, 0), done
        for chunk in done.object["chunks"]:
            assert chunk["rekeyed"]["journal_sequence"] > chunk["receipt"]["journal_sequence"]
            assert chunk["learnt"] == []
        assert len(deployment.predict()) == 5
        gone = done.object["chunks"][1]["chunk_id"]
        assert in_process(capsys, "owner", "withdraw", gone, "--owner", "a", *config).code == 0
        assert in_process(capsys, "status", *config).object["rekeying"] == 0
    out = tmp_path / "history.csv"
    history = in_process(capsys, "owner", "history", "--owner", "a", "--out", str(out), *config)
    assert history.code == 0, history
    found = history.object
    assert ("history", [name for name in found if name != "schema"]) in documented_objects()
    assert [chunk["state"] for chunk in found["chunks"]] == ["accepted", "withdrawn"]
    assert found["opened_as"] == "counts"
    header, *table = list(csv.reader(out.read_text(encoding="utf-8").splitlines()))
    assert header == COUNTED
    assert {row[0] for row in table} == {found["chunks"][0]["chunk_id"]}
    labels = [row[-1] for row in rows(150, 1)][:100]
    told = {row[3]: int(row[4]) for row in table if row[1] == "class"}
    assert told == {label: labels.count(label) for label in ("x", "y", "z")}
    for command in (["audit"], ["mu", "self-audit"], ["su", "self-audit"]):
        checked = in_process(capsys, *command, *config)
        assert checked.code == 0, (command, checked)
    kinds = [entry["kind"] for entry in in_process(capsys, "inspect", "journal", *config).object["entries"]]
    assert kinds.count("rekeyed") == 2


def test_units_on_hosts_of_their_own_get_their_shares_sealed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dealer = tmp_path / "dealer"
    hosts = {role: tmp_path / role for role in ("mu", "su")}
    for role, host in hosts.items():
        host.mkdir()
        (host / "passphrase").write_text(f"{role}'s own\n")
        made = in_process(
            capsys,
            *(role, "exchange-key", "--tenant", "demo", "--keystore", str(host / "unit.key")),
            *("--public", str(host / "exchange"), "--passphrase-file", str(host / "passphrase")),
        )
        assert (made.code, made.object["role"]) == (0, role)
    exchange = [
        "--exchange-key",
        str(hosts["mu"] / "exchange"),
        "--exchange-key",
        str(hosts["su"] / "exchange"),
    ]
    dealt = ["authority", "parameters", "--dir", str(dealer), "--profile", "toy"]
    for wrong in (exchange[:2], [*exchange[:2], *exchange[:2]], [*exchange, "--tenant", "other"]):
        assert in_process(capsys, *dealt, *wrong).code == 4, wrong
    assert in_process(capsys, *dealt, *exchange).code == 0
    parameters_file = dealer / "parameters.privml"
    public, parameters = read_parameters(parameters_file)
    assert [share.role for share in public.shares] == ["mu", "su"]

    def keygen(role: str, host: Path) -> int:
        return in_process(
            capsys,
            *(role, "keygen", "--parameters", str(parameters_file), "--keystore", str(host / "unit.key")),
            *("--public", str(host / "public"), "--passphrase-file", str(host / "passphrase")),
        ).code

    # A keystore without an exchange key, with another one, and one that has all keys.
    empty = tmp_path / "empty"
    empty.mkdir()
    shutil.copy(hosts["mu"] / "passphrase", empty / "passphrase")
    assert keygen("mu", empty) == 4
    in_process(
        capsys,
        *("mu", "exchange-key", "--tenant", "demo", "--keystore", str(empty / "unit.key")),
        *("--public", str(empty / "exchange"), "--passphrase-file", str(empty / "passphrase")),
    )
    assert keygen("mu", empty) == 4
    shares = []
    for role, host in hosts.items():
        assert keygen(role, host) == 0
        assert keygen(role, host) == 4
        keystore = Keystore.open(host / "unit.key", Passphrase.from_file(host / "passphrase"))
        assert set(keystore.secrets) == {"exchange", "signing_key", "theta", "seed", "delta", "strong_share"}
        shares.append(keystore.secrets["strong_share"])
    n = parameters.n
    # (k_M + k_S)·N = −1 modulo the order: g^(…) = g^−1.
    total = sum(int.from_bytes(share, "big") for share in shares)
    assert pow(parameters.g % n, total * n, n) * parameters.g % n == 1
    # In the clear nowhere that travels.
    files = [parameters_file, *(host / name for host in hosts.values() for name in ("exchange", "public"))]
    assert not any(share in file.read_bytes() for share in shares for file in files)

    (dealer / "passphrase").write_text("the authority's own\n")
    (dealer / "schema.toml").write_text(dump_schema(small_schema()))
    init = ["authority", "init", "--dir", str(dealer), "--schema", str(dealer / "schema.toml"), "--insecure"]
    init += ["--profile", "toy", "--passphrase-file", str(dealer / "passphrase")]
    for host in hosts.values():
        init += ["--unit-key", str(host / "public")]
    without = in_process(capsys, *init)
    assert without.code == 2
    ready = in_process(capsys, *init, "--owner-keys", "--owner", "a")
    assert ready.code == 0, ready
    assert ready.object["owner_keys"] is True
