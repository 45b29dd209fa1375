"""A schedule: what is put on the topics, and what goes wrong when. Plain data, written out as it is read.

A failing schedule is printed as a `Schedule(...)`: put it into `test_regressions.py`.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from hypothesis import strategies as st

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy


class Trouble(StrEnum):
    """What goes wrong at a call."""

    # the process dies
    CRASH_BEFORE = "dies before the call"
    CRASH_AFTER = "dies after the call"
    LATE = "dies, and what it appended arrives later"
    # the transport
    LOST = "the append fails and did not happen"
    LOST_REPLY = "the append fails and did happen"
    TWICE = "the append happens twice"
    STALE = "the read does not show the newest messages"
    SLOW = "the call takes very long"
    TORN = "of what is appended only the first half is written"
    # more than one process
    TWIN = "another process begins with a copy of the disk while this one goes on"
    USURPED = "another process begins with a copy of the disk while this one hangs, and then goes on"
    # the disk
    DISK_CRASH_BEFORE = "dies before what it wrote is synced"
    DISK_CRASH_AFTER = "dies after what it wrote is synced"
    DISK_FULL = "the disk has no room"


ON_DISK = frozenset({Trouble.DISK_CRASH_BEFORE, Trouble.DISK_CRASH_AFTER, Trouble.DISK_FULL})
ON_APPEND = frozenset({Trouble.LATE, Trouble.LOST, Trouble.LOST_REPLY, Trouble.TWICE, Trouble.TORN})
ON_READ = frozenset({Trouble.STALE})


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong once.

    Attributes:
        role: Which unit.
        call: At its how manieth call, counted from 1 over all its lives, among those that the trouble
            can befall: appends, reads, both, or commits of its disk.
        trouble: What.
    """

    role: str
    call: int
    trouble: Trouble

    def __repr__(self) -> str:
        return f"Fault({self.role!r}, {self.call}, Trouble.{self.trouble.name})"


@dataclass(frozen=True, slots=True)
class Schedule:
    """One run.

    Attributes:
        seed: Decides how long calls and computations take.
        offers: Names of `offers.py`, in the order in which they are put on their topics.
        faults: What goes wrong.
        snapshot_entries: Journal entries between two snapshots of MU.
        first_contact: Whether the base transfers are still to be run.
        orderly: Whether each offer waits until the one before has its end in the journal.
        taught: Whether the tenant keeps a logistic regression too, which learns in sessions.
    """

    seed: int
    offers: tuple[str, ...]
    faults: tuple[Fault, ...] = ()
    snapshot_entries: int = 4
    first_contact: bool = False
    orderly: bool = False
    taught: bool = False


_CALLS = {
    # About as many as a run without faults makes.
    "append": 24,
    "read": 80,
    "any": 100,
    "disk": 16,
}


def kind_of_calls(trouble: Trouble) -> str:
    """Return which calls a trouble counts."""
    if trouble in ON_DISK:
        return "disk"
    if trouble in ON_APPEND:
        return "append"
    return "read" if trouble in ON_READ else "any"


def _fault(roles: tuple[str, ...]) -> "SearchStrategy[Fault]":
    def at(drawn: tuple[str, Trouble]) -> "SearchStrategy[Fault]":
        role, trouble = drawn
        # SU of a run without queries appends nothing, and MU writes more than SU.
        calls = _CALLS[kind_of_calls(trouble)]
        return st.integers(1, calls).map(lambda call: Fault(role, call, trouble))

    return st.tuples(st.sampled_from(roles), st.sampled_from(tuple(Trouble))).flatmap(at)


def schedules(
    offers: tuple[str, ...], *, at_most: int = 8, taught: bool = False
) -> "SearchStrategy[Schedule]":
    """Return schedules over offers of these names; where sessions are held SU is befallen as well."""

    def with_faults(names: tuple[str, ...]) -> "SearchStrategy[Schedule]":
        sessions = taught or any(name.startswith("query") for name in names)
        roles = ("mu", "su") if sessions else ("mu",)
        return st.builds(
            Schedule,
            seed=st.integers(0, (1 << 16) - 1),
            offers=st.just(names),
            faults=st.lists(_fault(roles), min_size=1, max_size=3).map(tuple),
            snapshot_entries=st.sampled_from((2, 5, 512)),
            taught=st.just(taught),
        )

    names = st.lists(st.sampled_from(offers), min_size=1, max_size=at_most).map(tuple)
    return names.flatmap(with_faults)
