"""The secondary unit: answers MU's rounds by the public plan, and nothing else.

Sans-IO. SU's state of a session is the fold of its requests: a restarted SU that is fed the
same requests computes the same replies. A request that is not the next step of the plan is
refused before any exponentiation; the same request again gets the same reply; another one
under the same step is refused (docs/security.md, rule 3).
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from crypto.errors import CryptoError, LocalProtocolError, RemoteProtocolError
from crypto.strong_key import RootShare
from roles.building_blocks.base_transfers import BASE, TransferBases, base_plan, base_secondary, base_subject
from roles.classifiers.learner import QUERY, REFRESH, SecondaryCall
from roles.head_watch import HeadWatch
from roles.learners import AnyLearner, learners_of
from roles.plan import Plan, PlanViolationError
from roles.refusal import Refusal, refusal_reason
from roles.rekeying import REKEY, secondary_rekey
from roles.session import SecondaryProgram, Session, session_name
from roles.tenant import Tenant, UnknownModelError
from roles.unit_secrets import UnitSecrets
from schemas.queries import Query
from schemas.reasons import ReasonCode
from schemas.rounds import Reply, Request, Subject

MAX_OPEN_SESSIONS = 64
MAX_OPEN_BYTES = 256 << 20
"""Replies of open sessions kept, beside the few that MU may be in the middle of."""
LIVE_SESSIONS = 8
"""Sessions that MU has under way at once, at most, besides one lesson of every model."""
MAX_FINISHED_SESSIONS = 64
MAX_FINISHED_BYTES = 64 << 20
"""Replies of finished sessions kept for repetition; a forgotten session starts from its first step."""


@dataclass(slots=True)
class _Running:
    """A session in progress or just finished, with what it answered so far, by step."""

    session: Session
    program: SecondaryProgram[Any]
    replies: list[Reply] = field(default_factory=list, repr=False)
    reply_bytes: int = 0

    def add(self, reply: Reply) -> None:
        """Keep a reply, to give it again."""
        self.replies.append(reply)
        self.reply_bytes += sum(map(len, reply.sections))


@dataclass(slots=True)
class SecondaryUnit:
    """SU's sessions.

    Attributes:
        tenant: Public facts.
        theta: θ_S.
        seed: Epoch seed.
        delta: SU's choice string, which offsets all labels.
        bases: Its halves of the base transfers, once they are done.
        store_bases: Called with new bases before the reply that ends the base session.
        pool: Threads for the powers.
        strong_share: Its share of the strong key, where owners have keys of their own.
        learners: By the names of their models.
        heads: What MU has signed about its models; whoever reads them offers them here.
    """

    tenant: Tenant
    theta: int = field(repr=False)
    seed: bytes = field(repr=False)
    delta: bytes = field(repr=False)
    bases: TransferBases | None = field(repr=False)
    store_bases: Callable[[TransferBases], None] = field(repr=False)
    pool: ThreadPoolExecutor | None = field(default=None, repr=False)
    strong_share: RootShare | None = field(default=None, repr=False)
    learners: dict[str, AnyLearner] = field(init=False, repr=False)
    heads: HeadWatch = field(init=False, repr=False)
    _open: OrderedDict[bytes, _Running] = field(default_factory=OrderedDict, repr=False)
    _finished: OrderedDict[bytes, _Running] = field(default_factory=OrderedDict, repr=False)

    def __post_init__(self) -> None:
        self.learners = learners_of(self.tenant)
        self.heads = HeadWatch(self.tenant)

    def answer(self, request: Request, body: bytes, query: Query | None) -> Reply:
        """Answer one request.

        Args:
            request: Its envelope was verified to be MU's.
            body: Its exact bytes.
            query: For query sessions, SU's own copy of the client's signed message.

        Returns:
            The reply; one with a reason code and no fields where the request is refused.

        Cost:
            The plan's.
        """
        request_hash = hashlib.sha256(body).digest()
        try:
            return self._answer(request, request_hash, query)
        except (CryptoError, RemoteProtocolError, UnknownModelError) as error:
            return Reply(request.session, request.step, request_hash, refusal_reason(error), ())

    def is_open(self, session: bytes) -> bool:
        """Return whether the session has steps to come."""
        return session in self._open

    def plan_of(self, subject: Subject, query: Query | None) -> Plan:
        """Return the plan of a session, whether or not it may be run now.

        Args:
            subject: Of the session.
            query: For query sessions, SU's own copy of the client's signed message.

        Raises:
            PlanViolationError: There is no such session.
            UnknownModelError: The tenant has no such model.
        """
        if subject.purpose == BASE:
            return base_plan(self.tenant)
        return self._call(subject, query, now=False).plan

    def _answer(self, request: Request, request_hash: bytes, query: Query | None) -> Reply:
        if request.session != session_name(self.tenant, request.subject):
            raise PlanViolationError("the session is not named after its subject")
        running = self._open.get(request.session) or self._finished.get(request.session)
        if running is None:
            running = self._begin(request, query)
        elif request.session in self._open:
            self._open.move_to_end(request.session)
        if 1 <= request.step <= len(running.replies):
            given = running.replies[request.step - 1]
            if request_hash != given.request_hash:
                raise Refusal(ReasonCode.CONFLICTING_REQUEST)
            return given
        session = running.session
        if request.plan != session.plan.digest or request.step != session.step + 1:
            raise PlanViolationError("not the next step of the plan")
        session.plan.check_request(request.step, request.sections)
        self._open[request.session] = running
        try:
            session.absorb_request(request.sections)
            sections = running.program.send(request.sections)
        except (CryptoError, RemoteProtocolError):
            # The program cannot go on; the same requests would end the same way.
            del self._open[request.session]
            raise
        session.plan.check_reply(request.step, sections)
        session.absorb_reply(sections)
        reply = Reply(request.session, request.step, request_hash, "", sections)
        running.add(reply)
        if session.step == len(session.plan.steps):
            self._finish(request.session, running)
        self._forget_open()
        return reply

    def _begin(self, request: Request, query: Query | None) -> _Running:
        if request.step != 1:
            raise Refusal(ReasonCode.PLAN_VIOLATION, "the session is not open here")
        session, program = self._program(request.subject, query)
        next(program)
        return _Running(session, program)

    def _forget_open(self) -> None:
        """Forget the open sessions that MU asked about longest ago.

        MU has given them up, or begins them anew: the same requests get the same replies then.
        """
        live = LIVE_SESSIONS + len(self.learners)
        while len(self._open) > MAX_OPEN_SESSIONS or (
            len(self._open) > live
            and sum(running.reply_bytes for running in self._open.values()) > MAX_OPEN_BYTES
        ):
            self._open.popitem(last=False)

    def _finish(self, name: bytes, running: _Running) -> None:
        try:
            running.program.send(())
        except StopIteration as finished:
            if isinstance(finished.value, TransferBases):
                self.bases = finished.value
                self.store_bases(finished.value)
        else:
            raise LocalProtocolError("a program goes on after its plan")
        self._open.pop(name, None)
        self._finished[name] = running
        while len(self._finished) > MAX_FINISHED_SESSIONS or (
            len(self._finished) > 1
            and sum(kept.reply_bytes for kept in self._finished.values()) > MAX_FINISHED_BYTES
        ):
            self._finished.popitem(last=False)

    def _program(self, subject: Subject, query: Query | None) -> tuple[Session, SecondaryProgram[Any]]:
        if subject.purpose == BASE:
            if subject != base_subject():
                raise PlanViolationError("the base session has no parameters")
            session = self._session(subject, base_plan(self.tenant))
            return session, base_secondary(session, self.delta, self.pool)
        call = self._call(subject, query, now=True)
        session = self._session(subject, call.plan)
        return session, call.program(session, self._secrets(), self.pool)

    def _call(self, subject: Subject, query: Query | None, *, now: bool) -> SecondaryCall:
        if subject.purpose == REKEY:
            return secondary_rekey(self.tenant, subject)
        learner = self.learners.get(subject.model_id)
        if learner is None:
            raise UnknownModelError(f"no model '{subject.model_id}' in this tenant")
        client_key = None
        if subject.purpose == QUERY:
            query = self._checked_query(subject, query)
            client_key = self.tenant.roster.client_keys[subject.client]
        if now and subject.purpose in {QUERY, REFRESH}:
            self.heads.check(subject, version=subject.purpose == QUERY)
        return learner.secondary(subject, query, client_key)

    def _checked_query(self, subject: Subject, query: Query | None) -> Query:
        """Hold a session against the query that it is said to be about."""
        if query is None or query.rows != subject.rows or query.model_id != subject.model_id:
            raise PlanViolationError("the request does not match the client's query")
        if not 1 <= query.rows <= self.tenant.configuration.limits.max_query_rows:
            raise Refusal(ReasonCode.TOO_MANY_ROWS)
        if subject.client not in self.tenant.roster.client_keys:
            raise PlanViolationError("the client is not enrolled")
        return query

    def _session(self, subject: Subject, plan: Plan) -> Session:
        return Session(self.tenant, "su", self.seed, subject, plan)

    def _secrets(self) -> UnitSecrets:
        if self.bases is None:
            raise PlanViolationError("the base transfers come first")
        ends = self.bases.receiver, self.bases.sender
        return UnitSecrets("su", self.theta, self.seed, *ends, self.strong_share)
