"""What an operator sees of units on a real broker is what it is on the embedded log."""

import asyncio
from pathlib import Path

import pytest
from integration.deployment import Deployment
from integration.test_operations import check_operations

from pipeline.kafka_address import parse_kafka_url
from pipeline.kafka_administration import KafkaAdministration
from schemas.topics import TopicName, topic_name

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(240)]


def test_status_doctor_and_metrics_on_a_broker(empty_kafka: str, tmp_path: Path) -> None:
    deployment = Deployment.make(tmp_path, "--transport", f"kafka://{empty_kafka}")
    check_operations(deployment)
    checks = {check["check"]: check for check in deployment.run("doctor").object["checks"]}
    assert checks["topic_settings"]["status"] == "ok"
    # This broker enforces no rules.
    assert checks["access"]["status"] == "skipped"


async def test_a_topic_made_otherwise_is_found(empty_kafka: str, tmp_path: Path) -> None:
    url = f"kafka://{empty_kafka}"
    deployment = await asyncio.to_thread(Deployment.make, tmp_path, "--transport", url)
    async with KafkaAdministration(parse_kafka_url(url)) as administration:
        topic = topic_name("demo", TopicName.JOURNAL)
        await administration.set_topic_settings({topic: {"retention.ms": "1000"}})
    ended = await asyncio.to_thread(deployment.run, "doctor")
    checks = {check["check"]: check for check in ended.object["checks"]}
    assert ended.code == 1
    assert checks["topic_settings"]["status"] == "failed"
    assert "demo.journal: retention.ms is 1000, not -1" in checks["topic_settings"]["detail"]
