"""The next key epoch: what a version may change for it, and which secrets belong to which."""

from dataclasses import replace

import pytest
from doubles import seeded_coins
from msgspec import structs
from tenants import SmallTenant, exchange_secret, small_tenant

from crypto.unit_channel import UnsealedError, exchange_public_key
from roles.arrival import Arrival
from roles.enrolment import (
    NotSuccessorError,
    change_between,
    decide_configured,
    next_change,
    next_version,
    renewed_version,
)
from roles.master_unit import MasterUnit
from roles.roster import Roster
from roles.session import session_name
from roles.tenant import Tenant, coin_domain
from roles.unit_channels import UnitChannels
from roles.unit_keys import MissingKeysError, UnitKeys, draw_key_epoch, keys_in, secret_name, unit_keys
from schemas.codec import encode
from schemas.configuration import Configuration, Party
from schemas.errors import WrongKeyEpochError
from schemas.journal import EntryKind, JournalEntry
from schemas.rounds import Subject
from schemas.succession import InForce

SMALL = small_tenant()
BASE = SMALL.tenant.configuration


def drawn(role: str, key_epoch: int) -> dict[str, bytes]:
    return draw_key_epoch(role, seeded_coins(f"{role} {key_epoch}"))


def units(key_epoch: int = 2, before: Configuration = BASE) -> list[Party]:
    return [
        structs.replace(party, exchange_key=exchange_public_key(drawn(party.role, key_epoch)["exchange"]))
        for party in before.parties
        if party.role in {"mu", "su"}
    ]


def keys_of(role: str, *key_epochs: int) -> UnitKeys:
    """Return a unit's keys whose keystore has these later key epochs."""
    secrets = SMALL.master if role == "mu" else SMALL.secondary
    store = {
        "theta": secrets.theta.to_bytes(64, "big"),
        "seed": secrets.seed,
        "delta": secrets.sender.delta,
        "exchange": exchange_secret(role),
    }
    for key_epoch in key_epochs:
        store |= {secret_name(name, key_epoch): value for name, value in drawn(role, key_epoch).items()}
    return unit_keys(role, store, lambda _: None)


def in_force(tenant: Tenant, version: Configuration, judges_from: tuple[int, int] = (10, 4)) -> None:
    change = change_between(tenant, tenant.roster.configuration(), version)
    entered = InForce(version.version, bytes(32), 1, bytes(32), judges_from, version.version)
    tenant.roster.enter(entered, change)


@pytest.fixture
def tenant() -> Tenant:
    return replace(SMALL.tenant)


# --- versions


def test_a_key_epoch_changes_the_units_exchange_keys_and_all_coins(tenant: Tenant) -> None:
    after = renewed_version(BASE, units())
    change = change_between(tenant, BASE, after)
    assert (change.renews, after.key_epoch, after.version) == (True, 2, 2)
    assert not change.newcomers
    assert not change.revoked
    assert coin_domain(after) != coin_domain(BASE)
    assert not change_between(tenant, after, next_version(after, [], ["a"])).renews


def refused_renewals(small: SmallTenant) -> dict[str, Configuration]:
    base, good = small.tenant.configuration, renewed_version(small.tenant.configuration, units())
    mu, su = units()

    def with_mu(**fields: object) -> Configuration:
        return renewed_version(base, [structs.replace(mu, **fields), su])

    return {
        "two at once": structs.replace(good, key_epoch=3),
        "back": structs.replace(good, key_epoch=0),
        "no new keys": structs.replace(good, parties=base.parties),
        "one new key": renewed_version(base, [mu]),
        "new keys in the same key epoch": structs.replace(good, key_epoch=1),
        "a short key": with_mu(exchange_key=b"short"),
        "another θ": with_mu(public_key=bytes(8)),
        "another signing key": with_mu(verify_key=bytes(32)),
        "a revoked unit": with_mu(revoked=True),
        "an owner less": structs.replace(good, parties=good.parties[:-1]),
        "an owner revoked": structs.replace(
            good, parties=(*good.parties[:-1], structs.replace(good.parties[-1], revoked=True))
        ),
        "other limits": structs.replace(good, limits=structs.replace(base.limits, query_quota=1)),
    }


REFUSED = refused_renewals(SMALL)


@pytest.mark.parametrize("name", REFUSED)
def test_a_key_epoch_changes_nothing_else(tenant: Tenant, name: str) -> None:
    with pytest.raises(NotSuccessorError):
        change_between(tenant, BASE, REFUSED[name])


def test_a_key_epoch_begins_while_no_query_is_open(tenant: Tenant) -> None:
    unit = MasterUnit.starting(tenant)
    body = encode(renewed_version(BASE, units()))
    message = Arrival("config", 0, 3, b"id", "authority", 2, "configuration", body)
    change = next_change(tenant, 0, message)
    assert decide_configured(unit, message, change, (0, 0)).kind == EntryKind.CONFIGURED
    asked = JournalEntry(0, bytes(32), EntryKind.QUERY, "queries", 0, 0, b"asked", "c", 0, 1, "")
    unit.open_queries[b"asked"] = (asked, unit.models["m"].model)
    with pytest.raises(NotSuccessorError, match="no query is open"):
        decide_configured(unit, message, change, (0, 0))
    # Owners and clients come whatever is open.
    enrolled = change_between(tenant, BASE, next_version(BASE, [], ["a"]))
    assert decide_configured(unit, message, enrolled, (0, 0)).kind == EntryKind.CONFIGURED


# --- which messages count


def test_a_message_may_name_the_key_epoch_of_its_place_or_an_earlier_one(tenant: Tenant) -> None:
    in_force(tenant, renewed_version(BASE, units()))
    roster = tenant.roster
    for offset, last in ((9, 1), (10, 2)):
        party = roster.sender("chunks", offset)("a")
        assert party is not None
        assert [party.may_name(epoch) for epoch in (0, 1, 2, 3)] == [False, True, last == 2, False]
    assert [roster.key_epoch_at("queries", offset) for offset in (3, 4)] == [1, 2]
    # Rounds are judged by who reads them.
    master = roster.sender("rounds.requests", 0)("mu")
    assert master is not None
    assert master.may_name(7)
    assert not master.may_name(0)
    assert roster.renewed_at == 2
    assert Roster(BASE, {}, {}).renewed_at == -1


def test_the_newest_version_alone_knows_earlier_key_epochs() -> None:
    newest = renewed_version(BASE, units())
    later = replace(SMALL.tenant, configuration=newest, first_key_epoch=1)
    party = later.roster.sender("receipts", 0)("mu")
    assert party is not None
    assert [party.may_name(epoch) for epoch in (0, 1, 2, 3)] == [False, True, True, False]


# --- secrets


def test_secrets_belong_to_the_key_epoch_that_they_were_drawn_for(tenant: Tenant) -> None:
    in_force(tenant, renewed_version(BASE, units()))
    later = tenant.in_key_epoch(tenant.roster.configuration())
    assert later.roster is tenant.roster
    assert tenant.in_key_epoch(BASE) is tenant
    subject = Subject("refresh", "m")
    assert session_name(tenant, subject) != session_name(later, subject)
    keys = keys_of("mu", 2)
    assert keys_in(tenant, "mu", keys) is keys
    found = keys_in(later, "mu", keys)
    assert found.theta == keys.theta
    assert found.seed == drawn("mu", 2)["seed"] != keys.seed
    assert found.delta == drawn("mu", 2)["delta"] != keys.delta
    assert found.bases is None


def test_what_a_key_epoch_saves_has_names_of_its_own() -> None:
    saved: dict[str, bytes] = {}
    store = {"theta": b"\1", **drawn("su", 1)}
    store |= {secret_name(name, 2): value for name, value in drawn("su", 2).items()}
    later = unit_keys("su", store, saved.update).later
    assert later is not None
    later(2).save({"sender_seeds": b"s"})
    assert saved == {"sender_seeds.2": b"s"}


@pytest.mark.parametrize("key_epochs", [(), (3,)])
def test_a_keystore_without_the_secrets_is_refused(tenant: Tenant, key_epochs: tuple[int, ...]) -> None:
    in_force(tenant, renewed_version(BASE, units()))
    later = tenant.in_key_epoch(tenant.roster.configuration())
    with pytest.raises(MissingKeysError, match="no secrets of key epoch 2"):
        keys_in(later, "mu", keys_of("mu", *key_epochs))
    with pytest.raises(MissingKeysError):
        keys_in(later, "mu", replace(keys_of("mu"), later=None))


def test_secrets_that_the_authority_did_not_sign_are_refused(tenant: Tenant) -> None:
    others = [structs.replace(unit, exchange_key=exchange_public_key(bytes([7]) * 32)) for unit in units()]
    in_force(tenant, renewed_version(BASE, others))
    with pytest.raises(MissingKeysError):
        keys_in(tenant.in_key_epoch(tenant.roster.configuration()), "su", keys_of("su", 2))


def test_every_key_epoch_has_a_channel_of_its_own(tenant: Tenant) -> None:
    master, secondary = (UnitChannels(tenant, role, keys_of(role, 2)) for role in ("mu", "su"))
    with pytest.raises(WrongKeyEpochError):
        master.of(2)
    in_force(tenant, renewed_version(BASE, units()))
    sealed = {epoch: master.of(epoch).seal(b"body", "topic", 0) for epoch in (1, 2)}
    assert sealed[1] != sealed[2]
    assert [secondary.of(epoch).open(sealed[epoch], "topic", 0) for epoch in (1, 2)] == [b"body", b"body"]
    with pytest.raises(UnsealedError):
        secondary.of(2).open(sealed[1], "topic", 0)
