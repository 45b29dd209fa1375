"""What a session costs, read off its plan: every counted operation follows from a field's size.

A masked ciphertext is a power at either unit, a sealed one two at either, 32 bytes of tables are a
gate at either, and whatever is none of the kinds below corrects transfers (docs/protocols.md §3).
"""

from dataclasses import dataclass

from crypto.bit_matrix import COLUMNS
from crypto.counting import Tally
from crypto.garbling_engines import TABLE_BYTES
from crypto.parameters import Parameters
from roles.plan import Plan, Section

SILENT = frozenset({"t2", "salt", "nonce", "colours", "splits", "valid", "acknowledgement"})
"""Fields that cost their sender nothing that is counted."""
BASE_PLAN = "base_transfers"


@dataclass(frozen=True, slots=True)
class SessionCost:
    """Counted operations and messages of one run of a plan.

    Attributes:
        master: What MU counts.
        secondary: What SU counts.
        layers: Layers of gates, garbled by SU and evaluated by MU.
        requests: Bytes of the fields of every request.
        replies: Bytes of the fields of every reply.
    """

    master: Tally
    secondary: Tally
    layers: int
    requests: tuple[int, ...]
    replies: tuple[int, ...]

    @property
    def rounds(self) -> int:
        """Round trips."""
        return len(self.requests)


def session_cost(plan: Plan, parameters: Parameters, *, under_client_key: bool = False) -> SessionCost:
    """Return what a session costs.

    Args:
        plan: Of the session.
        parameters: N and g; fix the size of a ciphertext.
        under_client_key: What is sealed is sealed for a client: no process keeps a table of its key.

    Cost:
        Powers are told apart as in processes that keep tables: MU of g and h, SU of g.
    """
    master, secondary = Tally(), Tally()
    layers = 0
    for step in plan.steps:
        for is_request, sections in ((True, step.request), (False, step.reply)):
            sender, receiver = (master, secondary) if is_request else (secondary, master)
            for section in sections:
                layers += section.layers
                if plan.name == BASE_PLAN:
                    _base_transfers(section, sender, receiver)
                else:
                    _field(section, sender, receiver, parameters, by_table=not under_client_key)
    requests, replies = (
        tuple(sum(section.size for section in sections) for sections in messages)
        for messages in ([step.request for step in plan.steps], [step.reply for step in plan.steps])
    )
    return SessionCost(master, secondary, layers, requests, replies)


def _field(
    section: Section, sender: Tally, receiver: Tally, parameters: Parameters, *, by_table: bool
) -> None:
    words = section.name.replace(".", " ").split()
    if "masked" in words:
        ciphertexts = section.size // parameters.component_bytes
        sender.powers_short += ciphertexts
        receiver.powers_short += ciphertexts
    elif "sealed" in words:
        # SU seals; MU, who gets it, adds its share and re-randomises.
        ciphertexts = section.size // parameters.ciphertext_bytes
        sender.powers_short += ciphertexts
        sender.fixed_base += ciphertexts
        receiver.fixed_base += 2 * ciphertexts if by_table else ciphertexts
        receiver.powers_short += 0 if by_table else ciphertexts
    elif "tables" in words:
        gates = section.size // TABLE_BYTES
        sender.ands += gates
        receiver.ands += gates
    elif "extension" in words:
        sender.cots += section.transfers
        receiver.cots += section.transfers
    elif not SILENT & set(words):
        sender.cot_payload_bytes += section.size


def _base_transfers(section: Section, sender: Tally, receiver: Tally) -> None:
    if section.name == "key":
        sender.fixed_base += 2
    elif section.name == "choices":
        # Encrypted under a key of this exchange alone; the answer is a product and a fresh encryption.
        sender.fixed_base += COLUMNS
        sender.powers_short += COLUMNS
        receiver.fixed_base += COLUMNS
        receiver.powers_short += 3 * COLUMNS
        for unit in (sender, receiver):
            unit.base_ots += COLUMNS
    elif section.name == "seeds":
        receiver.powers_short += COLUMNS
