"""What the next version of a configuration may change."""

import pytest
from doubles import seeded_coins
from msgspec import structs
from tenants import SmallTenant, small_tenant

from roles.arrival import Arrival
from roles.enrolment import (
    NotSuccessorError,
    change_between,
    decide_configured,
    next_change,
    next_version,
)
from roles.master_unit import MasterUnit
from roles.tenant import coin_domain, configuration_digest, tenant_from
from roles.unit_keys import draw_party
from schemas.codec import encode
from schemas.configuration import Configuration, Party
from schemas.errors import MalformedMessageError


@pytest.fixture(scope="module")
def small() -> SmallTenant:
    return small_tenant()


def newcomer(small: SmallTenant, name: str, role: str) -> Party:
    _, party = draw_party(small.tenant.parameters, "small", role, name, seeded_coins(f"new {name}"))
    return party


def test_owners_and_clients_come_and_are_revoked(small: SmallTenant) -> None:
    before = small.tenant.configuration
    after = next_version(before, [newcomer(small, "e", "owner"), newcomer(small, "f", "client")], ["a"])
    change = change_between(small.tenant, before, after)
    assert (after.version, after.previous) == (2, configuration_digest(before))
    assert sorted(change.newcomers) == ["e", "f"]
    assert list(change.client_keys) == ["f"]
    assert change.revoked == {"a"}
    # Enrolling somebody changes no coin.
    assert coin_domain(after) == coin_domain(before)
    again = next_version(after, [], ["f"])
    assert change_between(small.tenant, after, again).revoked == {"f"}


def changed(small: SmallTenant, **fields: object) -> Configuration:
    return structs.replace(next_version(small.tenant.configuration, [], []), **fields)


def party_changed(small: SmallTenant, number: int, **fields: object) -> Configuration:
    parties = list(small.tenant.configuration.parties)
    parties[number] = structs.replace(parties[number], **fields)
    return changed(small, parties=tuple(parties))


def with_newcomer(small: SmallTenant, drawn_for: str, name: str = "n", **fields: object) -> Configuration:
    party = structs.replace(newcomer(small, "n", drawn_for), name=name, **fields)
    return changed(small, parties=(*small.tenant.configuration.parties, party))


def refused_versions(small: SmallTenant) -> dict[str, Configuration]:
    base = small.tenant.configuration
    client = newcomer(small, "f", "client")
    return {
        "itself": base,
        "skipped": changed(small, version=3),
        "older": changed(small, version=0),
        "another predecessor": changed(small, previous=bytes(32)),
        "no predecessor": changed(small, previous=b""),
        "tenant": changed(small, tenant="large"),
        "key epoch": changed(small, key_epoch=2),
        "modulus": changed(small, modulus=base.modulus[:-1] + b"\x01"),
        "schema": changed(small, data_schema=b""),
        "models": changed(small, models=()),
        "limits": changed(small, limits=structs.replace(base.limits, min_owners=2)),
        "a party less": changed(small, parties=base.parties[:-1]),
        "another order": changed(small, parties=base.parties[::-1]),
        "another key": party_changed(small, 3, verify_key=bytes(32)),
        "another role": party_changed(small, 3, role="client"),
        "another name": party_changed(small, 3, name="aa"),
        "no MU": party_changed(small, 1, revoked=True),
        "no authority": party_changed(small, 0, revoked=True),
        "a second MU": with_newcomer(small, "mu"),
        "a second authority": with_newcomer(small, "authority"),
        "revoked at once": with_newcomer(small, "owner", revoked=True),
        "a name taken": with_newcomer(small, "owner", "a"),
        "a name that is none": with_newcomer(small, "owner", "a b"),
        "a role that is none": with_newcomer(small, "owner", role="king"),
        "a short key": with_newcomer(small, "owner", verify_key=b"short"),
        "a client without a key": with_newcomer(small, "client", public_key=b""),
        "a client without a proof": with_newcomer(small, "client", key_proof=b""),
        "another's proof": with_newcomer(small, "client", key_proof=client.key_proof),
    }


REFUSED = refused_versions(small_tenant())


@pytest.mark.parametrize("name", REFUSED)
def test_nothing_else_changes(small: SmallTenant, name: str) -> None:
    with pytest.raises(NotSuccessorError):
        change_between(small.tenant, small.tenant.configuration, REFUSED[name])


def test_a_revoked_party_does_not_come_back(small: SmallTenant) -> None:
    revoked = next_version(small.tenant.configuration, [], ["a"])
    back = next_version(revoked, [], [])
    parties = tuple(structs.replace(party, revoked=False) for party in back.parties)
    with pytest.raises(NotSuccessorError, match="'a' was changed"):
        change_between(small.tenant, revoked, structs.replace(back, parties=parties))
    with pytest.raises(NotSuccessorError, match="given once"):
        change_between(small.tenant, revoked, next_version(revoked, [newcomer(small, "a", "owner")], []))


def test_a_configuration_has_a_limit(small: SmallTenant) -> None:
    base = small.tenant.configuration
    party = newcomer(small, "n", "owner")
    many = [structs.replace(party, name=f"n{i}") for i in range(20_000)]
    with pytest.raises(NotSuccessorError, match="at most"):
        change_between(small.tenant, base, next_version(base, many, []))


def arrival(body: bytes) -> Arrival:
    return Arrival("config", 0, 3, b"id", "authority", 2, "configuration", body)


def test_a_version_never_judges_what_was_decided(small: SmallTenant) -> None:
    unit = MasterUnit.starting(small.tenant)
    message = arrival(encode(next_version(small.tenant.configuration, [], ["a"])))
    change = next_change(small.tenant, 0, message)
    unit.next_offset[("chunks", 0)] = 5
    entry = decide_configured(unit, message, change, (5, 0))
    assert (entry.kind, entry.offset, entry.sender_sequence, entry.judges_from) == (
        "configured",
        3,
        2,
        (5, 0),
    )
    assert entry.result == configuration_digest(change.configuration)
    for early in ((4, 0), (5, -1)):
        with pytest.raises(NotSuccessorError, match="decided before"):
            decide_configured(unit, message, change, early)


def test_what_is_no_configuration_changes_nothing(small: SmallTenant) -> None:
    with pytest.raises(MalformedMessageError):
        next_change(small.tenant, 0, arrival(b"no configuration"))


def test_the_newest_version_knows_who_is_revoked(small: SmallTenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roles.tenant.profile", lambda _: small.tenant.parameters.profile)
    monkeypatch.setattr("roles.tenant.validate_parameters", lambda _: None)
    tenant = tenant_from(next_version(small.tenant.configuration, [], ["a"]), allow_insecure=True)
    assert tenant.verifying["a"].revoked
    assert not tenant.verifying["c"].revoked
