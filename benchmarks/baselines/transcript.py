"""What a run of a baseline did and sent: named operations, bytes, messages and round trips.

Powers are counted as well, by `crypto.counting`. Here they have the names that the papers give to
what they count, so that a test can hold a run against a paper's formula.
"""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Transcript:
    """Operations and messages of one run.

    Attributes:
        operations: By the paper's name for them.
        sent: Bytes by sender.
        messages: How often the sender changed, with everything a sender says in a row as one message.
    """

    operations: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    messages: int = 0
    _last: str = ""

    def did(self, operation: str, times: int = 1) -> None:
        """Count an operation."""
        self.operations[operation] += times

    def send(self, sender: str, size: int) -> None:
        """Count a message, or one more part of it if the same party sent the last one."""
        self.sent[sender] += size
        if sender != self._last:
            self.messages += 1
            self._last = sender

    @property
    def total_bytes(self) -> int:
        """Bytes of all senders."""
        return sum(self.sent.values())

    @property
    def round_trips(self) -> int:
        """Round trips; a message without an answer counts as one."""
        return (self.messages + 1) // 2
