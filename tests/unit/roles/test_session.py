"""Sessions: both units' transcripts agree, and no coin, nonce or salt serves two places or inputs."""

from collections.abc import Callable

import numpy as np
import pytest
from doubles import seeded_coins
from round_trips import replace_subject
from tenants import SmallTenant, small_tenant

from crypto.errors import LocalProtocolError
from roles.plan import Plan, Section, Sections, Step
from roles.session import (
    MasterProgram,
    SecondaryProgram,
    Session,
    array_bytes,
    model_coins,
    run_linked,
    session_name,
)
from schemas.rounds import Subject

PLAN = Plan("test", 1, (), (Step("only", (), (Section("a", 1),), (Section("b", 1),)),) * 2)
SUBJECT = Subject("query", "m", 1, bytes(32), 9, 1, "c", bytes(32), 0, 5, 2, b"detail")
SEED = bytes(range(32))


@pytest.fixture(scope="module")
def small() -> SmallTenant:
    return small_tenant()


def session(
    small: SmallTenant, unit: str = "mu", *, seed: bytes = SEED, subject: Subject = SUBJECT, plan: Plan = PLAN
) -> Session:
    return Session(small.tenant, unit, seed, subject, plan)


def test_every_field_of_the_subject_names_another_session(small: SmallTenant) -> None:
    others = {
        "purpose": "refresh",
        "model_id": "n",
        "model_version": 2,
        "model_hash": bytes(31) + b"1",
        "records": 10,
        "owners": 2,
        "client": "d",
        "message_hash": b"1" + bytes(31),
        "partition": 1,
        "offset": 6,
        "rows": 3,
        "detail": b"other detail",
    }
    assert set(others) == set(SUBJECT.__struct_fields__)
    names = {
        session_name(small.tenant, replace_subject(SUBJECT, **{key: new})) for key, new in others.items()
    }
    assert len(names | {session_name(small.tenant, SUBJECT)}) == len(others) + 1


def test_both_units_fold_the_same_transcript_and_agree_on_hashes(small: SmallTenant) -> None:
    mu, su = session(small), session(small, "su", seed=bytes(32))
    assert mu.transcript == su.transcript
    blocks = seeded_coins("blocks").blocks(4)
    salt = bytes(16)
    for request, reply in (((b"1",), (b"2",)), ((b"3",), (b"4",))):
        ahead = mu.request_hash("pads", salt).hash(blocks)
        mu.absorb_request(request)
        su.absorb_request(request)
        assert (su.request_hash("pads", salt).hash(blocks) == ahead).all()
        back = su.reply_hash("pads", salt).hash(blocks)
        assert not (back == ahead).any()
        su.absorb_reply(reply)
        mu.absorb_reply(reply)
        assert (mu.reply_hash("pads", salt).hash(blocks) == back).all()
        assert mu.transcript == su.transcript


def test_the_transcript_depends_on_every_section(small: SmallTenant) -> None:
    seen = set()
    for request, reply in (((b"1",), (b"2",)), ((b"2",), (b"1",)), ((b"1", b"2"), ()), ((), (b"1", b"2"))):
        one = session(small)
        one.absorb_request(request)
        one.absorb_reply(reply)
        seen.add(one.transcript)
    assert len(seen) == 4


Draw = Callable[[Session, str, bytes], bytes]
CHOICES = np.array([0, 1, 1], dtype=np.uint8)
DRAWS: dict[str, Draw] = {
    "coins": lambda at, purpose, bound: at.coins(purpose, bound).bytes(16),
    "hidden coins": lambda at, purpose, bound: at.coins(purpose, b"", bound).bytes(16),
    "nonce": lambda at, purpose, bound: at.nonce(purpose, CHOICES, bound),
    "salt": lambda at, purpose, bound: at.salt(purpose, bound),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())
def test_draws_repeat_in_a_restarted_unit_and_differ_everywhere_else(small: SmallTenant, draw: Draw) -> None:
    def later(sections: Sections) -> Session:
        at = session(small)
        at.absorb_request(sections)
        return at

    first = draw(session(small), "x", b"input")
    assert draw(session(small), "x", b"input") == first
    drawn = [
        first,
        draw(session(small), "y", b"input"),
        draw(session(small), "x", b"another input"),
        draw(session(small, "su"), "x", b"input"),
        draw(session(small, seed=bytes(32)), "x", b"input"),
        draw(session(small, subject=replace_subject(SUBJECT, rows=3)), "x", b"input"),
        draw(session(small, plan=Plan("test", 2, (), PLAN.steps)), "x", b"input"),
        draw(later((b"1",)), "x", b"input"),
        draw(later((b"2",)), "x", b"input"),
    ]
    assert len(set(drawn)) == len(drawn)


def test_one_session_place_with_another_input_has_another_mask(small: SmallTenant) -> None:
    # Even a restored or patched unit cannot put one mask on two plaintexts.
    masks = {session(small).coins("mask", inputs).integer_bits(128) for inputs in (b"a", b"b", b"ab")}
    assert len(masks) == 3


def test_other_choices_have_another_nonce(small: SmallTenant) -> None:
    flipped = CHOICES ^ np.uint8(1)
    nonces = {session(small).nonce("x", choices) for choices in (CHOICES, flipped, CHOICES[:2])}
    assert len(nonces) == 3


def test_nothing_is_drawn_twice(small: SmallTenant) -> None:
    at = session(small)
    at.coins("x")
    for again in (lambda: at.coins("x"), lambda: at.salt("x", b""), lambda: at.nonce("x", CHOICES)):
        with pytest.raises(LocalProtocolError, match="already drawn"):
            again()
    at.absorb_request((b"1",))
    at.coins("x")


def test_table_coins_are_those_of_the_refresh_session(small: SmallTenant) -> None:
    def drawn(subject: Subject, plan: Plan = PLAN, seed: bytes = SEED) -> bytes:
        return model_coins(seed, small.tenant, plan, subject).bytes(16)

    assert drawn(SUBJECT) == drawn(SUBJECT)
    others = [
        drawn(SUBJECT),
        drawn(replace_subject(SUBJECT, model_hash=b"1" * 32)),
        drawn(replace_subject(SUBJECT, records=8)),
        drawn(SUBJECT, Plan("test", 2, (), PLAN.steps)),
        drawn(SUBJECT, seed=bytes(32)),
    ]
    assert len(set(others)) == len(others)


def test_array_bytes_tell_shapes_types_and_contents_apart() -> None:
    zeros = np.zeros(4, dtype=np.uint8)
    encodings = [
        array_bytes(zeros),
        array_bytes(zeros.reshape(2, 2)),
        array_bytes(zeros.view(np.uint32)),
        array_bytes(zeros[:2], zeros[2:]),
        array_bytes(zeros + np.uint8(1)),
    ]
    assert len(set(encodings)) == len(encodings)


def test_a_linked_run_holds_both_sides_to_the_plan(small: SmallTenant) -> None:
    def master() -> MasterProgram[bytes]:
        (first,) = yield (b"1",)
        (second,) = yield (b"2",)
        return first + second

    def secondary() -> SecondaryProgram[None]:
        (first,) = yield ()
        (second,) = yield (bytes([first[0] + 1]),)
        yield (bytes([second[0] + 1]),)

    assert run_linked(master(), session(small), secondary(), session(small, "su")) == b"23"


def test_a_session_shows_no_seed(small: SmallTenant) -> None:
    assert repr(session(small)) == "Session(test, step 0)"
