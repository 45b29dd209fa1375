"""Messages above the size limit travel as parts and count when all of them are there.

All parts of a message carry the same sender, sequence and kind, and `part` i of `parts` m.
Each is signed on its own. The id of the whole is `whole_id` of the parts' ids.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.codec import MAX_MESSAGE_BYTES
from schemas.envelope import ENVELOPE_OVERHEAD_BYTES, MAX_PARTS, Envelope, seal_envelope
from schemas.errors import EquivocationError, MessageTooLargeError
from schemas.reasons import ReasonCode

MAX_PART_BODY_BYTES = MAX_MESSAGE_BYTES - ENVELOPE_OVERHEAD_BYTES

_DOMAIN_TAG = b"privml/parts/1"

GroupKey = tuple[str, str, int]
"""Topic, sender, sequence."""


def split_body(body: bytes, limit: int = MAX_PART_BODY_BYTES) -> list[bytes]:
    """Cut a body into pieces of exactly `limit` bytes and a last one of 1 to `limit` bytes.

    An empty body is one empty piece.

    Raises:
        MessageTooLargeError: It would take more than `MAX_PARTS` pieces.
    """
    if len(body) > limit * MAX_PARTS:
        raise MessageTooLargeError(len(body), limit * MAX_PARTS)
    return [body[start : start + limit] for start in range(0, len(body), limit)] or [b""]


def seal_parts(
    *,
    tenant: str,
    topic: str,
    sender: str,
    key_epoch: int,
    sequence: int,
    kind: str,
    body: bytes,
    signing_key: Ed25519PrivateKey,
    limit: int = MAX_PART_BODY_BYTES,
) -> list[bytes]:
    """Sign a body of any size and return the wire forms to publish, one or more, in order.

    Raises:
        MessageTooLargeError: It would take more than `MAX_PARTS` parts.
    """
    pieces = split_body(body, limit)
    return [
        seal_envelope(
            tenant=tenant,
            topic=topic,
            sender=sender,
            key_epoch=key_epoch,
            sequence=sequence,
            kind=kind,
            body=piece,
            signing_key=signing_key,
            part=part,
            parts=len(pieces),
        )
        for part, piece in enumerate(pieces)
    ]


def whole_id(part_ids: Sequence[bytes]) -> bytes:
    """Return the id of a message from its parts' ids in order, 32 bytes.

    A message in one part has that part's id, the SHA-256 of its signed bytes. A message in
    several has SHA-256 of a domain tag and the concatenated ids.
    """
    if len(part_ids) == 1:
        return part_ids[0]
    return hashlib.sha256(_DOMAIN_TAG + b"".join(part_ids)).digest()


@dataclass(frozen=True, slots=True)
class Whole:
    """A complete message: the envelope of its part 0 (whose body is that part's), id and whole body."""

    envelope: Envelope
    message_id: bytes
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class DroppedGroup:
    """A group given up before it was complete, to be reported as a dead letter."""

    topic: str
    sender: str
    sequence: int
    parts_seen: int
    parts: int
    reason: ReasonCode


@dataclass(frozen=True, slots=True)
class Offered:
    """What came of a part: a complete message if it was the last one, and groups it pushed out."""

    whole: Whole | None = None
    dropped: tuple[DroppedGroup, ...] = ()


@dataclass(slots=True)
class _Group:
    first: Envelope
    mark: int
    parts: dict[int, tuple[bytes, Envelope]] = field(default_factory=dict)
    size: int = 0


class PartAssembler:
    """Collects parts until messages are complete, within a byte budget.

    Fed with the same envelopes in the same order it does the same. It does not know which
    sequences were decided long ago: the caller drops parts of those first, or they would
    open a group that never closes.

    When room is short, the sender that holds most gives up its oldest incomplete group; so a
    sender that opens many groups pushes out its own, not its neighbour's.
    """

    def __init__(self, byte_budget: int, max_groups_per_sender: int) -> None:
        if byte_budget <= 0 or max_groups_per_sender <= 0:
            raise ValueError("the budget and the number of groups must be positive")
        self._byte_budget = byte_budget
        self._max_groups_per_sender = max_groups_per_sender
        self._groups: dict[GroupKey, _Group] = {}  # in the order in which they were opened
        self._held: dict[str, int] = {}

    @property
    def bytes_held(self) -> int:
        """Return the bytes of the bodies waiting for their other parts."""
        return sum(self._held.values())

    @property
    def oldest_mark(self) -> int | None:
        """Return the least mark of an incomplete group: where to resume reading; None if all is whole."""
        return min((group.mark for group in self._groups.values()), default=None)

    def offer(self, envelope: Envelope, mark: int = 0) -> Offered:
        """Take a verified part.

        Args:
            envelope: What `open_envelope` returned.
            mark: Where the part stands, e.g. its offset; see `oldest_mark`.

        Raises:
            EquivocationError: The group has another kind, key epoch or number of parts, or
                other bytes under this part number. What was there first stays.
            MessageTooLargeError: The group alone exceeds the budget; it was dropped.
        """
        if envelope.parts == 1:
            return Offered(Whole(envelope, envelope.message_id(), envelope.body))
        key = (envelope.topic, envelope.sender, envelope.sequence)
        group = self._groups.get(key)
        if group is None:
            dropped = self._limit_groups(envelope)
            group = self._groups[key] = _Group(envelope, mark)
        else:
            dropped = []
            _check_same_group(group.first, envelope)
            if envelope.part in group.parts:
                if group.parts[envelope.part][0] != envelope.message_id():
                    raise EquivocationError("other bytes under the same part number")
                return Offered()
        group.parts[envelope.part] = (envelope.message_id(), envelope)
        group.mark = min(group.mark, mark)
        group.size += len(envelope.body)
        self._held[envelope.sender] = self._held.get(envelope.sender, 0) + len(envelope.body)
        dropped += self._limit_bytes(key)
        if len(group.parts) < envelope.parts:
            return Offered(dropped=tuple(dropped))
        self._remove(key)
        ordered = [group.parts[part] for part in range(envelope.parts)]
        whole = Whole(
            ordered[0][1],
            whole_id([part_id for part_id, _ in ordered]),
            b"".join(part.body for _, part in ordered),
        )
        return Offered(whole, tuple(dropped))

    def _limit_groups(self, envelope: Envelope) -> list[DroppedGroup]:
        own = [key for key in self._groups if key[1] == envelope.sender]
        excess = len(own) + 1 - self._max_groups_per_sender
        return [self._remove(key) for key in own[: max(excess, 0)]]

    def _limit_bytes(self, current: GroupKey) -> list[DroppedGroup]:
        dropped: list[DroppedGroup] = []
        while self.bytes_held > self._byte_budget:
            heaviest = max(self._held, key=lambda sender: (self._held[sender], sender))
            own = [key for key in self._groups if key[1] == heaviest]
            # Its oldest other group goes before the one that is being filled.
            victim = next((key for key in own if key != current), current)
            size = self._groups[victim].size
            report = self._remove(victim)
            if victim == current:
                raise MessageTooLargeError(size, self._byte_budget)
            dropped.append(report)
        return dropped

    def _remove(self, key: GroupKey) -> DroppedGroup:
        group = self._groups.pop(key)
        topic, sender, sequence = key
        self._held[sender] = self._held.get(sender, 0) - group.size
        if not self._held[sender]:
            del self._held[sender]
        return DroppedGroup(
            topic, sender, sequence, len(group.parts), group.first.parts, ReasonCode.INCOMPLETE_PARTS
        )


def _check_same_group(first: Envelope, other: Envelope) -> None:
    if (first.tenant, first.kind, first.key_epoch, first.parts) != (
        other.tenant,
        other.kind,
        other.key_epoch,
        other.parts,
    ):
        raise EquivocationError("the parts of one sequence number disagree")
