"""Two sessions at one place with their secrets: for tests of a single building block."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tenants import SmallTenant

from crypto.ot_extension import ReceivedRows, ReceiverRows, SenderRows, SentRows
from roles.building_blocks.transfers import choose, chosen_rows
from roles.plan import Plan, Sections
from roles.session import Session
from schemas.rounds import Subject

PLAN = Plan("block", 1, (), ())


@dataclass(frozen=True)
class Pair:
    """MU's and SU's sessions about one subject."""

    small: SmallTenant
    mu: Session
    su: Session

    def request(self, sections: Sections) -> None:
        """Let both units fold a request."""
        self.mu.absorb_request(sections)
        self.su.absorb_request(sections)

    def choices_of_mu(self, bits: npt.NDArray[np.uint8]) -> tuple[ReceiverRows, SenderRows]:
        """Extend MU's choices in a request; MU's rows and SU's."""
        chosen = choose(self.mu, self.small.master, "choices", bits)
        self.request(chosen.sections)
        return chosen.rows, chosen_rows(self.small.secondary, chosen.sections, len(bits))

    def rows_of_mu(self, bits: npt.NDArray[np.uint8]) -> tuple[ReceivedRows, SentRows]:
        """Extend MU's choices, and take all rows."""
        received, sent = self.choices_of_mu(bits)
        return received.take(len(bits)), sent.take(len(bits))

    def rows_of_su(self, bits: npt.NDArray[np.uint8]) -> tuple[ReceivedRows, SentRows]:
        """Extend SU's choices, and take all rows; SU's rows and MU's."""
        chosen = choose(self.su, self.small.secondary, "choices", bits)
        sent = chosen_rows(self.small.master, chosen.sections, len(bits))
        return chosen.rows.take(len(bits)), sent.take(len(bits))


def pair(small: SmallTenant, name: int | str = 0) -> Pair:
    """Return two sessions at their beginning; another name is another session."""
    subject = Subject("test", str(name))
    return Pair(
        small,
        Session(small.tenant, "mu", small.master.seed, subject, PLAN),
        Session(small.tenant, "su", small.secondary.seed, subject, PLAN),
    )
