"""Work on messages beside the event loop, if it is large enough to be worth the way there and back.

A thread costs a tenth of a millisecond; hashing, signing and sealing a few kilobytes cost less than that.
"""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

SMALL_BYTES = 16 << 10


async def off_loop(
    size: int,
    work: Callable[Parameters, Result],
    *arguments: Parameters.args,
    **named: Parameters.kwargs,
) -> Result:
    """Return what the work returns: in a thread if it is on more than `SMALL_BYTES`, else at once.

    Args:
        size: Of what it works on; its time must be proportional to that, and no power among it.
        work: What to do.
        arguments: For the work.
        named: For the work.
    """
    if size <= SMALL_BYTES:
        return work(*arguments, **named)
    return await asyncio.to_thread(work, *arguments, **named)
