"""One session as a unit sees it: its name, its place in the plan, its transcript, its coins.

Both units fold the same sections into the same transcript hash, and draw every coin, nonce
and salt under it (docs/protocols.md §8). Programs are generators: MU's yields the sections of
a request and is sent those of the reply, SU's the other way round; nothing here does I/O.
"""

import hashlib
from collections.abc import Generator
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from crypto.block_hash import BlockHash
from crypto.coins import Coins, Field, digest, frame
from crypto.errors import LocalProtocolError
from crypto.garbling import GarblingStreams, reply_salt
from crypto.ot_extension import synthetic_nonce
from roles.plan import Plan, Sections
from roles.tenant import PROTOCOL_VERSION, Tenant
from schemas.codec import encode
from schemas.rounds import Subject

Result = TypeVar("Result")
MasterProgram = Generator[Sections, Sections, Result]
"""MU's half: yields request sections, receives reply sections, returns its result."""
SecondaryProgram = Generator[Sections, Sections, Result]
"""SU's half: primed once, then receives request sections and yields reply sections."""


def session_name(tenant: Tenant, subject: Subject) -> bytes:
    """Return the session's name: one subject has one session per key epoch."""
    return digest("privml/session/1", tenant.name, tenant.key_epoch, tenant.digest, encode(subject))


class Session:
    """The running state that both halves of a session derive their coins from.

    Attributes:
        tenant: The tenant.
        subject: What the session is about.
        plan: Its steps.
        step: Number of the step in progress; 0 before the first request.
        transcript: Hash of all sections so far.
        at_request: The transcript just before the current request.
        at_reply: The transcript just after it: what the reply's hashes are keyed with.

    Security:
        The seed is the unit's epoch seed. A coin is bound to the unit, the place, the transcript
        and whatever the caller names as hidden by it.
    """

    def __init__(self, tenant: Tenant, unit: str, seed: bytes, subject: Subject, plan: Plan) -> None:
        self.tenant = tenant
        self.unit = unit
        self.subject = subject
        self.plan = plan
        self.name = session_name(tenant, subject)
        self.step = 0
        self.transcript = digest("privml/transcript/2", self.name, plan.digest)
        self.at_request = self.at_reply = self.transcript
        self._seed = seed
        self._drawn: set[tuple[int, str]] = set()

    def __repr__(self) -> str:
        return f"Session({self.plan.name}, step {self.step})"

    def absorb_request(self, sections: Sections) -> None:
        """Enter the next step: fold the request into the transcript."""
        self.step += 1
        self.at_request = self.transcript
        self.transcript = self._folded("request", sections)
        self.at_reply = self.transcript

    def absorb_reply(self, sections: Sections) -> None:
        """Fold the reply of the step in progress into the transcript."""
        self.transcript = self._folded("reply", sections)

    def _folded(self, kind: str, sections: Sections) -> bytes:
        # Megabytes a step: hashed one by one with SHA-256, for which processors have instructions.
        hashes = tuple(hashlib.sha256(section).digest() for section in sections)
        return digest("privml/transcript/2", self.transcript, self.step, kind, hashes)

    def coins(self, purpose: str, inputs: bytes = b"", hidden: bytes = b"") -> Coins:
        """Return the coins of one purpose at this place; each is drawn once.

        Args:
            purpose: What they are for; unique within a step.
            inputs: Exact bytes of the public inputs concerned.
            hidden: Exact bytes of every secret that these coins will hide.

        Raises:
            LocalProtocolError: The same purpose is drawn twice in one step.
        """
        return Coins.from_seed(
            self._seed,
            self._label(purpose),
            digest("privml/coins/transcript", self.transcript, inputs),
            digest("privml/coins/hidden", self._seed, hidden),
        )

    def nonce(self, purpose: str, choices: npt.NDArray[np.uint8], inputs: bytes = b"") -> bytes:
        """Return the synthetic nonce of an extension under these choices (§3.2)."""
        return synthetic_nonce(self._seed, self._label(purpose), choices, self.transcript, inputs)

    def salt(self, purpose: str, secret_inputs: bytes) -> bytes:
        """Return the 16-byte salt of a message that carries pads or gates (§3.3)."""
        return reply_salt(self._seed, self._label(purpose), self.transcript, secret_inputs)

    def request_hash(self, purpose: str, salt: bytes) -> BlockHash:
        """Return the hash of pads that travel with a request: keyed with what came before it."""
        before = self.transcript if self.unit == "mu" else self.at_request
        return BlockHash(purpose, salt, before)

    def reply_hash(self, purpose: str, salt: bytes) -> BlockHash:
        """Return the hash of pads that travel with a reply: keyed with the request as well."""
        return BlockHash(purpose, salt, self.at_reply)

    def garbling_streams(self, salt: bytes) -> GarblingStreams:
        """Return hash and public labels of a garbled reply."""
        return GarblingStreams(salt, self.at_reply)

    def _label(self, purpose: str) -> tuple[Field, ...]:
        if (self.step, purpose) in self._drawn:
            raise LocalProtocolError(f"'{purpose}' was already drawn in step {self.step} of {self.plan.name}")
        self._drawn.add((self.step, purpose))
        return (
            PROTOCOL_VERSION,
            self.plan.digest,
            self.unit,
            purpose,
            self.tenant.name,
            self.tenant.digest,
            self.tenant.key_epoch,
            self.name,
            self.step,
        )


def model_coins(seed: bytes, tenant: Tenant, plan: Plan, refresh: Subject) -> Coins:
    """Return SU's coins for its share of a naive-Bayes table: the one coin without a transcript.

    Security:
        Bound to the name of the refresh session, which fixes MU's masks as well, and not to the
        model alone: for a slot that a hostile owner made odd the table also depends on the mask's
        carry, and two refreshes of one model under one share would show MU that entry (§5).
    """
    label = (PROTOCOL_VERSION, plan.digest, "su", "table share", tenant.name, tenant.digest, tenant.key_epoch)
    return Coins.from_seed(seed, label, session_name(tenant, refresh))


def array_bytes(*arrays: npt.NDArray[np.generic]) -> bytes:
    """Return arrays as bytes that a coin or salt can be bound to: shape, type and content."""
    return frame(*((array.dtype.str, array.shape, np.ascontiguousarray(array).tobytes()) for array in arrays))


def run_linked(
    master: MasterProgram[Result],
    master_session: Session,
    secondary: SecondaryProgram[object],
    secondary_session: Session,
) -> Result:
    """Run both halves of a session in one process: the whole protocol on one screen.

    For tests, benchmarks and documentation; in production each half lives in its own process.
    """
    next(secondary)
    try:
        request = next(master)
        while True:
            master_session.absorb_request(request)
            secondary_session.plan.check_request(secondary_session.step + 1, request)
            secondary_session.absorb_request(request)
            reply = secondary.send(request)
            secondary_session.absorb_reply(reply)
            master_session.plan.check_reply(master_session.step, reply)
            master_session.absorb_reply(reply)
            request = master.send(reply)
    except StopIteration as finished:
        result: Result = finished.value
        return result
