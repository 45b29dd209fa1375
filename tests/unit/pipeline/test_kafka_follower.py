"""A tail's bookkeeping; what needs a broker is in tests/kafka."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.kafka_follower import READ_BYTES, READ_MESSAGES, _Tail
from pipeline.transport import Message


def message(offset: int, size: int) -> Message:
    return Message("t.x", 0, offset, None, {}, bytes(size), 0)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 9), st.integers(0, 4)), max_size=60), st.data())
def test_any_mixture_of_readers_gets_what_was_appended(
    steps: list[tuple[bool, int, int]], data: st.DataObject
) -> None:
    tail, log = _Tail(100), [message(offset, offset % 7 * 100) for offset in range(100, 800)]
    positions = [100] * 5
    for appends, count, reader in steps:
        if appends:
            tail.add(log[tail.next_offset - 100 : tail.next_offset - 100 + count])
            continue
        limit = data.draw(st.integers(1, 2000))
        found = tail.take(positions[reader], count, limit)
        start = positions[reader] - 100
        assert found == log[start : start + len(found)]
        assert len(found) <= count
        assert len(found) <= 1 or sum(len(one.value) for one in found) <= limit
        positions[reader] += len(found)
        # Whoever is not at the end gets something.
        assert found or positions[reader] == tail.next_offset
    unread = [one for one in tail.messages if one.offset >= tail.read_to]
    assert tail.unread_bytes == sum(len(one.value) for one in unread)
    assert tail.read_bytes == sum(len(one.value) for one in tail.messages) - tail.unread_bytes


def test_what_was_read_is_kept_only_up_to_a_limit() -> None:
    tail = _Tail(0)
    for offset in range(3 * READ_MESSAGES):
        tail.add([message(offset, 10)])
        assert tail.take(offset, 5, 100)
    assert len(tail.messages) == READ_MESSAGES
    # Older than what is kept: to be looked up.
    assert tail.take(0, 5, 100) == []
    for offset in range(3 * READ_MESSAGES, 3 * READ_MESSAGES + 10):
        tail.add([message(offset, READ_BYTES)])
        assert tail.take(offset, 5, 100)
    assert len(tail.messages) == 1


def test_holes_and_other_offsets() -> None:
    tail = _Tail(5)
    assert tail.take(5, 9, 9) == []
    tail.add([message(5, 1), message(9, 1)])
    assert [one.offset for one in tail.take(7, 9, 9)] == [9]
    assert tail.take(4, 9, 9) == []
    assert tail.take(10, 9, 9) == []
