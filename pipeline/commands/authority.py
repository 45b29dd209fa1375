"""`privml authority`: set a tenant up."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.enrolment import add_enrolment
from pipeline.commands.output import JsonOption, Output, progress
from pipeline.commands.renewal import add_renewal
from schemas.topics import NAME_PATTERN, TENANT_PATTERN, Role

if TYPE_CHECKING:
    from schemas.configuration import UnitPublicKey

app = typer.Typer(no_args_is_help=True, help="Set a tenant up: parameters, keys, signed configuration.")
add_enrolment(app)
add_renewal(app)


@app.command()
def parameters(
    dir: Annotated[Path, typer.Option("--dir", help="Folder of the tenant.")],
    tenant: Annotated[str, typer.Option(help="Name of the tenant.")] = "demo",
    profile: Annotated[str, typer.Option(help="Sizes: legacy, standard, …")] = "standard",
    exchange_key: Annotated[
        list[Path] | None,
        typer.Option(
            help="Owners shall have keys of their own: public file of a unit's `exchange-key`, to which its "
            "share of the strong key is sealed; repeat for both."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Draw the tenant's modulus and generator, and forget the primes (the dealer).

    Only needed where the units make their keys on hosts of their own; `init` does it otherwise.
    """
    from pipeline.party_keys import read_public_key

    output = Output(json)
    _check_tenant_name(tenant)
    path = _parameters(dir, tenant, profile, [read_public_key(file) for file in exchange_key or []])
    output.say(f"public parameters are in {path}; hand it to `privml mu keygen` and `privml su keygen`")
    output.result("parameters", {"file": str(path), "profile": profile})


@app.command()
def init(
    dir: Annotated[Path, typer.Option("--dir", help="Folder for settings, keys and state.")],
    schema: Annotated[Path, typer.Option(help="Data schema, as `privml schema infer` writes it.")],
    passphrase_file: Annotated[Path, typer.Option(help="File whose first line seals the keystores.")],
    owner: Annotated[
        list[str] | None, typer.Option(help="Name of a data owner; repeat for more.", show_default=False)
    ] = None,
    client: Annotated[
        list[str] | None, typer.Option(help="Name of a client; repeat for more.", show_default=False)
    ] = None,
    tenant: Annotated[str, typer.Option(help="Name of the tenant.")] = "demo",
    transport: Annotated[
        str | None, typer.Option(help="Where the topics go. [default: log:DIR/topics]", show_default=False)
    ] = None,
    profile: Annotated[
        str, typer.Option(help="standard (3072 bits), legacy (2048); toy (512) only with --insecure.")
    ] = "standard",
    classifier: Annotated[
        list[str] | None,
        typer.Option(
            help="Model to keep: nb, lr or dt, or [NAME=]KIND:parameter=value,…; repeat for more. "
            "`privml authority classifiers` lists the parameters. [default: nb]",
            show_default=False,
        ),
    ] = None,
    min_owners: Annotated[int, typer.Option(min=1, help="Owners a model needs before it answers.")] = 2,
    min_records: Annotated[int, typer.Option(min=1, help="Records a model needs before it answers.")] = 500,
    min_new_records: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="New records before another state of the model answers. "
            "[default: a hundredth of --min-records, 1 at least]",
            show_default=False,
        ),
    ] = None,
    max_records: Annotated[
        int, typer.Option(min=1, help="Most records in a model; fixes the width of scores.")
    ] = 1 << 24,
    max_chunk_records: Annotated[
        int | None,
        typer.Option(
            min=1, help="Most records in a chunk. [default: as many as the models allow]", show_default=False
        ),
    ] = None,
    max_query_rows: Annotated[int, typer.Option(min=1, max=1000, help="Most rows in a query message.")] = 100,
    query_quota: Annotated[
        int, typer.Option(min=1, help="Most rows that one client may ask in a key epoch.")
    ] = 1 << 20,
    unit_key: Annotated[
        list[Path] | None,
        typer.Option(help="Public key file of a unit that made its keys on its own host; repeat for both."),
    ] = None,
    owner_keys: Annotated[
        bool,
        typer.Option(
            "--owner-keys",
            help="Owners encrypt under keys of their own and can read their history; both units together "
            "can then open everything.",
        ),
    ] = False,
    insecure: Annotated[bool, typer.Option("--insecure", help="Allow profiles below the standard.")] = False,
    json: JsonOption = False,
) -> None:
    """Make a tenant on this host: parameters, everybody's keys, signed configuration, topics.

    Every party draws its keys in a process of its own and writes its own keystore; this command
    reads public files only. The primes are forgotten as soon as the parameters are made.
    """
    from pipeline.dealer import PARAMETERS_FILE, known_profile, read_parameters
    from pipeline.model_options import parse_models
    from pipeline.party_keys import read_public_key, spawn_exchange_keys, spawn_parties
    from pipeline.schema_files import read_schema
    from pipeline.set_up import CHUNK_RECORDS, TenantPlan, check_new_tenant, make_tenant
    from schemas.configuration import Limits
    from schemas.models import classifier_of

    output = Output(json)
    if known_profile(profile).insecure and not insecure:
        raise typer.BadParameter(
            f"profile '{profile}' is not secure; add --insecure for trials", param_hint="--profile"
        )
    owners, clients = owner or [], client or []
    names = [*owners, *clients]
    if len(set(names)) != len(names) or set(names) & {"mu", "su", "authority"}:
        raise typer.BadParameter("every party needs a name of its own", param_hint="--owner / --client")
    if not all(re.search(NAME_PATTERN, name) for name in names):
        raise typer.BadParameter(
            "a name has letters, digits, dots, hyphens and underscores", param_hint="--owner / --client"
        )
    _check_tenant_name(tenant)
    # Before the parameters, which take long.
    check_new_tenant(dir, passphrase_file)
    data_schema = read_schema(schema)
    models = parse_models(classifier or ["nb"], data_schema.class_count)
    chunk_records = (max_chunk_records,) if max_chunk_records else CHUNK_RECORDS
    step = max(1, min_records // 100) if min_new_records is None else min_new_records
    limits = Limits(chunk_records[0], max_records, max_query_rows, min_records, min_owners, step, query_quota)
    plan = TenantPlan(
        dir,
        tenant,
        transport or f"log:{dir / 'topics'}",
        profile,
        insecure,
        data_schema,
        tuple(owners),
        tuple(clients),
        limits,
        models,
        chunk_records,
    )
    if not (dir / PARAMETERS_FILE).exists():
        roles = (Role.MU.value, Role.SU.value) if owner_keys else ()
        _parameters(dir, tenant, profile, spawn_exchange_keys(tenant, dir / "keys", passphrase_file, roles))
    elif owner_keys != bool(read_parameters(dir / PARAMETERS_FILE)[0].shares):
        raise typer.BadParameter(
            "the parameters in this folder were made the other way; whether the strong key is split is "
            "settled when they are made",
            param_hint="--owner-keys",
        )
    units = [read_public_key(path) for path in unit_key or []]
    known = {key.party.role for key in units}
    missing = [(role.value, role.value) for role in (Role.MU, Role.SU) if role.value not in known]
    missing += [(Role.OWNER.value, name) for name in owners] + [(Role.CLIENT.value, name) for name in clients]
    output.say(f"drawing keys of {len(missing)} parties, each in its own process")
    keys = [*units, *spawn_parties(dir / PARAMETERS_FILE, dir / "keys", passphrase_file, missing)]
    settings, configuration = make_tenant(plan, keys, passphrase_file)
    output.say(f"tenant '{tenant}' is ready: start `privml mu` and `privml su` with --config {settings.path}")
    output.result(
        "init",
        {
            "tenant": tenant,
            "config": str(settings.path),
            "profile": profile,
            "models": [{"id": spec.model_id, "classifier": classifier_of(spec)} for spec in models],
            "max_chunk_records": configuration.limits.max_chunk_records,
            "owner_keys": owner_keys,
            "configuration_sha256": settings.configuration.hex(),
            "parties": [{"name": key.party.name, "role": key.party.role} for key in keys],
        },
    )


@app.command()
def classifiers(json: JsonOption = False) -> None:
    """List the kinds of models that a tenant can keep, and what can be set of each."""
    from pipeline.model_options import KINDS, PARAMETERS

    output = Output(json)
    known = {kind: [one for one in PARAMETERS if one.kind == kind] for kind in KINDS}
    output.result(
        "classifiers",
        {
            "classifiers": [
                {
                    "kind": kind,
                    "name": name,
                    "parameters": [
                        {"name": one.name, "default": one.default, "meaning": one.meaning}
                        for one in known[kind]
                    ],
                }
                for kind, name in KINDS.items()
            ]
        },
    )
    for kind, name in KINDS.items():
        output.document(f"{kind}  {name}")
        for one in known[kind]:
            output.document(f"    {one.name}={one.default}  {one.meaning}")


def _check_tenant_name(tenant: str) -> None:
    if re.search(TENANT_PATTERN, tenant) is None:
        raise typer.BadParameter(
            "1 to 32 lower-case letters, digits and hyphens, no hyphen first", param_hint="--tenant"
        )


def _parameters(folder: Path, tenant: str, profile: str, units: "Sequence[UnitPublicKey]") -> Path:
    from pipeline.dealer import make_parameters

    with progress() as bar:
        task = bar.add_task("searching for two safe primes", total=None)
        return make_parameters(
            folder,
            tenant,
            profile,
            lambda tested, expected: bar.update(task, completed=tested, total=max(expected, tested)),
            units,
        )
