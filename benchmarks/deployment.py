"""A deployment in one process: real keys of everybody, drawn anew in every run and never stored."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.exchange import UnitEnds, run_rounds
from crypto.coins import Coins
from crypto.dtpkc import WeakPrivateKey
from crypto.key_generation import generate_parameters
from crypto.parameters import Parameters
from crypto.profiles import Profile
from crypto.strong_key import StrongPrivateKey
from pipeline.unit_process import prepare_tables
from roles.building_blocks.base_transfers import TransferBases, base_master, base_plan, base_subject
from roles.secondary_unit import SecondaryUnit
from roles.session import Session
from roles.tenant import Tenant, tenant_from
from roles.unit_keys import UnitKeys, draw_party, unit_channel
from roles.unit_secrets import UnitSecrets
from schemas.configuration import Configuration, Limits, Party
from schemas.data_schema import ClassLabel, DataSchema, NumericAttribute, encode_schema
from schemas.models import ModelSpec, NaiveBayesSpec
from schemas.topics import Role

TENANT = "bench"
OWNER, CLIENT = "a", "c"
PARTIES = {"authority": "authority", "mu": "mu", "su": "su", "owner": OWNER, "client": CLIENT}
BAYES = NaiveBayesSpec("nb")
LIMITS = Limits(100_000, 1 << 20, 100, 1, 1, 0)


@dataclass(slots=True)
class Enrolled:
    """A party with its secrets."""

    party: Party
    secrets: Mapping[str, bytes] = field(repr=False)
    signing_key: Ed25519PrivateKey = field(repr=False)

    @property
    def theta(self) -> int:
        """Its private exponent."""
        return int.from_bytes(self.secrets["theta"], "big")


class Deployment:
    """Everybody's keys, and tenants for any data schema that share them.

    Args:
        profile: The sizes.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self._dealt: tuple[Parameters, StrongPrivateKey] | None = None

    def deal(self) -> None:
        """Make N, g and the strong key; the last ones made are those that everything else uses."""
        self._dealt = generate_parameters(self.profile, Coins.fresh())

    @cached_property
    def dealt(self) -> tuple[Parameters, StrongPrivateKey]:
        """Parameters and strong key, made now if `deal` was not called before."""
        if self._dealt is None:
            self.deal()
        if self._dealt is None:
            raise RuntimeError("no key was made")
        return self._dealt

    @property
    def parameters(self) -> Parameters:
        """N and g."""
        return self.dealt[0]

    @cached_property
    def enrolled(self) -> dict[str, Enrolled]:
        """The parties by role."""
        found = {}
        for role, name in PARTIES.items():
            secrets, party = draw_party(self.parameters, TENANT, role, name, Coins.fresh())
            found[role] = Enrolled(
                party, secrets, Ed25519PrivateKey.from_private_bytes(secrets["signing_key"])
            )
        return found

    @cached_property
    def client_key(self) -> WeakPrivateKey:
        """The client's key pair."""
        return WeakPrivateKey.from_theta(self.parameters, self.enrolled["client"].theta)

    def configuration(self, schema: DataSchema, spec: ModelSpec = BAYES) -> Configuration:
        """Return the configuration of a tenant with that schema and one model."""
        parameters = self.parameters
        return Configuration(
            TENANT,
            1,
            1,
            self.profile.name,
            parameters.n.to_bytes(self.profile.plaintext_bytes, "big"),
            parameters.g.to_bytes(parameters.component_bytes, "big"),
            encode_schema(schema),
            (spec,),
            LIMITS,
            tuple(enrolled.party for enrolled in self.enrolled.values()),
        )

    def tenant(self, schema: DataSchema, spec: ModelSpec = BAYES) -> Tenant:
        """Return the checked tenant, with the tables that MU keeps."""
        tenant = tenant_from(self.configuration(schema, spec), allow_insecure=self.profile.insecure)
        prepare_tables(tenant, Role.MU)
        return tenant

    @cached_property
    def plain_tenant(self) -> Tenant:
        """A tenant with a schema of one attribute, where the data do not matter."""
        schema = DataSchema(1, (NumericAttribute("x", ("0",), "-1", "1"),), ClassLabel("y", ("a", "b")))
        return self.tenant(schema)

    @cached_property
    def bases(self) -> tuple[TransferBases, TransferBases]:
        """MU's and SU's halves of the base transfers."""
        return self.run_base_transfers()

    def run_base_transfers(self) -> tuple[TransferBases, TransferBases]:
        """Run the base transfers between the two units."""
        tenant, master = self.plain_tenant, self.enrolled["mu"]
        stored: list[TransferBases] = []
        secondary = self.secondary_unit(tenant, None, stored)
        subject = base_subject()
        session = Session(tenant, "mu", master.secrets["seed"], subject, base_plan(tenant))
        program = base_master(session, master.secrets["delta"])
        bases = run_rounds(self.ends, session, program, secondary)
        return bases, stored[0]

    def secondary_unit(
        self,
        tenant: Tenant,
        bases: TransferBases | None,
        stored: list[TransferBases] | None = None,
        pool: ThreadPoolExecutor | None = None,
    ) -> SecondaryUnit:
        """Return SU without any session, as after a start."""
        own = self.enrolled["su"]
        keep = stored if stored is not None else []
        seed, delta = own.secrets["seed"], own.secrets["delta"]
        return SecondaryUnit(tenant, own.theta, seed, delta, bases, keep.append, pool)

    def unit_secrets(self, role: str) -> UnitSecrets:
        """Return what MU's or SU's programs need."""
        own, bases = self.enrolled[role], self.bases[role == "su"]
        return UnitSecrets(role, own.theta, own.secrets["seed"], bases.receiver, bases.sender)

    @cached_property
    def ends(self) -> UnitEnds:
        """What the units sign and seal their rounds with, whatever the data schema."""
        master, secondary = (
            unit_channel(self.plain_tenant, role, self.unit_keys(role)) for role in ("mu", "su")
        )
        return UnitEnds(self.signing_keys, master, secondary)

    def unit_keys(self, role: str) -> UnitKeys:
        """Return what a unit has of its keystore as it starts for the first time."""
        own = self.enrolled[role]
        seed, delta, exchange = (own.secrets[name] for name in ("seed", "delta", "exchange"))
        return UnitKeys(own.theta, seed, delta, exchange, None, lambda _: None)

    @cached_property
    def signing_keys(self) -> dict[str, Ed25519PrivateKey]:
        """Signing keys by party name."""
        return {enrolled.party.name: enrolled.signing_key for enrolled in self.enrolled.values()}
