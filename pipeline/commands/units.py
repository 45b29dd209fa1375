"""`privml mu` and `privml su`: the two servers, and their key generation."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.keygen import add_exchange_key, add_keygen
from pipeline.commands.log_format import LogFormat, LogFormatOption, start_logs
from pipeline.commands.options import (
    ConfigOption,
    InsecureOption,
    KeystoreOption,
    MetricsOption,
    PassphraseFdOption,
    PassphraseFileOption,
    TransportOption,
)
from pipeline.commands.output import JsonOption, Output, write_object
from pipeline.commands.renewal import add_rekey
from pipeline.commands.running import run_service
from pipeline.commands.self_audit import add_self_audit
from schemas.topics import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.health_server import MetricsAddress
    from pipeline.parties import Identity
    from pipeline.settings import Settings
    from pipeline.shard import Shard
    from roles.unit_keys import UnitKeys

mu_app = typer.Typer(invoke_without_command=True, help="Run the master unit, or make its keys.")
su_app = typer.Typer(invoke_without_command=True, help="Run the secondary unit, or make its keys.")
ShardOption = Annotated[
    str,
    typer.Option(
        "--shard", metavar="NUMBER/COUNT", help="Share the rounds' partitions with other processes of SU."
    ),
]
add_keygen(mu_app, Role.MU)
add_keygen(su_app, Role.SU)
add_exchange_key(mu_app, Role.MU)
add_exchange_key(su_app, Role.SU)
add_rekey(mu_app, Role.MU)
add_rekey(su_app, Role.SU)
add_self_audit(mu_app, Role.MU)
add_self_audit(su_app, Role.SU)


@mu_app.callback()
def mu(
    context: typer.Context,
    config: ConfigOption = None,
    keystore: KeystoreOption = None,
    passphrase_file: PassphraseFileOption = None,
    passphrase_fd: PassphraseFdOption = None,
    transport: TransportOption = None,
    metrics: MetricsOption = None,
    log_format: LogFormatOption = None,
    insecure: InsecureOption = False,
    json: JsonOption = False,
) -> None:
    """Run the master unit until SIGTERM: orders, stores and computes on what it cannot read."""
    if context.invoked_subcommand is None:
        keys = keystore, passphrase_file, passphrase_fd
        _run(Role.MU, config, keys, transport, metrics, log_format, insecure=insecure, json=json)


@su_app.callback()
def su(
    context: typer.Context,
    config: ConfigOption = None,
    keystore: KeystoreOption = None,
    passphrase_file: PassphraseFileOption = None,
    passphrase_fd: PassphraseFdOption = None,
    transport: TransportOption = None,
    shard: ShardOption = "1/1",
    metrics: MetricsOption = None,
    log_format: LogFormatOption = None,
    insecure: InsecureOption = False,
    json: JsonOption = False,
) -> None:
    """Run the secondary unit until SIGTERM: answers the master unit's rounds by the public plan."""
    if context.invoked_subcommand is None:
        keys = keystore, passphrase_file, passphrase_fd
        _run(
            *(Role.SU, config, keys, transport, metrics, log_format),
            shard=shard,
            insecure=insecure,
            json=json,
        )


def _run(
    role: Role,
    config: Path | None,
    keys: tuple[Path | None, Path | None, int | None],
    transport: Annotated[str | None, "URL"],
    metrics: str | None,
    log_format: LogFormat | None,
    *,
    shard: str = "1/1",
    insecure: bool,
    json: bool,
) -> None:
    from dataclasses import replace

    from pipeline.health_server import MetricsAddress
    from pipeline.settings import load_settings, settings_path
    from pipeline.shard import Shard

    try:
        chosen = Shard.parse(shard)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--shard") from None
    address = None if metrics is None else MetricsAddress.parse(metrics)
    start_logs(log_format, role, json=json)
    settings = load_settings(settings_path(config))
    if transport is not None:
        settings = replace(settings, transport=transport)
    run_service(_serve(role, settings, keys, address, shard=chosen, insecure=insecure, output=Output(json)))


async def _serve(
    role: Role,
    settings: "Settings",
    keys: tuple[Path | None, Path | None, int | None],
    metrics: "MetricsAddress | None",
    *,
    shard: "Shard",
    insecure: bool,
    output: Output,
) -> None:
    from pipeline.configurations import fetch_first_tenant
    from pipeline.parties import open_identity
    from pipeline.topic_urls import open_transport
    from pipeline.unit_process import run_unit

    keystore, passphrase_file, passphrase_fd = keys
    async with open_transport(settings.transport) as transport:
        tenant = await fetch_first_tenant(settings, transport, insecure=insecure, remember=True)
        identity: Identity = open_identity(
            settings,
            tenant,
            tenant.party(role).name,
            role,
            keystore=keystore,
            passphrase_file=passphrase_file,
            passphrase_fd=passphrase_fd,
        )
        store = identity.keystore

        def save(secrets: "Mapping[str, bytes]") -> None:
            # `rekey` may have added the secrets of the next key epoch meanwhile.
            store.reread()
            store.update(**secrets)

        unit: UnitKeys = identity.unit_keys(tenant, save, store.reread)

        def ready(served: str | None) -> None:
            output.say("ready" if served is None else f"ready; metrics at http://{served}/metrics")
            output.result("ready", {"role": role.value, "metrics": served})

        summary = await run_unit(
            *(role, settings, transport, tenant, identity, unit, ready), metrics=metrics, shard=shard
        )
    if output.json:
        write_object("stopped", {"role": role.value, **summary})
