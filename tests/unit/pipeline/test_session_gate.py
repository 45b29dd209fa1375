"""Who waits for whom where a key epoch begins."""

import asyncio

from pipeline.session_gate import SessionGate


async def test_a_gate_closes_when_all_are_out_and_lets_nobody_in_meanwhile() -> None:
    gate, seen = SessionGate(), list[str]()
    gate.hold()

    async def close() -> None:
        async with gate.closed():
            seen.append("closed")
            await asyncio.sleep(0)
            seen.append("open again")

    async def go_in() -> None:
        async with gate.inside():
            seen.append("inside")

    await asyncio.wait_for(go_in(), 5.0)
    closing = asyncio.create_task(close())
    await asyncio.sleep(0)
    late = asyncio.create_task(go_in())
    for _ in range(5):
        await asyncio.sleep(0)
    assert seen == ["inside"]
    gate.leave()
    await asyncio.wait_for(asyncio.gather(closing, late), 5.0)
    assert seen == ["inside", "closed", "open again", "inside"]


async def test_who_is_cancelled_while_it_waits_leaves_the_gate_open() -> None:
    gate = SessionGate()
    gate.hold()

    async def close() -> None:
        async with gate.closed():
            raise AssertionError("somebody is inside")

    closing = asyncio.create_task(close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    await asyncio.wait_for(gate.enter(), 5.0)
