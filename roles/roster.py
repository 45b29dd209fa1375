"""Who may send what from which place on: the parties of a tenant, whose configuration changes while it runs.

A message of an owner or a client is judged by the version of the configuration that was in force
where it stands, whenever that is looked at. So MU, a restarted MU, SU and whoever audits say the same
of it. Since when a version is in force MU fixes, by an entry of its journal.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from crypto.dtpkc import PublicKey
from crypto.errors import LocalProtocolError
from schemas.configuration import Configuration
from schemas.envelope import VerifyingParty
from schemas.journal import JournalEntry
from schemas.succession import InForce
from schemas.topics import TopicName

JUDGED_TOPICS = (TopicName.CHUNKS, TopicName.QUERIES)
"""Topics whose writers come and go; in the order of `InForce.judges_from`."""
ROUNDS = frozenset({TopicName.ROUND_REQUESTS, TopicName.ROUND_REPLIES})
_ANY_KEY_EPOCH = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Change:
    """What a version of the configuration changes, checked.

    Attributes:
        configuration: The version.
        newcomers: Parties that were not there before, by name.
        client_keys: Their public keys, of those that are clients.
        revoked: Names of those that are revoked by it.
        owner_keys: Public keys of newcomers that are owners, where owners have keys of their own.
        renews: Whether a key epoch begins with it.
    """

    configuration: Configuration
    newcomers: Mapping[str, VerifyingParty] = field(default_factory=dict)
    client_keys: Mapping[str, PublicKey] = field(default_factory=dict)
    revoked: frozenset[str] = frozenset()
    owner_keys: Mapping[str, PublicKey] = field(default_factory=dict)
    renews: bool = False


@dataclass(frozen=True, slots=True)
class _Member:
    """A party with the versions, counted from the first one known, that enrolled and revoked it."""

    party: VerifyingParty
    since: int = 0
    until: int | None = None


class Roster:
    """The parties of one tenant, version after version.

    Attributes:
        in_force: The versions after the first, with the places since which they are in force.
        client_keys: h_C of every client that ever was; a name is never given again.
        owner_keys: The same of owners, where they have keys of their own.
        first_key_epoch: The tenant's first one.
    """

    def __init__(
        self,
        configuration: Configuration,
        verifying: Mapping[str, VerifyingParty],
        client_keys: Mapping[str, PublicKey],
        first_key_epoch: int | None = None,
        owner_keys: Mapping[str, PublicKey] | None = None,
    ) -> None:
        self.in_force: list[InForce] = []
        self.client_keys = dict(client_keys)
        self.owner_keys = dict(owner_keys or {})
        self.first_key_epoch = configuration.key_epoch if first_key_epoch is None else first_key_epoch
        self._changes = [Change(configuration)]
        self._members = {name: _Member(party) for name, party in verifying.items()}

    @property
    def changes(self) -> list[Change]:
        """What each version after the first changed."""
        return self._changes[1:]

    def configuration(self, number: int = -1) -> Configuration:
        """Return a version, by default the last one in force; 0 is the first."""
        return self._changes[number].configuration

    def key_epoch_at(self, topic: str, offset: int) -> int:
        """Return the key epoch in force where a message of an owner or a client stands."""
        return self._changes[self._version_at(topic, offset)].configuration.key_epoch

    def key_epoch_of(self, sequence: int) -> int:
        """Return the key epoch in force at an entry of MU's journal."""
        version = sum(entered.journal_sequence < sequence for entered in self.in_force)
        return self._changes[version].configuration.key_epoch

    def beginning_of(self, key_epoch: int) -> Configuration | None:
        """Return the version with which a key epoch began; None if it is not one of those in force."""
        versions = (change.configuration for change in self._changes)
        return next((version for version in versions if version.key_epoch == key_epoch), None)

    @property
    def renewed_at(self) -> int:
        """Journal sequence of the entry with which the key epoch in force began; −1 of the first one."""
        now = self.configuration().key_epoch
        earlier = sum(change.configuration.key_epoch < now for change in self._changes)
        return self.in_force[earlier - 1].journal_sequence if earlier else -1

    def knows(self, configuration: Configuration) -> bool:
        """Return whether a version is or was in force."""
        return any(change.configuration == configuration for change in self._changes)

    def sender(self, topic: str, offset: int) -> Callable[[str], VerifyingParty | None]:
        """Return what looks up the sender of a message that stands at an offset of a topic.

        A message may name the key epoch in force there or an earlier one. Of rounds it may be any: SU may be
        asked in an epoch before it knows of it, and decides by itself.
        """
        version = self._version_at(topic, offset)
        key_epoch = self._changes[version].configuration.key_epoch
        if topic in ROUNDS:
            key_epoch = _ANY_KEY_EPOCH

        def look_up(name: str) -> VerifyingParty | None:
            member = self._members.get(name)
            if member is None or version < member.since:
                return None
            gone = member.until is not None and version >= member.until
            first = self.first_key_epoch
            revoked = gone or member.party.revoked
            return replace(member.party, revoked=revoked, key_epoch=key_epoch, first_key_epoch=first)

        return look_up

    def _version_at(self, topic: str, offset: int) -> int:
        if topic not in JUDGED_TOPICS:
            return len(self.in_force)
        which = JUDGED_TOPICS.index(TopicName(topic))
        return sum(entered.judges_from[which] <= offset for entered in self.in_force)

    def enter(self, entered: InForce, change: Change) -> None:
        """Let the next version come into force; once more the same changes nothing.

        Raises:
            LocalProtocolError: It is not the next one, or begins before the one before it.
        """
        number = entered.version - self.configuration(0).version
        if 1 <= number <= len(self.in_force) and self.in_force[number - 1] == entered:
            return
        before = self.in_force[-1].judges_from if self.in_force else (0, 0)
        later = all(b >= a for a, b in zip(before, entered.judges_from, strict=True))
        if number != len(self.in_force) + 1 or not later:
            raise LocalProtocolError(f"version {entered.version} does not come into force here")
        # The order of these lines: a lookup from another thread never finds a version without its parties.
        self.client_keys.update(change.client_keys)
        self.owner_keys.update(change.owner_keys)
        self._members |= {name: _Member(party, number) for name, party in change.newcomers.items()}
        self._members |= {name: replace(self._members[name], until=number) for name in change.revoked}
        self._changes.append(change)
        self.in_force.append(entered)


def in_force(entry: JournalEntry) -> InForce:
    """Return what a ``configured`` entry says."""
    return InForce(
        entry.sender_sequence,
        entry.result,
        entry.offset,
        entry.message_hash,
        entry.judges_from,
        entry.sequence,
    )
