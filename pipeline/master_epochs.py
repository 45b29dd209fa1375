"""MU from key epoch to key epoch: what it asks SU with, and how it goes on to the next one."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from crypto.unit_channel import UnitChannel
from pipeline.log_setup import get_logger
from pipeline.mailbox import Publisher
from pipeline.meter import Meter
from pipeline.rounds import RoundExchange
from pipeline.sessions import UNANSWERABLE, Sessions
from pipeline.transport import Transport
from roles.refusal import refusal_reason
from roles.tenant import Tenant
from roles.unit_keys import UnitKeys, keys_in, unit_channel
from schemas.configuration import Configuration

log = get_logger()


@dataclass(frozen=True, slots=True)
class PreparedEpoch:
    """A key epoch that MU can go on to: its secrets are there."""

    tenant: Tenant
    keys: UnitKeys
    channel: UnitChannel


class MasterEpochs:
    """MU's sessions in the key epoch in force.

    Args:
        transport: Where the topics are.
        tenant: Whose roster says which key epoch is in force.
        keys: MU's of the first key epoch.
        publisher: MU's.
        meter: Counts CPU, bytes and round trips.

    Attributes:
        exchange: With SU.

    Raises:
        MissingKeysError: The keystore does not have the secrets of the key epoch in force.
    """

    def __init__(
        self, transport: Transport, tenant: Tenant, keys: UnitKeys, publisher: Publisher, meter: Meter
    ) -> None:
        self._tenant = tenant
        self._keys = keys
        roster = tenant.roster
        began = roster.beginning_of(roster.configuration().key_epoch) or tenant.configuration
        self._now = self.prepared(began)
        self.exchange = RoundExchange(transport, tenant, publisher, self._now.channel, meter)
        self.exchange.go_on(began.key_epoch, self._now.channel)

    def prepared(self, began: Configuration) -> PreparedEpoch:
        """Return what a key epoch needs, before it is in force.

        Args:
            began: The version with which it begins.

        Raises:
            MissingKeysError: The keystore does not have its secrets.
            InvalidKeyError: SU's exchange key is not usable.
        """
        tenant = self._tenant.in_key_epoch(began)
        keys = keys_in(tenant, "mu", self._keys)
        return PreparedEpoch(tenant, keys, unit_channel(tenant, "mu", keys))

    def sessions(self, pool: ThreadPoolExecutor, group: asyncio.TaskGroup) -> Sessions:
        """Return the sessions, of all key epochs; what several callers share runs in `group`."""
        self._sessions = Sessions(self.exchange, self._now.tenant, self._now.keys, pool, group)
        return self._sessions

    def go_on(self, epoch: PreparedEpoch) -> None:
        """Ask in another key epoch from now on; no session is under way."""
        self._now = epoch
        self.exchange.go_on(epoch.tenant.key_epoch, epoch.channel)
        self._sessions.go_on(epoch.tenant, epoch.keys)

    async def meet(self) -> None:
        """Run the base transfers, so that SU knows of the key epoch and the next query need not wait."""
        try:
            await self._sessions.meet()
        except UNANSWERABLE as error:
            # Whoever needs them tries again.
            log.warning("base_transfers_failed", code=refusal_reason(error).value)
