"""A whole tenant in one process: MU, SU, owners and clients as services over the memory transport.

Services are started, killed and started again as often as a test likes; what survives is what
would survive on a host: the topics, the keystores' content, SU's ledger and the owners' outboxes.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import msgpack
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from doubles import seeded_coins
from msgspec import structs
from round_trips import random_records
from tenants import SmallTenant, exchange_secret, signing_key, small_tenant

from crypto.dtpkc import WeakPrivateKey
from crypto.key_generation import generate_weak_key
from crypto.key_proof import prove_key
from crypto.share_sealing import encode_share
from crypto.unit_channel import UnitChannel, exchange_public_key
from pipeline.client_service import Answered as Labels
from pipeline.client_service import ClientService
from pipeline.journal_fold import fold_journal
from pipeline.journal_index_file import JournalIndexFile
from pipeline.mailbox import Published, Publisher, sequence_of
from pipeline.master_service import MasterService
from pipeline.memory_transport import MemoryBroker, MemoryTransport
from pipeline.meter import Meter
from pipeline.outbox import Outbox
from pipeline.owner_service import OwnerService, SentChunk
from pipeline.rounds import place_of_round
from pipeline.secondary_service import SecondaryService
from pipeline.session_ledger import SessionLedger
from pipeline.shard import WHOLE, Shard
from pipeline.succession import last_word
from pipeline.transport import Message, Position, Transport
from roles.classifiers.naive_bayes_table import TableShape
from roles.classifiers.naive_bayes_twin import NaiveBayesTwin
from roles.client import make_query, read_answer
from roles.encoding import EncodedRecords, count_table
from roles.enrolment import next_version, renewed_version
from roles.learners import AnyLearner, learner_of
from roles.master_unit import MasterUnit
from roles.model_state import ModelState
from roles.secondary_epochs import SecondaryEpochs
from roles.tenant import Tenant, configuration_digest, service_key_context
from roles.unit_keys import (
    UnitKeys,
    draw_key_epoch,
    draw_party,
    keys_in,
    secret_name,
    strong_share_of,
    unit_channel,
    unit_keys,
)
from schemas.codec import decode, encode
from schemas.configuration import Configuration, Limits, Party
from schemas.data_schema import DataSchema
from schemas.envelope import VerifyingParty
from schemas.journal import DeadLetter, JournalEntry, Receipt
from schemas.models import ModelSpec
from schemas.parts import seal_parts
from schemas.queries import Answer, Query
from schemas.snapshots import Snapshot
from schemas.topics import Role, TopicName, topic_name, topic_specs

_NAMES = {"authority": "authority", "mu": "mu", "su": "su", "owner": "a", "client": "c"}
MODEL = "m"
LEDGER = "su.ledger"
INDEX = "mu.index"
PATIENCE = 30.0
_LOOK_SECONDS = 0.005


class CrashError(Exception):
    """Stands for a process that dies at this very moment."""


class MortalTransport(MemoryTransport):
    """A handle whose process dies at a chosen append: nothing that it calls afterwards happens.

    Attributes:
        appends: How many appends were called, by topic.
    """

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__(broker)
        self.appends: dict[str, int] = {}
        self._fatal: tuple[TopicName | None, int, bool] | None = None
        self._dead = False

    def die(self, topic: TopicName | None, call: int, *, written: bool = False) -> None:
        """Die at a call of append, counted from 1, on a topic or on any; before it or just after."""
        self._fatal = (topic, call, written)

    async def append(
        self,
        topic: str,
        key: bytes | None,
        value: bytes,
        headers: Mapping[str, bytes] | None = None,
        partition: int | None = None,
    ) -> Position:
        """Append, unless dead or dying."""
        if self._dead:
            raise CrashError
        name = topic.split(".", 1)[1]
        self.appends[name] = self.appends.get(name, 0) + 1
        if self._fatal is not None:
            chosen, call, written = self._fatal
            count = sum(self.appends.values()) if chosen is None else self.appends.get(chosen, 0)
            if count >= call and chosen in (None, name):
                self._dead = True
                if written:
                    await super().append(topic, key, value, headers, partition)
                raise CrashError
        return await super().append(topic, key, value, headers, partition)


@dataclass(frozen=True, slots=True)
class SplittingPublisher(Publisher):
    """Sends everything in parts of at most `limit` bytes."""

    limit: int

    def seal(self, topic: TopicName, kind: str, sequence: int, body: bytes) -> list[bytes]:
        """Return more parts than the real limit asks for."""
        return seal_parts(
            tenant=self.tenant,
            topic=topic,
            sender=self.sender,
            key_epoch=self.key_epoch,
            sequence=sequence,
            kind=kind,
            body=body,
            signing_key=self.signing_key,
            limit=self.limit,
        )


@dataclass(slots=True)
class UnitMemory:
    """What a unit's keystore holds; survives its processes."""

    role: str
    secrets: dict[str, bytes] = field(repr=False)
    saves: int = 0

    def open(self, tenant: Tenant | None = None) -> UnitKeys:
        """Return the keys as a starting process reads them; with a share where the tenant has owner keys."""

        def save(changed: Mapping[str, bytes]) -> None:
            self.saves += 1
            self.secrets.update(changed)

        secrets = dict(self.secrets)
        share = None if tenant is None else strong_share_of(tenant, self.role, secrets)
        return unit_keys(self.role, secrets, save, lambda: dict(self.secrets), share)

    def rekey(self, key_epoch: int) -> bytes:
        """Draw the secrets of a later key epoch; return the exchange key of it."""
        drawn = draw_key_epoch(self.role, seeded_coins(f"{self.role} in key epoch {key_epoch}"))
        self.secrets |= {secret_name(name, key_epoch): value for name, value in drawn.items()}
        return exchange_public_key(drawn["exchange"])


class House:
    """One tenant: owners ``a`` and ``b``, clients ``c`` and ``d``, and what its hosts keep."""

    def __init__(
        self,
        folder: Path,
        *,
        limits: Limits | None = None,
        schema: DataSchema | None = None,
        part_limit: int | None = None,
        models: tuple[ModelSpec, ...] | None = None,
        name: str = "small",
        owner_keys: bool = False,
    ) -> None:
        self.folder = folder
        self.part_limit = part_limit
        self.small: SmallTenant = small_tenant(
            schema, limits=limits, models=models, name=name, owner_keys=owner_keys
        )
        self.broker = MemoryBroker()
        self.client_keys: dict[str, WeakPrivateKey] = {
            "c": self.small.client_key,
            "d": generate_weak_key(self.small.tenant.parameters, seeded_coins("key of client d")),
        }
        self.owner_keys: dict[str, WeakPrivateKey] = {}
        if self.small.owner_key is not None:
            drawn = generate_weak_key(self.small.tenant.parameters, seeded_coins("key of owner b"))
            self.owner_keys = {"a": self.small.owner_key, "b": drawn}
        self.signing: dict[str, Ed25519PrivateKey] = {
            **{name: self.small.signing[role] for role, name in _NAMES.items()},
            "b": signing_key("owner b"),
            "d": signing_key("client d"),
        }
        parties = (self._party("b", Role.OWNER), self._party("d", Role.CLIENT))
        configuration = self.small.tenant.configuration
        self.tenant: Tenant = replace(
            self.small.tenant,
            configuration=structs.replace(configuration, parties=(*configuration.parties, *parties)),
            verifying={
                **self.small.tenant.verifying,
                "b": VerifyingParty("b", Role.OWNER, self.signing["b"].public_key(), 1),
                "d": VerifyingParty("d", Role.CLIENT, self.signing["d"].public_key(), 1),
            },
            client_keys={name: key.public for name, key in self.client_keys.items()},
            owner_keys={name: key.public for name, key in self.owner_keys.items()},
        )
        self.units = {
            secrets.role: UnitMemory(
                secrets.role,
                {
                    "theta": secrets.theta.to_bytes(64, "big"),
                    "seed": secrets.seed,
                    "delta": secrets.sender.delta,
                    "exchange": exchange_secret(secrets.role),
                    **(
                        {}
                        if secrets.strong_share is None
                        else {"strong_share": encode_share(secrets.strong_share)}
                    ),
                },
            )
            for secrets in (self.small.master, self.small.secondary)
        }
        self.configurations: list[Configuration] = [self.tenant.configuration]
        self.meters = {"mu": Meter(), "su": Meter()}
        self.key_epoch = 1

    def _party(self, name: str, role: Role) -> Party:
        verify = self.signing[name].public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        public, proof = b"", b""
        key = {**self.client_keys, **self.owner_keys}.get(name)
        if key is not None:
            parameters = self.small.tenant.parameters
            public = key.public.h.to_bytes(parameters.component_bytes, "big")
            context = service_key_context(self.small.tenant.name, role, name)
            proof = prove_key(key, context, seeded_coins(f"proof {name}")).encode(parameters)
        return Party(name, role.value, verify, public, proof)

    async def __aenter__(self) -> Self:
        await self.transport().create_topics(topic_specs(self.tenant.name))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.transport().close()

    # --- the parties' processes

    def transport(self) -> MortalTransport:
        """Return a handle for one process."""
        return MortalTransport(self.broker)

    def publisher(self, name: str, transport: Transport | None = None) -> Publisher:
        """Return what signs and appends as a party."""
        handle = transport or self.transport()
        # What units and the authority sign names the first key epoch for ever.
        key_epoch = 1 if name in {"mu", "su", "authority"} else self.key_epoch
        signs = handle, self.tenant.name, name, key_epoch, self.signing[name]
        return Publisher(*signs) if self.part_limit is None else SplittingPublisher(*signs, self.part_limit)

    @contextlib.asynccontextmanager
    async def mu(self, transport: Transport | None = None) -> AsyncIterator[MasterService]:
        """Run MU around the block: recover, work, and be stopped."""
        handle = transport or self.transport()
        with ThreadPoolExecutor(1) as pool:
            keys = self.units["mu"].open(self.tenant)
            publisher = self.publisher("mu", handle)
            with contextlib.closing(self.index()) as index:
                tenant = replace(self.tenant)
                service = MasterService(handle, tenant, keys, publisher, index, self.meters["mu"], pool)
                await service.recover()
                async with _running(service):
                    yield service

    @contextlib.asynccontextmanager
    async def su(
        self, transport: Transport | None = None, ledger: SessionLedger | None = None, shard: Shard = WHOLE
    ) -> AsyncIterator[SecondaryService]:
        """Run SU, or a shard of it, around the block."""
        handle = transport or self.transport()
        with contextlib.closing(ledger or self.ledger(shard)) as opened, ThreadPoolExecutor(1) as pool:
            tenant = replace(self.tenant)
            epochs = SecondaryEpochs(tenant, self.units["su"].open(self.tenant), pool)
            publisher = self.publisher("su", handle)
            service = SecondaryService(handle, tenant, epochs, publisher, opened, self.meters["su"], shard)
            async with _running(service):
                yield service

    @contextlib.asynccontextmanager
    async def units_running(self) -> AsyncIterator[MasterService]:
        """Run both units around the block."""
        async with self.su(), self.mu() as master:
            yield master

    @property
    def channel(self) -> UnitChannel:
        """The channel between the units, as either of them has it."""
        return unit_channel(self.tenant, "mu", self.units["mu"].open())

    def channel_in(self, key_epoch: int) -> UnitChannel:
        """Return the channel of a key epoch, whether or not it is in force."""
        began = next(one for one in self.configurations if one.key_epoch == key_epoch)
        tenant = self.tenant.in_key_epoch(began)
        return unit_channel(tenant, "mu", keys_in(tenant, "mu", self.units["mu"].open()))

    def round_body(self, topic: TopicName, partition: int, wire: bytes) -> bytes:
        """Return the body of a round, unsealed."""
        return self.channel.open(wire_body(wire), *place_of_round(topic, partition))

    def sealed_round(self, topic: TopicName, partition: int, body: bytes) -> bytes:
        """Seal the body of a round as a unit does."""
        return self.channel.seal(body, *place_of_round(topic, partition))

    def ledger(self, shard: Shard = WHOLE) -> SessionLedger:
        """Return the ledger of SU as a starting process on a host of its own opens it."""
        return SessionLedger(shard.ledger(self.folder))

    def index(self) -> JournalIndexFile:
        """Return MU's index as a starting process opens it."""
        return JournalIndexFile(self.folder / INDEX)

    def owner(self, name: str = "a", publisher: Publisher | None = None) -> OwnerService:
        """Return an owner as a starting command has it."""
        sender = publisher or self.publisher(name)
        return OwnerService(sender.transport, self.sending_tenant(), sender, self.outbox(name), Meter())

    def outbox(self, name: str) -> Outbox:
        """Return an owner's outbox."""
        return Outbox(self.folder / f"outbox-{name}")

    async def client(self, name: str = "c", publisher: Publisher | None = None) -> ClientService:
        """Return a client that listens for its answers."""
        sender = publisher or self.publisher(name)
        key = self.client_keys[name]
        tenant = self.sending_tenant()
        service = ClientService(sender.transport, tenant, key, sender, Meter(), key_epoch=self.look_up)
        await service.open(MODEL)
        return service

    def sending_tenant(self) -> Tenant:
        """Return the tenant as owners and clients have it."""
        configuration = structs.replace(self.tenant.configuration, key_epoch=self.key_epoch)
        return replace(self.tenant, configuration=configuration, first_key_epoch=1)

    async def look_up(self) -> int:
        """Return the key epoch in force by MU's word, and go by it."""
        told = await last_word(self.transport(), self.tenant)
        versions = {configuration_digest(one): one.key_epoch for one in self.configurations}
        self.key_epoch = max((versions[one.configuration] for one in told), default=1)
        return self.key_epoch

    # --- what they do

    async def publish(self, owner: str, *batches: EncodedRecords) -> list[SentChunk]:
        """Publish chunks and wait for MU's receipts about accepting them, which it must."""
        service = self.owner(owner)
        start = await service.receipts_end()
        sent = [chunk async for chunk in service.publish(batches)]
        wanted = {chunk.chunk_id for chunk in sent}
        receipts = [receipt async for receipt in service.receipts(wanted, start, PATIENCE)]
        assert {receipt.reason for receipt in receipts} <= {""}
        return sent

    async def ask(self, rows: EncodedRecords, client: str = "c", model_id: str = MODEL) -> list[int]:
        """Ask one query and return its labels."""
        return list((await self.ask_all(rows, client, model_id)).labels)

    async def ask_all(
        self, rows: EncodedRecords, client: str = "c", model_id: str = MODEL, *, scores: bool = False
    ) -> Labels:
        """Ask one query and return all of what the client gets."""
        service = await self.client(client)
        return await service.ask(self.learner(model_id), rows, PATIENCE, scores=scores)

    async def put_query(self, rows: EncodedRecords, client: str = "c", seed: int = 0) -> Query:
        """Put a query on its topic without waiting for its answer."""
        coins = seeded_coins(f"query {client} {seed}")
        query = make_query(self.learner(), client, rows, coins, key_epoch=self.key_epoch)
        await self.put(client, TopicName.QUERIES, "query", encode(query))
        return query

    async def put(self, sender: str, topic: TopicName, kind: str, body: bytes) -> Published:
        """Put a signed body on a topic."""
        publisher = self.publisher(sender)
        return await publisher.publish(topic, kind, sequence_of(body), body, key=sender.encode())

    def labels(self, query: Query, client: str = "c") -> list[int]:
        """Open the one answer on the topic, which must be to that query."""
        (answer,) = self.answers()
        return list(read_answer(self.learner(), self.client_keys[client], query, answer).labels)

    # --- who takes part

    def newcomer(self, name: str, role: Role) -> Party:
        """Draw the keys of an owner or a client; return what the authority is handed."""
        tenant, coins = self.tenant, seeded_coins(f"newcomer {name}")
        drawn = tenant.parameters, tenant.name, role.value, name, coins
        secrets, party = draw_party(*drawn, owner_keys=tenant.has_owner_keys)
        self.signing[name] = Ed25519PrivateKey.from_private_bytes(secrets["signing_key"])
        if role is Role.CLIENT:
            theta = int.from_bytes(secrets["theta"], "big")
            self.client_keys[name] = WeakPrivateKey.from_theta(tenant.parameters, theta)
        return party

    async def configure(self, *newcomers: Party, revoked: Sequence[str] = ()) -> Configuration:
        """Publish the next version of the configuration, as the authority does."""
        if not self.messages(TopicName.CONFIG):
            await self.put_configuration(self.configurations[0])
        version = next_version(self.configurations[-1], newcomers, revoked)
        self.configurations.append(version)
        await self.put_configuration(version)
        return version

    async def renew(self) -> Configuration:
        """Draw the units' secrets of the next key epoch, and publish the version with which it begins."""
        if not self.messages(TopicName.CONFIG):
            await self.put_configuration(self.configurations[0])
        version = self.renewed()
        self.configurations.append(version)
        await self.put_configuration(version)
        return version

    def renewed(self) -> Configuration:
        """Return the version with which the next key epoch begins, and draw the units' secrets of it."""
        before = self.configurations[-1]
        units = [
            structs.replace(party, exchange_key=self.units[party.role].rekey(before.key_epoch + 1))
            for party in before.parties
            if party.role in self.units
        ]
        return renewed_version(before, units)

    async def put_configuration(self, version: Configuration, sender: str = "authority") -> None:
        """Put a configuration on its topic, signed by anybody."""
        publisher = self.publisher(sender)
        key = b"configuration/%d" % version.version
        await publisher.publish(TopicName.CONFIG, "configuration", version.version, encode(version), key=key)

    # --- what they know

    def records(self, size: int, seed: int | str) -> EncodedRecords:
        """Return random records, the same for the same seed."""
        return random_records(self.small, size, seed)

    def learner(self, model_id: str = MODEL) -> AnyLearner:
        """Return the learner of a model."""
        return learner_of(self.tenant, self.tenant.model(model_id))

    def twin(self, batches: Iterable[EncodedRecords]) -> NaiveBayesTwin:
        """Return the model of these records in the clear."""
        schema = self.tenant.schema
        width = TableShape(self.tenant, 256, 1).score_width
        twin = NaiveBayesTwin.empty(schema.attribute_sizes, schema.class_count, width)
        for batch in batches:
            twin = twin.learn(count_table(schema, batch))
        return twin

    def messages(self, topic: TopicName, partition: int = 0) -> list[Message]:
        """Return what lies on a topic."""
        return self.broker.partition(topic_name(self.tenant.name, topic), partition).messages

    def answers(self) -> list[Answer]:
        """Return every answer given."""
        return [decode(Answer, wire_body(message.value)) for message in self.messages(TopicName.ANSWERS)]

    def receipts(self) -> list[Receipt]:
        """Return every receipt given."""
        return [decode(Receipt, wire_body(message.value)) for message in self.messages(TopicName.RECEIPTS)]

    def dead_letters(self) -> list[DeadLetter]:
        """Return every dead letter."""
        return [
            decode(DeadLetter, wire_body(message.value)) for message in self.messages(TopicName.DEAD_LETTERS)
        ]

    def journal(self) -> list[JournalEntry]:
        """Return the journal's entries, which must all be MU's."""
        return [
            decode(JournalEntry, wire_body(message.value)) for message in self.messages(TopicName.JOURNAL)
        ]

    def snapshots(self) -> list[Snapshot]:
        """Return every snapshot written."""
        return [
            decode(Snapshot, wire_body(message.value))
            for message in self.messages(TopicName.SNAPSHOTS)
            if wire_kind(message.value) == "snapshot"
        ]

    async def state(self) -> MasterUnit:
        """Return MU's state from the log alone."""
        return await fold_journal(self.transport(), replace(self.tenant))


@contextlib.asynccontextmanager
async def _running(service: MasterService | SecondaryService) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        ready = asyncio.Event()
        task = group.create_task(service.run(ready))
        await ready.wait()
        yield
        task.cancel()


def wire_body(wire: bytes) -> bytes:
    """Return the body of a message without any check."""
    (signed, _) = msgpack.unpackb(wire)
    body: bytes = msgpack.unpackb(signed)[-1]
    return body


def model_of(unit: MasterUnit, model_id: str = MODEL) -> ModelState:
    """Return the current version of a model."""
    return unit.models[model_id].model


def wire_kind(wire: bytes) -> str:
    """Return the kind of a message without any check."""
    (signed, _) = msgpack.unpackb(wire)
    kind: str = msgpack.unpackb(signed)[6]
    return kind


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so; fails after a while."""
    for _ in range(round(PATIENCE / _LOOK_SECONDS)):
        if condition():
            return
        await asyncio.sleep(_LOOK_SECONDS)
    raise AssertionError("waited in vain")


async def let_die(process: contextlib.AbstractAsyncContextManager[object]) -> None:
    """Run a service until the death that its transport or ledger has in store for it."""
    with pytest.raises(BaseExceptionGroup) as ended:
        async with process:
            await asyncio.sleep(PATIENCE)
    crashes, others = ended.value.split(CrashError)
    assert crashes is not None
    assert others is None
