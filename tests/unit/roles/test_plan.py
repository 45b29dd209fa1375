"""A plan checks every field's size, and its digest changes with everything in it."""

from dataclasses import replace

import pytest

from roles.plan import Plan, PlanViolationError, Section, Step

STEP = Step("first", ("open",), (Section("a", 3), Section("b", 0)), (Section("c", 2),))
PLAN = Plan("test", 1, (7, b"circuit"), (STEP, Step("second", (), (), (Section("d", 1),))))


def test_messages_of_the_planned_sizes_pass() -> None:
    PLAN.check_request(1, (b"123", b""))
    PLAN.check_reply(1, (b"12",))
    PLAN.check_request(2, ())
    PLAN.check_reply(2, (b"1",))


@pytest.mark.parametrize(
    "sections", [(), (b"123",), (b"12", b""), (b"1234", b""), (b"123", b"", b""), (b"", b"123")]
)
def test_other_requests_are_refused(sections: tuple[bytes, ...]) -> None:
    with pytest.raises(PlanViolationError):
        PLAN.check_request(1, sections)


def test_other_replies_are_refused() -> None:
    with pytest.raises(PlanViolationError):
        PLAN.check_reply(1, (b"123",))


@pytest.mark.parametrize("step", [-1, 0, 3])
def test_there_are_no_other_steps(step: int) -> None:
    with pytest.raises(PlanViolationError, match="no step"):
        PLAN.check_request(step, ())
    with pytest.raises(PlanViolationError, match="no step"):
        PLAN.check_reply(step, ())


def test_the_digest_tells_every_two_plans_apart() -> None:
    plans = [
        PLAN,
        replace(PLAN, name="other"),
        replace(PLAN, version=2),
        replace(PLAN, parameters=(8, b"circuit")),
        replace(PLAN, steps=PLAN.steps[:1]),
        replace(PLAN, steps=(PLAN.steps[1], PLAN.steps[0])),
        replace(PLAN, steps=(replace(STEP, name="third"), PLAN.steps[1])),
        replace(PLAN, steps=(replace(STEP, blocks=()), PLAN.steps[1])),
        replace(PLAN, steps=(replace(STEP, request=STEP.reply, reply=STEP.request), PLAN.steps[1])),
        replace(PLAN, steps=(replace(STEP, reply=(Section("c", 3),)), PLAN.steps[1])),
        replace(PLAN, steps=(replace(STEP, reply=(Section("e", 2),)), PLAN.steps[1])),
    ]
    assert len({plan.digest for plan in plans}) == len(plans)
    assert Plan(PLAN.name, PLAN.version, PLAN.parameters, PLAN.steps).digest == PLAN.digest


def test_bytes_exchanged_are_those_of_all_fields() -> None:
    assert STEP.bytes_exchanged == 5
