"""The next version of a configuration: what may change, and how it is checked.

Owners and clients may come, and be revoked; or the next key epoch begins, with other exchange keys of
the units. Nothing else changes: not the modulus, the units' halves of the service key, the data schema,
the models or the limits. So no model changes, and coins and sessions with the key epoch alone
(docs/protocols.md §8).
"""

import re
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import structs

from crypto.dtpkc import PublicKey
from crypto.errors import CryptoError, LocalProtocolError, PrivMLError
from crypto.unit_channel import KEY_BYTES as EXCHANGE_BYTES
from roles.arrival import Arrival
from roles.master_unit import MasterUnit
from roles.roster import JUDGED_TOPICS, Change
from roles.tenant import Tenant, check_keyless, checked_key, configuration_digest, keyed_roles
from schemas.codec import decode, encode
from schemas.configuration import MAX_CONFIGURATION_BYTES, Configuration, Party
from schemas.envelope import VerifyingParty
from schemas.journal import EntryKind, JournalEntry
from schemas.topics import NAME_PATTERN, Role

ENROLLED_ROLES = frozenset({Role.OWNER, Role.CLIENT})
"""Who may come and go while a tenant runs."""
UNIT_ROLES = frozenset({Role.MU, Role.SU})


class NotSuccessorError(PrivMLError):
    """A configuration does not continue another one."""

    code = "not_successor"


def next_version(before: Configuration, newcomers: Sequence[Party], revoked: Sequence[str]) -> Configuration:
    """Return the version after another one, with more parties, and some of them revoked; not yet checked."""
    parties = [structs.replace(p, revoked=True) if p.name in revoked else p for p in before.parties]
    return structs.replace(
        before,
        version=before.version + 1,
        previous=configuration_digest(before),
        parties=(*parties, *newcomers),
    )


def renewed_version(before: Configuration, units: Sequence[Party]) -> Configuration:
    """Return the version with which the next key epoch begins; not yet checked.

    Args:
        before: In force.
        units: MU and SU as they are, but for their exchange keys of that key epoch.
    """
    renewed = {unit.name: unit for unit in units}
    return structs.replace(
        before,
        version=before.version + 1,
        previous=configuration_digest(before),
        key_epoch=before.key_epoch + 1,
        parties=tuple(renewed.get(party.name, party) for party in before.parties),
    )


def change_between(tenant: Tenant, before: Configuration, after: Configuration) -> Change:
    """Return what a version changes.

    Args:
        tenant: What the versions have in common.
        before: In force.
        after: Signed by the authority.

    Raises:
        NotSuccessorError: It does not continue the other one, changes anything else, or has a key
            that fails its checks.

    Cost:
        Two powers for every new key.
    """
    if after.version != before.version + 1 or after.previous != configuration_digest(before):
        raise NotSuccessorError(f"version {after.version} does not continue version {before.version}")
    renews = after.key_epoch == before.key_epoch + 1
    common = structs.replace(after, version=before.version, previous=before.previous, parties=before.parties)
    if structs.replace(common, key_epoch=before.key_epoch) != before:
        raise NotSuccessorError("a version may change owners, clients and the key epoch, and nothing else")
    if renews:
        _check_renewed(before.parties, after.parties)
        return Change(after, renews=True)
    if after.key_epoch != before.key_epoch:
        raise NotSuccessorError(f"key epoch {after.key_epoch} does not follow key epoch {before.key_epoch}")
    if not _fits(after):
        raise NotSuccessorError(f"a configuration has at most {MAX_CONFIGURATION_BYTES} bytes")
    kept, added = after.parties[: len(before.parties)], after.parties[len(before.parties) :]
    if len(kept) < len(before.parties):
        raise NotSuccessorError("a party is missing; parties are revoked, never taken off the list")
    revoked = {new.name for old, new in zip(before.parties, kept, strict=True) if _revokes(old, new)}
    names = [party.name for party in after.parties]
    if len(set(names)) != len(names):
        raise NotSuccessorError("a name is given once, even if its party is revoked")
    checked = [(party.name, _checked(tenant, party)) for party in added]
    return Change(
        after,
        {name: verifying for name, (verifying, _) in checked},
        {name: key for name, (party, key) in checked if key is not None and party.role is Role.CLIENT},
        frozenset(revoked),
        {name: key for name, (party, key) in checked if key is not None and party.role is Role.OWNER},
    )


def next_change(tenant: Tenant, number: int, arrival: Arrival) -> Change:
    """Return what a message of the config topic changes, as the next version after some.

    Args:
        tenant: Its roster has these versions.
        number: How many versions came into force after the first.
        arrival: The message.

    Raises:
        NotSuccessorError: It does not continue the last of them.
        SchemaError: It is no configuration.

    Cost:
        Two powers for every new key.
    """
    configuration = decode(Configuration, arrival.body, MAX_CONFIGURATION_BYTES)
    return change_between(tenant, tenant.roster.configuration(number), configuration)


def decide_configured(
    unit: MasterUnit, arrival: Arrival, change: Change, judges_from: tuple[int, int]
) -> JournalEntry:
    """Return the entry of MU's journal by which a version comes into force.

    Args:
        unit: MU before it.
        arrival: The message that holds the version.
        change: From `next_change`.
        judges_from: First offsets of chunks and queries that are judged by it.

    Raises:
        NotSuccessorError: Something there was decided on by the version before, or a query is open while
            a key epoch begins.
    """
    if change.renews and unit.open_queries:
        raise NotSuccessorError("a key epoch begins while no query is open")
    reached = [unit.next_offset.get((topic, 0), 0) for topic in JUDGED_TOPICS]
    if any(first < behind for first, behind in zip(judges_from, reached, strict=True)):
        raise NotSuccessorError("a version cannot judge what was decided before it")
    return JournalEntry(
        unit.next_sequence,
        unit.head,
        EntryKind.CONFIGURED,
        arrival.topic,
        arrival.partition,
        arrival.offset,
        arrival.message_hash,
        arrival.sender,
        change.configuration.version,
        0,
        "",
        result=configuration_digest(change.configuration),
        judges_from=judges_from,
    )


def _check_renewed(before: Sequence[Party], after: Sequence[Party]) -> None:
    """Refuse anything but another exchange key of each unit."""
    if len(before) != len(after):
        raise NotSuccessorError("a version that begins a key epoch changes no owners and clients")
    for old, new in zip(before, after, strict=True):
        if old.role not in UNIT_ROLES:
            if new != old:
                raise NotSuccessorError(f"'{old.name}' was changed; a key epoch changes the units alone")
            continue
        if structs.replace(new, exchange_key=old.exchange_key) != old:
            raise NotSuccessorError(f"of the {old.role} a key epoch changes the exchange key alone")
        if new.exchange_key == old.exchange_key or len(new.exchange_key) != EXCHANGE_BYTES:
            raise NotSuccessorError(f"the {old.role} has no new exchange key")


def _fits(configuration: Configuration) -> bool:
    try:
        return len(encode(configuration)) <= MAX_CONFIGURATION_BYTES
    except LocalProtocolError:
        # More values than any message may hold.
        return False


def _revokes(old: Party, new: Party) -> bool:
    """Return whether a listed party is revoked now; it must be as it was else."""
    if new == old:
        return False
    if new != structs.replace(old, revoked=True):
        raise NotSuccessorError(f"'{old.name}' was changed; a party may be revoked, and nothing else")
    if old.role not in ENROLLED_ROLES:
        raise NotSuccessorError(f"'{old.name}' is the {old.role}: only owners and clients can be revoked")
    return True


def _checked(tenant: Tenant, party: Party) -> tuple[VerifyingParty, PublicKey | None]:
    if party.role not in ENROLLED_ROLES or party.revoked or party.exchange_key:
        raise NotSuccessorError("only owners and clients can be enrolled")
    if re.search(NAME_PATTERN, party.name) is None:
        raise NotSuccessorError("a name has letters, digits, dots, hyphens and underscores")
    role = Role(party.role)
    try:
        key = Ed25519PublicKey.from_public_bytes(party.verify_key)
        keyed = role in keyed_roles(owner_keys=tenant.has_owner_keys)
        public = checked_key(tenant.parameters, tenant.name, party) if keyed else None
        check_keyless(party, has_key=public is not None)
    except (CryptoError, ValueError) as error:
        raise NotSuccessorError(f"the key of '{party.name}' does not check: {error}") from error
    return VerifyingParty(party.name, role, key, tenant.key_epoch), public
