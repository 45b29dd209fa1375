"""Configurations: what the authority signs may be wrong, and `init` puts it together from files.

Every key in one is checked with a few powers, so that there are 2,000 inputs here; the bytes are
fuzzed as a wire struct too.
"""

from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from doubles import seeded_coins
from fuzz.drawing import Draws
from fuzz.mutants import WIRE_INTEGERS, Corpus, mutate_bytes
from fuzz.verdicts import INPUTS, Tally
from tenants import small_schema
from vector_keys import vector_case

from crypto.dtpkc import PublicKey
from crypto.errors import SchemaError
from crypto.parameters import Parameters
from crypto.profiles import profile
from pipeline.rounds import check_plan_size
from pipeline.set_up import _check_sizes
from pipeline.unit_process import prepare_tables
from roles import tenant as tenant_module
from roles.learners import learners_of
from roles.master_unit import MasterUnit
from roles.tenant import Tenant, tenant_from
from roles.unit_keys import draw_party
from schemas.codec import decode, encode
from schemas.configuration import Configuration, Limits, Party
from schemas.data_schema import encode_schema
from schemas.models import LogisticSpec, ModelSpec, NaiveBayesSpec, TreeSpec
from schemas.topics import Role

CONFIGURATIONS = 2_000
ROLES = {"authority": "authority", "mu": "mu", "su": "su", "a": "owner", "c": "client"}


ONE_MODEL: tuple[ModelSpec, ...] = (NaiveBayesSpec("nb", 256),)
MANY_MODELS: tuple[ModelSpec, ...] = (
    *ONE_MODEL,
    LogisticSpec("lr", passes=2, batch_records=100, momentum_16=8),
    LogisticSpec("bins", scaled=False),
    TreeSpec("dt", max_leaves=8, attempt_records=50),
    TreeSpec("other", criterion="entropy", max_leaves=4),
    TreeSpec("padded", max_leaves=8, pad_depth=3),
)


def good_configuration(models: tuple[ModelSpec, ...] = ONE_MODEL) -> Configuration:
    case = vector_case(512)
    parameters = Parameters(profile("toy"), int(case["N"]), int(case["g"]))
    parties = [
        draw_party(parameters, "small", role, name, seeded_coins(f"fuzz party {name}"))[1]
        for name, role in ROLES.items()
    ]
    return Configuration(
        "small",
        1,
        1,
        "toy",
        parameters.n.to_bytes(64, "big"),
        parameters.g.to_bytes(128, "big"),
        encode_schema(small_schema()),
        models,
        Limits(1000, 1 << 20, 100, 1, 1, 0),
        tuple(parties),
    )


def changed_struct(draws: Draws, struct: Any, others: list[Any]) -> Any:
    """Return a configuration, or a struct in it, with one field changed somewhere."""
    name = draws.pick(struct.__struct_fields__)
    value = getattr(struct, name)
    if isinstance(value, bool):
        value = not value
    elif isinstance(value, int):
        value = min(max(draws.pick((*WIRE_INTEGERS, value + 1, value - 1)), -(2**63)), 2**64 - 1)
    elif isinstance(value, bytes):
        value = draws.pick(
            (mutate_bytes(draws, value, b"other"), b"", bytes(len(value)), b"\0" + value, value[:-1])
        )
    elif isinstance(value, str):
        value = draws.pick(
            (
                *("", "x", "mu", "su", "authority", "toy", "paper", "nb", "operator", "é", value + "\n"),
                *("." * 70, "gini", "entropy", "dt"),
            )
        )
    elif value == ():
        value = draws.pick(((b"",), (bytes(32), bytes(32)), (bytes(32),) * 3))
    elif isinstance(value, tuple):
        at = draws.below(len(value))
        match draws.below(6):
            case 0:
                value = (*value[:at], *value[at + 1 :])
            case 1:
                value = (*value, value[at])
            case 2:
                value = value[::-1]
            case _:
                value = (*value[:at], changed_struct(draws, value[at], others), *value[at + 1 :])
    else:
        value = changed_struct(draws, value, others)
    return msgspec.structs.replace(struct, **{name: value})


def prepare(tenant: Tenant) -> None:
    """Compute what `init` and a starting unit do."""
    _check_sizes(tenant)
    unit = MasterUnit.starting(tenant)
    assert list(unit.models) == list(learners_of(tenant)) == [s.model_id for s in tenant.configuration.models]
    prepare_tables(tenant, Role.MU)


@pytest.mark.parametrize("models", [ONE_MODEL, MANY_MODELS], ids=["one model", "many models"])
def test_any_configuration_is_a_tenant_or_a_reason(models: tuple[ModelSpec, ...]) -> None:
    draws, tally = Draws("configurations"), Tally()
    good = good_configuration(models)
    corpus = Corpus.of_msgpack([encode(good)])
    prepared = 0
    while tally.inputs < CONFIGURATIONS:
        if draws.chance(3):
            data, _ = corpus.mutant(draws)
        else:
            data = encode(changed_struct(draws, good, []) if not draws.chance(60) else good)
        try:
            configuration = decode(Configuration, data)
        except SchemaError:
            continue
        own = configuration.limits != good.limits or configuration.models != good.models

        def read(_: bytes, configuration: Configuration = configuration, own: bool = own) -> Tenant:
            tenant = tenant_from(configuration, allow_insecure=True)
            if own:
                prepare(tenant)
            return tenant

        # All of it is public.
        tenant = tally.judge(read, data, mutated=configuration != good, secret=b"")
        if tenant is not None:
            prepared += own
            use(tenant)
    tally.check(CONFIGURATIONS, reasons=["invalid_config"])
    assert prepared > 20


def changed_model(draws: Draws, spec: ModelSpec) -> ModelSpec:
    for _ in range(draws.pick((1, 1, 2, 3))):
        spec = changed_struct(draws, spec, [])
    return spec


@pytest.fixture
def checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check each key once: below only models change."""
    original = tenant_module.checked_key
    kept: dict[Party, PublicKey] = {}

    def checked(parameters: Parameters, tenant: str, party: Party) -> PublicKey:
        if party not in kept:
            kept[party] = original(parameters, tenant, party)
        return kept[party]

    monkeypatch.setattr(tenant_module, "checked_key", checked)


@pytest.mark.usefixtures("checked_once")
def test_any_models_have_plans_or_a_reason() -> None:
    draws, tally = Draws("models"), Tally()
    good = good_configuration(MANY_MODELS)
    while tally.inputs < INPUTS:
        models = [changed_model(draws, draws.pick(MANY_MODELS)) for _ in range(draws.pick((1, 1, 1, 2)))]
        configuration = msgspec.structs.replace(good, models=tuple(models))
        data = encode(configuration)
        try:
            configuration = decode(Configuration, data)
        except SchemaError:
            continue

        def read(_: bytes, configuration: Configuration = configuration) -> set[str]:
            learners = learners_of(tenant_from(configuration, allow_insecure=True))
            plans = [plan for learner in learners.values() for plan in learner.largest_plans()]
            for plan in plans:
                check_plan_size(plan)
            return {plan.name for plan in plans}

        names = tally.judge(read, data, mutated=not set(models) <= set(MANY_MODELS), secret=b"")
        assert names is None or names
    tally.check(reasons=["invalid_config"])
    assert tally.accepted > 2000


def use(tenant: Tenant) -> None:
    """Do what every party does with its tenant at start."""
    assert tenant.party("mu").role == "mu"
    assert set(tenant.unit_keys) == {"mu", "su"}
    assert len(tenant.verifying) == len(tenant.configuration.parties)
    assert isinstance(tenant.configuration.parties[0], Party)
    key = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
    assert all(
        len(party.key.public_bytes(Encoding.Raw, PublicFormat.Raw)) == 32
        for party in tenant.verifying.values()
    )
    assert key not in [party.key for party in tenant.verifying.values()]
