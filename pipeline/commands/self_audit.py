"""`privml mu self-audit` and `privml su self-audit`: a unit re-checks its own side with its own keystore."""

import asyncio
from typing import TYPE_CHECKING

import typer

from pipeline.commands.audit import report_audit
from pipeline.commands.options import (
    ConfigOption,
    KeystoreOption,
    PassphraseFdOption,
    PassphraseFileOption,
    TransportOption,
)
from pipeline.commands.output import JsonOption, Output
from pipeline.commands.running import run_command
from schemas.topics import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.audit_report import AuditReport

_SAYS = {
    Role.MU: "Run every session with SU again from the journal; compare each request and each answer.",
    Role.SU: "Run every session again from MU's requests; compare each reply to the last byte.",
}


def add_self_audit(app: typer.Typer, role: Role) -> None:
    """Add the command to a unit's group."""

    def self_audit(
        config: ConfigOption = None,
        keystore: KeystoreOption = None,
        passphrase_file: PassphraseFileOption = None,
        passphrase_fd: PassphraseFdOption = None,
        transport: TransportOption = None,
        json: JsonOption = False,
    ) -> None:
        import os
        from concurrent.futures import ThreadPoolExecutor

        from pipeline.configurations import fetch_first_tenant
        from pipeline.master_self_audit import audit_master
        from pipeline.parties import open_identity
        from pipeline.secondary_self_audit import audit_secondary
        from pipeline.settings import load_settings, settings_path
        from pipeline.topic_urls import open_transport
        from pipeline.unit_process import prepare_tables

        settings = load_settings(settings_path(config))

        async def run() -> "AuditReport":
            async with open_transport(transport or settings.transport) as opened:
                tenant = await fetch_first_tenant(settings, opened, insecure=True)
                identity = open_identity(
                    settings,
                    tenant,
                    tenant.party(role).name,
                    role,
                    keystore=keystore,
                    passphrase_file=passphrase_file,
                    passphrase_fd=passphrase_fd,
                )
                keys = identity.unit_keys(tenant, _save_nothing)
                if role is Role.SU:
                    # MU's table is for proofs, which are left to the public audit.
                    await asyncio.to_thread(prepare_tables, tenant, role)
                with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
                    check = audit_master if role is Role.MU else audit_secondary
                    return await check(opened, tenant, keys, pool)

        report_audit(run_command(run()), Output(json))

    self_audit.__doc__ = f"{_SAYS[role]}\n\nOnly this unit's keystore is opened, and nothing is written."
    app.command("self-audit")(self_audit)


def _save_nothing(_: "Mapping[str, bytes]") -> None:
    """Leave the keystore as it is."""
