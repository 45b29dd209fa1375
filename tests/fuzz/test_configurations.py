"""Configurations: what the authority signs may be wrong, and `init` puts it together from files.

Every key in one is checked with a few powers, so that there are 2,000 inputs here; the bytes are
fuzzed as a wire struct too.
"""

from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from doubles import seeded_coins
from fuzz.drawing import Draws
from fuzz.mutants import WIRE_INTEGERS, Corpus, mutate_bytes
from fuzz.verdicts import Tally
from tenants import small_schema
from vector_keys import vector_case

from crypto.errors import SchemaError
from crypto.parameters import Parameters
from crypto.profiles import profile
from pipeline.set_up import _check_sizes
from pipeline.unit_process import prepare_tables
from roles.master_unit import MasterUnit
from roles.tenant import Tenant, tenant_from
from roles.unit_keys import draw_party
from schemas.codec import decode, encode
from schemas.configuration import Configuration, Limits, ModelSpec, Party
from schemas.data_schema import encode_schema
from schemas.topics import Role

CONFIGURATIONS = 2_000
ROLES = {"authority": "authority", "mu": "mu", "su": "su", "a": "owner", "c": "client"}


def good_configuration() -> Configuration:
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
        (ModelSpec("nb", "nb", 256),),
        Limits(1000, 1 << 20, 100, 1, 1, 0),
        tuple(parties),
    )


def changed_struct(draws: Draws, struct: Any, others: list[Any]) -> Any:
    """Return a configuration, or a struct in it, with one field changed somewhere."""
    name = draws.pick(struct.__struct_fields__)
    value = getattr(struct, name)
    if isinstance(value, int):
        value = draws.pick((*WIRE_INTEGERS, value + 1, value - 1))
    elif isinstance(value, bytes):
        value = draws.pick(
            (mutate_bytes(draws, value, b"other"), b"", bytes(len(value)), b"\0" + value, value[:-1])
        )
    elif isinstance(value, str):
        value = draws.pick(
            ("", "x", "mu", "su", "authority", "toy", "paper", "nb", "operator", "é", value + "\n", "." * 70)
        )
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


def test_any_configuration_is_a_tenant_or_a_reason() -> None:
    draws, tally = Draws("configurations"), Tally()
    good = good_configuration()
    corpus = Corpus.of_msgpack([encode(good)])
    while tally.inputs < CONFIGURATIONS:
        if draws.chance(3):
            data, _ = corpus.mutant(draws)
        else:
            data = encode(changed_struct(draws, good, []) if not draws.chance(60) else good)
        try:
            configuration = decode(Configuration, data)
        except SchemaError:
            continue

        def read(_: bytes, configuration: Configuration = configuration) -> Tenant:
            tenant = tenant_from(configuration, allow_insecure=True)
            if configuration.limits != good.limits or configuration.models != good.models:
                # What `init` and a starting unit compute from it.
                _check_sizes(tenant)
                MasterUnit.starting(tenant, tenant.configuration.models[0])
                prepare_tables(tenant, Role.MU)
            return tenant

        # All of it is public.
        tenant = tally.judge(read, data, mutated=configuration != good, secret=b"")
        if tenant is not None:
            use(tenant)
    tally.check(CONFIGURATIONS, reasons=["invalid_config"])


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
