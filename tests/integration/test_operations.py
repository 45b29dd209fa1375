"""Units as processes, looked at as an operator does: status, doctor, metrics and health."""

import http.client
import json
import time

import pytest
from integration.deployment import PATIENCE, Deployment, Ended, UnitProcess
from prometheus_client.parser import text_string_to_metric_families

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def get(address: str, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(address, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def await_readiness(address: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while (found := get(address, "/readyz")) != (200, "ready\n"):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def served_at(unit: UnitProcess) -> str:
    """Wait for the object of a unit that listens; return where it serves its metrics."""
    assert unit.process.stdout is not None
    ready = json.loads(unit.process.stdout.readline())
    assert ready["schema"] == "privml.ready/1"
    address: str = ready["metrics"]
    return address


def total(address: str, name: str) -> float:
    """Return the sum of a metric over its labels."""
    status, text = get(address, "/metrics")
    assert status == 200
    families = text_string_to_metric_families(text)
    return sum(sample.value for family in families for sample in family.samples if sample.name == name)


def check_operations(deployment: Deployment) -> None:
    """Start both units, train, ask, and hold what an operator sees against it."""
    (deployment.folder / "T" / "passphrase").chmod(0o600)
    units = [
        deployment.start(role, "--metrics", "127.0.0.1:0", "--log-format", "json") for role in ("mu", "su")
    ]
    try:
        addresses = [served_at(unit) for unit in units]
        for address in addresses:
            await_readiness(address)
            assert get(address, "/healthz") == (200, "ok\n")
        watching = deployment.begin("status", "--watch", "0.2")
        assert watching.stdout is not None
        first = json.loads(watching.stdout.readline())
        assert first["models"][0]["records"] == 0
        deployment.publish(120)
        deployment.predict(3)
        looked = [json.loads(watching.stdout.readline())]
        # A request that MU repeated on a slow machine waits a moment longer for its second reply.
        while (
            looked[-1]["journal"]["entries"] < 4
            or looked[-1]["queries_open"]
            or looked[-1]["rounds"]["waiting"]
        ):
            looked.append(json.loads(watching.stdout.readline()))
        watching.terminate()
        assert watching.wait(PATIENCE) == 0
        # The rest of what it printed: a reader of lines may have taken a part of it.
        for stream in (watching.stdout, watching.stderr):
            assert stream is not None
            stream.close()
        status = deployment.run("status").object
        for found in (looked[-1], status):
            (model,) = found["models"]
            assert (model["records"], model["chunks"], model["owners"]) == (120, 2, 1)
            assert model["answering"] == {"version": 2, "records": 120}
            assert found["lag"] == {"chunks": 0, "queries": 0}
            assert (found["rounds"]["waiting"], found["warnings"], found["unseen"]) == (0, [], [])
            assert found["last_receipt"]["at"] is not None
        master, secondary = addresses
        assert total(master, "privml_chunks_accepted_total") == 2
        assert total(master, "privml_queries_answered_total") == 1
        assert total(master, "privml_model_records") == 120
        # SU counts a repeated request again.
        assert total(secondary, "privml_rounds_total") >= total(master, "privml_rounds_total") > 0
        metrics = [word for address in addresses for word in ("--metrics", address)]
        examined = deployment.run("doctor", *metrics)
        checks = {check["check"]: check for check in examined.object["checks"]}
        assert examined.code == 0, checks
        assert checks["units"]["detail"].startswith("mu and su answer")
        assert "SU signed 1" in checks["heads"]["detail"]
    finally:
        ended = [end(unit) for unit in units]
    assert [one.code for one in ended] == [0, 0]
    events = [json.loads(line) for line in ended[0].err.splitlines() if line.startswith("{")]
    assert {event["event"] for event in events} >= {"recovered"}
    assert {event["role"] for event in events} == {"mu"}


def end(unit: UnitProcess) -> Ended:
    if unit.process.poll() is None:
        unit.process.terminate()
    return unit.ended()


def test_an_operator_sees_what_the_units_do(deployment: Deployment) -> None:
    check_operations(deployment)
