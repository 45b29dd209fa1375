"""Base transfers: each unit ends with the seeds that its own Δ chose, and with no others."""

from collections.abc import Callable

import pytest
from doubles import seeded_coins
from tenants import SmallTenant, small_tenant

from crypto.errors import CryptoError, RemoteProtocolError
from crypto.ot_extension import choices_of_delta, draw_delta
from roles.building_blocks.base_transfers import (
    TransferBases,
    base_master,
    base_plan,
    base_secondary,
    base_subject,
)
from roles.plan import Sections
from roles.session import MasterProgram, Session, run_linked


@pytest.fixture(scope="module")
def small() -> SmallTenant:
    return small_tenant()


DELTA_MU = draw_delta(seeded_coins("delta mu"), garbling=False)
DELTA_SU = draw_delta(seeded_coins("delta su"), garbling=True)


def sessions(
    small: SmallTenant, seed_mu: bytes = b"m" * 32, seed_su: bytes = b"s" * 32
) -> tuple[Session, Session]:
    plan = base_plan(small.tenant)
    return (
        Session(small.tenant, "mu", seed_mu, base_subject(), plan),
        Session(small.tenant, "su", seed_su, base_subject(), plan),
    )


def run(small: SmallTenant, seed_mu: bytes = b"m" * 32) -> tuple[TransferBases, TransferBases]:
    mu, su = sessions(small, seed_mu)
    program = base_secondary(su, DELTA_SU)
    master = run_linked(base_master(mu, DELTA_MU), mu, program, su)
    with pytest.raises(StopIteration) as finished:
        program.send(())
    secondary: TransferBases = finished.value.value
    return master, secondary


def test_both_directions_pair_up(small: SmallTenant) -> None:
    master, secondary = run(small)
    for sender, receiver in ((master.sender, secondary.receiver), (secondary.sender, master.receiver)):
        for bit, chosen, zero, one in zip(
            choices_of_delta(sender.delta), sender.seeds, receiver.seeds_zero, receiver.seeds_one, strict=True
        ):
            assert chosen == (one if bit else zero)
            assert zero != one
    assert master.sender.delta == DELTA_MU
    assert secondary.sender.delta == DELTA_SU
    assert len({*master.receiver.seeds_zero, *secondary.receiver.seeds_zero}) == 256


def test_a_restart_gives_the_same_bases_and_another_seed_others(small: SmallTenant) -> None:
    first, second = run(small), run(small)
    assert first == second
    assert run(small, b"x" * 32)[0].receiver != first[0].receiver


def tampered(sections: Sections, position: int, change: Callable[[bytes], bytes]) -> Sections:
    return (*sections[:position], change(sections[position]), *sections[position + 1 :])


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("filling", [b"\x00", b"\xff"])
def test_hostile_numbers_are_refused(small: SmallTenant, position: int, filling: bytes) -> None:
    mu, su = sessions(small)
    master: MasterProgram[TransferBases] = base_master(mu, DELTA_MU)
    secondary = base_secondary(su, DELTA_SU)
    next(secondary)
    request = next(master)
    su.absorb_request(request)
    mu.absorb_request(request)
    if position < 2:
        with pytest.raises((CryptoError, RemoteProtocolError)):
            secondary.send(tampered(request, position, lambda data: filling * len(data)))
        secondary = base_secondary(sessions(small)[1], DELTA_SU)
        next(secondary)
    with pytest.raises((CryptoError, RemoteProtocolError)):
        master.send(tampered(sections_of_reply(small), position, lambda data: filling * len(data)))


def sections_of_reply(small: SmallTenant) -> Sections:
    mu, su = sessions(small)
    request = next(base_master(mu, DELTA_MU))
    secondary = base_secondary(su, DELTA_SU)
    next(secondary)
    su.absorb_request(request)
    return secondary.send(request)
