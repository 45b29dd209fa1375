"""The chain of journal entries, and what breaks it."""

import pytest

from roles import journal_chain
from roles.arrival import Arrival, Refused
from roles.findings import Findings
from roles.journal_chain import JournalChain
from schemas.codec import encode
from schemas.journal import GENESIS, JournalEntry
from schemas.reasons import ReasonCode


def message(sequence: int, previous: bytes, entry_id: bytes, offset: int = 0) -> Arrival:
    entry = JournalEntry(sequence, previous, "reject", "chunks", 0, sequence, b"", "", 0, 0, "malformed")
    return Arrival("journal", 0, offset, entry_id, "mu", sequence, "entry", encode(entry))


def name(text: str) -> bytes:
    return text.encode().ljust(32)


def codes(findings: Findings) -> list[str]:
    return [finding.code.value for finding in findings.found]


def chain_of(length: int) -> list[Arrival]:
    ids = [GENESIS, *(name(str(number)) for number in range(length))]
    return [message(number, ids[number], ids[number + 1], number) for number in range(length)]


def take(messages: list[Arrival]) -> tuple[list[int], Findings, JournalChain]:
    chain = JournalChain(Findings())
    links = [chain.take(item) for item in messages]
    return [link.entry.sequence for link in links if link is not None], chain.findings, chain


def test_a_whole_chain_counts() -> None:
    taken, findings, chain = take(chain_of(5))
    assert taken == [0, 1, 2, 3, 4]
    assert codes(findings) == []
    assert (chain.next_sequence, chain.strayed) == (5, None)


def test_a_first_entry_that_is_not_the_first() -> None:
    taken, findings, _ = take(chain_of(3)[1:])
    assert (taken, codes(findings)) == ([], ["chain_broken"])
    assert "one before it is missing" in findings.found[0].detail


def test_of_a_run_that_does_not_count_the_first_is_told() -> None:
    _, findings, chain = take([*chain_of(3), *chain_of(9)[5:]])
    assert codes(findings) == ["chain_broken"]
    assert findings.found[0].place.offset == 5
    assert "2 before it are missing" in findings.found[0].detail
    assert chain.strayed is not None


def test_entries_of_a_second_process_do_not_lead_the_chain_astray() -> None:
    own = chain_of(5)
    # It decided entries 2 to 4 as well, and its batch stands between those that count.
    others = [
        message(2, name("1"), name("2'")),
        message(3, name("2'"), name("3'")),
        message(4, name("3'"), name("4'")),
    ]
    taken, findings, chain = take([*own[:3], *others, *own[3:]])
    assert taken == [0, 1, 2, 3, 4]
    assert codes(findings) == ["chain_forked"]
    assert chain.strayed is None


def test_an_entry_that_names_another_one_before_it() -> None:
    taken, findings, _ = take([*chain_of(2), message(2, name("elsewhere"), name("2"))])
    assert (taken, codes(findings)) == ([0, 1], ["chain_broken"])


def test_what_is_no_entry_does_not_count() -> None:
    chain = JournalChain(Findings())
    refused = Refused(Arrival("journal", 0, 0, b"", "", 0, "", b""), ReasonCode.BAD_SIGNATURE)
    assert chain.take(refused) is None
    assert chain.take(Arrival("journal", 0, 1, b"", "mu", 0, "entry", b"nonsense")) is None
    assert codes(chain.findings) == ["bad_message", "bad_message"]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_chain, "KNOWN_ENTRIES", 2)
    entries = chain_of(5)
    _, findings, _ = take([*entries, entries[4], entries[0]])
    assert codes(findings) == ["entry_repeated", "chain_broken"]
