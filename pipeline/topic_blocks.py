"""Reading a topic from its end back to its beginning."""

from collections.abc import AsyncIterator

from pipeline.transport import Message, Transport

_BLOCK_MESSAGES = 16


async def blocks_from_end(transport: Transport, topic: str) -> AsyncIterator[list[Message]]:
    """Yield the messages of a topic of one partition in blocks, the last block first, each in order."""
    beginning = await transport.beginning_offset(topic, 0)
    end = await transport.end_offset(topic, 0)
    while end > beginning:
        start = max(beginning, end - _BLOCK_MESSAGES)
        offset, block = start, list[Message]()
        while offset < end and (messages := await transport.read(topic, 0, offset)):
            block += [message for message in messages if message.offset < end]
            offset = messages[-1].offset + 1
        yield block
        end = start
