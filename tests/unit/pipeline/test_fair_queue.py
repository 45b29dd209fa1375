"""Senders take turns; each one's items keep their order."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from pipeline.fair_queue import FairQueue


async def taken(queue: FairQueue[int], count: int) -> list[int]:
    return [await queue.take() for _ in range(count)]


async def test_one_who_sends_much_does_not_keep_others_waiting() -> None:
    queue: FairQueue[int] = FairQueue()
    for number in range(100):
        queue.put("greedy", number)
    assert await taken(queue, 2) == [0, 1]
    queue.put("a", 1000)
    queue.put("b", 2000)
    queue.put("a", 1001)
    assert len(queue) == 101
    assert await taken(queue, 7) == [2, 1000, 2000, 3, 1001, 4, 5]


async def test_a_taker_waits_for_the_next_item() -> None:
    queue: FairQueue[int] = FairQueue()
    taking = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    assert not taking.done()
    queue.put("a", 1)
    assert await taking == 1
    assert len(queue) == 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans())))
def test_every_item_comes_once_and_in_the_order_of_its_sender(steps: list[tuple[str, bool]]) -> None:
    async def run() -> list[tuple[str, int]]:
        queue: FairQueue[tuple[str, int]] = FairQueue()
        found = []
        for number, (sender, take) in enumerate(steps):
            queue.put(sender, (sender, number))
            if take:
                found.append(await queue.take())
        while len(queue):
            found.append(await queue.take())
        return found

    found = asyncio.run(run())
    assert sorted(found, key=lambda item: item[1]) == [(s, n) for n, (s, _) in enumerate(steps)]
    for sender in "abc":
        own = [number for name, number in found if name == sender]
        assert own == sorted(own)
