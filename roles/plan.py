"""A learner's program as data: the named steps of a session and the exact sizes of their fields.

MU runs a plan; SU checks every request against the same plan before any exponentiation, so
that an operation which is not the next one is refused (docs/security.md, rule 3).
"""

from dataclasses import dataclass
from functools import cached_property

from crypto.coins import Field, digest
from crypto.errors import RemoteProtocolError

Sections = tuple[bytes, ...]

MAX_STEPS = 1 << 16
"""Round trips of a session at most."""


class PlanViolationError(RemoteProtocolError):
    """The peer's message is not the plan's next step, or has other fields."""

    code = "plan_violation"


@dataclass(frozen=True, slots=True)
class Section:
    """One field of a message: what it is, and its exact size in bytes.

    Attributes:
        name: What it is.
        size: Bytes.
        transfers: Transfers that it chooses, without the padding of an extension.
        layers: Layers of gates that its tables were garbled in; both are for estimates alone.
    """

    name: str
    size: int
    transfers: int = 0
    layers: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """One round trip.

    Attributes:
        name: What happens in it.
        blocks: The building blocks that share it.
        request: Fields from MU to SU.
        reply: Fields from SU to MU.
    """

    name: str
    blocks: tuple[str, ...]
    request: tuple[Section, ...]
    reply: tuple[Section, ...]

    @property
    def bytes_exchanged(self) -> int:
        """Bytes of all fields, both directions."""
        return sum(section.size for section in self.request + self.reply)


@dataclass(frozen=True)
class Plan:
    """A session's steps, from public parameters alone.

    Attributes:
        name: For instance ``naive_bayes.query``.
        version: Raised whenever the meaning of a step changes.
        parameters: The public numbers that the steps follow from, and circuit digests.
        steps: In order; step 1 is ``steps[0]``.
    """

    name: str
    version: int
    parameters: tuple[Field, ...]
    steps: tuple[Step, ...]

    @cached_property
    def digest(self) -> bytes:
        """SHA3-256 of the whole plan: part of every coin's label and of every request."""
        listed = tuple(
            (
                step.name,
                step.blocks,
                tuple((section.name, section.size) for section in step.request),
                tuple((section.name, section.size) for section in step.reply),
            )
            for step in self.steps
        )
        return digest("privml/plan/1", self.name, self.version, self.parameters, listed)

    def check_request(self, step: int, sections: Sections) -> None:
        """Hold the fields of a request against the plan.

        Raises:
            PlanViolationError: No such step, or another number or size of fields.
        """
        self._check(step, sections, "request")

    def check_reply(self, step: int, sections: Sections) -> None:
        """Hold the fields of a reply against the plan; raises like `check_request`."""
        self._check(step, sections, "reply")

    def _check(self, step: int, sections: Sections, kind: str) -> None:
        if not 1 <= step <= len(self.steps):
            raise PlanViolationError(f"{self.name} has no step {step}")
        planned = self.steps[step - 1]
        expected = planned.request if kind == "request" else planned.reply
        if tuple(len(section) for section in sections) != tuple(section.size for section in expected):
            raise PlanViolationError(f"{kind} of {self.name}/{planned.name} has fields of other sizes")
