"""Who may send what from which place on."""

import pytest
from msgspec import structs
from tenants import small_tenant

from crypto.errors import LocalProtocolError
from roles.roster import Change, Roster
from schemas.envelope import VerifyingParty
from schemas.succession import InForce
from schemas.topics import Role

SMALL = small_tenant()
BASE = SMALL.tenant.configuration
KEY = SMALL.tenant.verifying["a"].key
NEW = VerifyingParty("e", Role.OWNER, KEY, 1)


def version(number: int, chunks: int, queries: int) -> InForce:
    return InForce(number, bytes(32), number, bytes(32), (chunks, queries), number)


def roster() -> Roster:
    """Return a roster where e comes at (10, 4), and a goes at (20, 4)."""
    made = Roster(BASE, SMALL.tenant.verifying, SMALL.tenant.client_keys)
    made.enter(version(2, 10, 4), Change(structs.replace(BASE, version=2), {"e": NEW}))
    made.enter(version(3, 20, 4), Change(structs.replace(BASE, version=3), revoked=frozenset({"a", "c"})))
    return made


@pytest.mark.parametrize(
    ("topic", "offset", "name", "known", "revoked"),
    [
        ("chunks", 9, "e", False, False),
        ("chunks", 10, "e", True, False),
        ("chunks", 30, "e", True, False),
        ("chunks", 19, "a", True, False),
        ("chunks", 20, "a", True, True),
        ("queries", 3, "c", True, False),
        ("queries", 4, "c", True, True),
        # What the units and the authority write is judged by the newest version.
        ("journal", 0, "mu", True, False),
        ("config", 0, "authority", True, False),
        ("chunks", 30, "nobody", False, False),
    ],
)
def test_a_sender_is_looked_up_by_place(
    topic: str, offset: int, name: str, *, known: bool, revoked: bool
) -> None:
    party = roster().sender(topic, offset)(name)
    assert (party is not None) == known
    assert (party is not None and party.revoked) == revoked


def test_the_same_version_may_come_into_force_again_and_no_other() -> None:
    made = roster()
    second = Change(structs.replace(BASE, version=2), {"e": NEW})
    made.enter(version(2, 10, 4), second)
    assert [entered.version for entered in made.in_force] == [2, 3]
    for wrong in (
        version(2, 11, 4),
        version(5, 30, 30),
        version(4, 19, 4),
        version(4, 20, 3),
        version(1, 0, 0),
    ):
        with pytest.raises(LocalProtocolError):
            made.enter(wrong, second)


def test_configurations_are_known_by_content() -> None:
    made = roster()
    assert made.knows(BASE)
    assert made.knows(structs.replace(BASE, version=3))
    assert not made.knows(structs.replace(BASE, version=4))
    assert made.configuration().version == 3
    assert made.configuration(0) == BASE
