"""A client reads answers to its own queries, whichever of its processes asked; and rows as they come."""

import asyncio
import contextlib
import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from integration.deployment import COLUMNS, PATIENCE, Deployment, rows
from integration.services import MODEL, House, until

from pipeline.answer_feed import AnswerFeed, OwnAnswer
from pipeline.client_service import ClientService, NoAnswerError
from pipeline.meter import Meter
from pipeline.query_book import QueryBook
from roles.refusal import Refusal
from schemas.reasons import ReasonCode
from schemas.topics import TopicName


def feed(house: House, book: QueryBook, client: str = "c") -> AnswerFeed:
    return AnswerFeed(house.transport(), house.tenant, house.client_keys[client], book)


async def there(answers: AnswerFeed, *, again: bool = False) -> list[OwnAnswer]:
    return [answer async for answer in answers.answers(again=again, wait=False)]


async def asker(house: House, book: QueryBook) -> ClientService:
    sender, key = house.publisher("c"), house.client_keys["c"]
    service = ClientService(sender.transport, house.tenant, key, sender, Meter(), book=book)
    await service.open(MODEL)
    return service


async def test_answers_that_came_too_late_are_read_later_and_once(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        batches = [house.records(120, 0), house.records(120, 1)]
        with contextlib.closing(QueryBook(tmp_path / "book")) as book:
            async with house.units_running():
                await house.publish("a", batches[0])
                await house.publish("b", batches[1])
            late = house.records(4, "late")
            with pytest.raises(NoAnswerError):
                await (await asker(house, book)).ask(house.learner(), late, 0.1)
            assert not await there(feed(house, book))
            async with house.units_running():
                await until(lambda: len(house.answers()) == 1)
                # Answers to others, and to this client's queries from elsewhere, are passed over.
                await house.ask(house.records(2, "d"), "d")
                await house.ask(house.records(2, "elsewhere"))
                prompt = house.records(3, "prompt")
                answered = await (await asker(house, book)).ask(house.learner(), prompt, PATIENCE)
            (found,) = await there(feed(house, book))
            assert found.opened is not None
            assert list(found.opened.labels) == house.twin(batches).predict(late.indices).tolist()
            assert not await there(feed(house, book))
            every = await there(feed(house, book), again=True)
            assert [answer.asked.rows for answer in every] == [4, 3]
            assert every[1].opened is not None
            assert list(every[1].opened.labels) == list(answered.labels)


async def test_a_subscription_gives_answers_and_refusals_as_they_come(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.units_running():
        with contextlib.closing(QueryBook(tmp_path / "book")) as book:
            queue: asyncio.Queue[OwnAnswer] = asyncio.Queue()

            async def subscribe() -> None:
                async for answer in feed(house, book).answers(again=False, wait=True):
                    await queue.put(answer)

            subscription = asyncio.create_task(subscribe())
            service = await asker(house, book)
            with pytest.raises(Refusal):
                await service.ask(house.learner(), house.records(2, "early"), PATIENCE)
            first = await asyncio.wait_for(queue.get(), PATIENCE)
            assert (first.opened, first.reason) == (None, ReasonCode.NOT_ENOUGH_RECORDS)
            await house.publish("a", house.records(120, 0))
            await house.publish("b", house.records(120, 1))
            answered = await service.ask(house.learner(), house.records(2, "now"), PATIENCE)
            second = await asyncio.wait_for(queue.get(), PATIENCE)
            assert second.opened is not None
            assert (list(second.opened.labels), second.model_version) == (list(answered.labels), 2)
            # Sealed for c: another key opens nothing.
            others = await there(feed(house, book, "d"), again=True)
            assert [answer.reason for answer in others][1] is ReasonCode.PROTOCOL_ERROR
            subscription.cancel()
            await asyncio.wait({subscription})
        assert len(house.messages(TopicName.ANSWERS)) == 2


def lines(process: "subprocess.Popen[str]", count: int) -> list[dict[str, Any]]:
    assert process.stdout is not None
    return [json.loads(process.stdout.readline()) for _ in range(count)]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_rows_are_asked_as_they_come_until_interrupted(deployment: Deployment) -> None:
    file = deployment.folder / "growing.csv"
    asked = [",".join(row[:3]) for row in rows(5, seed=7)]
    file.write_text("\n".join([",".join(COLUMNS[:3]), *asked[:2]]) + "\n")
    with deployment.units():
        deployment.publish(120)
        following = deployment.begin("predict", str(file), "--client", "c", "--follow")
        found = lines(following, 2)
        with file.open("a") as growing:
            # The last row is not whole yet.
            growing.write(asked[2] + "\npurple,s,1.0\n" + asked[3][:4])
        found += lines(following, 2)
        assert [line["row"] for line in found] == [1, 2, 3, 4]
        assert found[3]["error"]["code"] == "unknown_category"
        following.send_signal(signal.SIGINT)
        ended = deployment.finish(following)
        assert (ended.code, ended.object["summary"]["rows"]) == (3, 4)
        piped = subprocess.run(
            deployment.command("predict", "-", "--client", "c", "--config", str(deployment.config), "--json"),
            input="\n".join([",".join(COLUMNS[:3]), *asked[:3]]),
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE,
        )
        labels = [json.loads(line)["label"] for line in piped.stdout.splitlines()[:3]]
        assert labels == [line["label"] for line in found[:3]]
    told = deployment.run("client", "answers", "--client", "c", "--all", "--once")
    assert told.code == 0
    assert [row["label"] for answer in told.objects for row in answer["answers"]] == labels + labels
    # Without --once it waits for more, and an interruption is its ordinary end.
    subscribed = deployment.begin("client", "answers", "--client", "c", "--all")
    assert lines(subscribed, 1)
    subscribed.send_signal(signal.SIGINT)
    assert subscribed.wait(PATIENCE) == 0
    for stream in (subscribed.stdout, subscribed.stderr):
        assert stream is not None
        stream.close()
