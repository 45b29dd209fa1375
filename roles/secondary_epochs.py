"""SU from key epoch to key epoch: another unit each time, with fresh sessions, another seed and another Δ.

What SU knows of MU's heads it takes along; which queries it has answered is in its ledger.
"""

from concurrent.futures import ThreadPoolExecutor

from roles.secondary_unit import SecondaryUnit
from roles.tenant import Tenant
from roles.unit_channels import UnitChannels
from roles.unit_keys import UnitKeys, keys_in


class SecondaryEpochs:
    """The unit of the key epoch in force, and the channels of all so far.

    Args:
        tenant: Whose roster says which key epoch is in force.
        keys: SU's of the first key epoch.
        pool: Threads for the powers.

    Attributes:
        key_epoch: The one that SU goes by.
        unit: SU in it.
        channels: To MU.
    """

    def __init__(self, tenant: Tenant, keys: UnitKeys, pool: ThreadPoolExecutor | None = None) -> None:
        self._tenant = tenant
        self._keys = keys
        self._pool = pool
        self.channels = UnitChannels(tenant, "su", keys)
        self.key_epoch = tenant.key_epoch
        self.unit = self._unit_in(tenant)

    def follow(self) -> bool:
        """Go on to the key epoch in force; return whether it is another one.

        Raises:
            MissingKeysError: The keystore does not have its secrets.
            InvalidKeyError: MU's exchange key is not usable.
        """
        now = self._tenant.roster.configuration().key_epoch
        began = self._tenant.roster.beginning_of(now)
        if began is None or now == self.key_epoch:
            return False
        following = self._unit_in(self._tenant.in_key_epoch(began))
        following.heads = self.unit.heads
        self.channels.of(now)
        self.unit, self.key_epoch = following, now
        return True

    def _unit_in(self, tenant: Tenant) -> SecondaryUnit:
        keys = keys_in(tenant, "su", self._keys)
        secrets = keys.theta, keys.seed, keys.delta, keys.bases, keys.store_bases
        return SecondaryUnit(tenant, *secrets, self._pool, keys.strong_share)
