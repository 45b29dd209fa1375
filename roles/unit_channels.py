"""A unit's channels to its peer, one for every key epoch."""

from crypto.unit_channel import UnitChannel
from roles.tenant import Tenant
from roles.unit_keys import UnitKeys, keys_in, unit_channel
from schemas.errors import WrongKeyEpochError


class UnitChannels:
    """The channels of the key epochs in force so far, each made when it is first asked for.

    Args:
        tenant: Whose roster says which key epochs there are.
        role: ``mu`` or ``su``.
        keys: The unit's of the first key epoch.
    """

    def __init__(self, tenant: Tenant, role: str, keys: UnitKeys) -> None:
        self._tenant = tenant
        self._role = role
        self._keys = keys
        self._channels: dict[int, UnitChannel] = {}

    def of(self, key_epoch: int) -> UnitChannel:
        """Return the channel of a key epoch.

        Raises:
            WrongKeyEpochError: The tenant has none of that number yet.
            MissingKeysError: The keystore does not have its secrets.
        """
        if key_epoch not in self._channels:
            began = self._tenant.roster.beginning_of(key_epoch)
            if began is None:
                raise WrongKeyEpochError(f"key epoch {key_epoch} is not in force")
            tenant = self._tenant.in_key_epoch(began)
            keys = keys_in(tenant, self._role, self._keys)
            self._channels[key_epoch] = unit_channel(tenant, self._role, keys)
        return self._channels[key_epoch]
