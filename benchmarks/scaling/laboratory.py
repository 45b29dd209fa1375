"""What the axes vary: made-up records of any shape, tenants of any size."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.data_sets import DataSet
from benchmarks.deployment import BAYES, LIMITS, TENANT, Deployment
from benchmarks.exchange import sign
from benchmarks.learner import Learner
from crypto.coins import Coins
from crypto.profiles import Profile, profile
from roles.data_owner import make_chunk
from roles.encoding import EncodedRecords
from roles.unit_keys import draw_party
from schemas.codec import encode
from schemas.configuration import Configuration
from schemas.data_schema import CategoricalAttribute, ClassLabel, DataSchema
from schemas.models import ModelSpec
from schemas.topics import TopicName

MOST_ROWS = 1000


class LargeDeployment(Deployment):
    """Everybody's keys, with room for large query messages, and with as many owners more as wanted.

    Args:
        profile: The sizes.
        owners: Owners beside the usual one.
    """

    def __init__(self, profile: Profile, owners: int = 0) -> None:
        super().__init__(profile)
        self._owners = owners

    def sharing_keys(self, owners: int) -> "LargeDeployment":
        """Return another one with the same modulus, whose keys take long to find."""
        other = LargeDeployment(self.profile, owners)
        other._dealt = self.dealt
        return other

    @cached_property
    def owners(self) -> Mapping[str, tuple[bytes, object]]:
        """Further owners by name, with signing key and entry."""
        found = {}
        for number in range(self._owners):
            name = f"o{number}"
            secrets, party = draw_party(self.parameters, TENANT, "owner", name, Coins.fresh())
            found[name] = secrets["signing_key"], party
        return found

    def configuration(self, schema: DataSchema, spec: ModelSpec = BAYES) -> Configuration:
        """Return the configuration of `Deployment`, with those owners and limits."""
        found = super().configuration(schema, spec)
        parties = (*found.parties, *(party for _, party in self.owners.values()))
        limits = msgspec.structs.replace(LIMITS, max_query_rows=MOST_ROWS)
        return msgspec.structs.replace(found, parties=parties, limits=limits)

    @cached_property
    def signing_keys(self) -> dict[str, Ed25519PrivateKey]:
        """Signing keys by party name."""
        own = {name: Ed25519PrivateKey.from_private_bytes(key) for name, (key, _) in self.owners.items()}
        return {enrolled.party.name: enrolled.signing_key for enrolled in self.enrolled.values()} | own


@dataclass(frozen=True)
class Laboratory:
    """What every point of an axis is measured on.

    Attributes:
        profile: The sizes, where they are not what is varied.
        quick: Fewer points where they take long.
    """

    profile: Profile
    quick: bool = False
    _deployments: dict[str, LargeDeployment] = field(default_factory=dict)

    def deployment(self, name: str = "") -> LargeDeployment:
        """Return the keys of a profile, made once; the usual one's if none is named."""
        chosen = profile(name) if name else self.profile
        if chosen.name not in self._deployments:
            self._deployments[chosen.name] = LargeDeployment(chosen)
        return self._deployments[chosen.name]


def categorical(records: int, attributes: int = 8, values: int = 4, classes: int = 5) -> DataSet:
    """Return records of one class per value of the first two attributes, the same in every run."""
    rng = np.random.default_rng(0)
    indices = rng.integers(0, values, (records, attributes)).astype(np.int32)
    labels = (indices[:, 0] * values + indices[:, -1]) % classes
    names = tuple(str(value) for value in range(values))
    schema = DataSchema(
        1,
        tuple(CategoricalAttribute(f"x{place}", names) for place in range(attributes)),
        ClassLabel("y", tuple(str(label) for label in range(classes))),
    )
    return DataSet("made up", schema, EncodedRecords(indices, labels.astype(np.int32)))


def publish_as(learner: Learner, owner: str, sequence: int, records: EncodedRecords) -> list[bytes]:
    """Encode, encrypt, prove and sign one chunk of that owner's."""
    tenant, keys = learner.tenant, learner.deployment.signing_keys
    chunk = make_chunk(tenant, owner, sequence, records, Coins.fresh())
    return sign(keys, tenant, owner, TopicName.CHUNKS, "chunk", encode(chunk), sequence)
