"""`privml authority renew`, `privml mu rekey` and `privml su rekey`: a new key epoch of a running tenant."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.enrolment import Signing, sign_next_version
from pipeline.commands.options import (
    ConfigOption,
    InsecureOption,
    KeystoreOption,
    PassphraseFdOption,
    PassphraseFileOption,
    TransportOption,
)
from pipeline.commands.output import JsonOption, Output
from pipeline.commands.running import run_command
from schemas.topics import Role

if TYPE_CHECKING:
    from schemas.configuration import Configuration

_UNITS = (Role.MU, Role.SU)


def add_renewal(app: typer.Typer) -> None:
    """Add the command to the authority's group."""
    app.command("renew")(renew)


def renew(
    unit_key: Annotated[
        list[Path] | None,
        typer.Option(help="File that a unit's `rekey` wrote on its own host; repeat for both."),
    ] = None,
    config: ConfigOption = None,
    keystore: KeystoreOption = None,
    passphrase_file: PassphraseFileOption = None,
    passphrase_fd: PassphraseFdOption = None,
    transport: TransportOption = None,
    insecure: InsecureOption = False,
    json: JsonOption = False,
) -> None:
    """Begin a new key epoch of a tenant while it runs: sign the next version of its configuration.

    The units replace their seeds, their base transfers and the key of their channel, and the clients' quota
    begins anew. Service key and models stay. The units take it up by themselves, once no query and no
    lesson is under way.
    """
    from pipeline.party_keys import read_public_key
    from pipeline.renewing import publish_renewal, spawn_units
    from pipeline.settings import SettingsError

    output = Output(json)
    keys = [read_public_key(path) for path in unit_key or []]
    given = [key.party.role for key in keys]
    if len(set(given)) != len(given) or not set(given) <= set(_UNITS):
        raise typer.BadParameter("one file of each unit, written by `rekey`", param_hint="--unit-key")
    missing = [role for role in _UNITS if role not in given]

    async def publish(signing: Signing) -> "Configuration":
        settings = signing.settings
        if missing:
            sealed_by = passphrase_file or settings.passphrase_file
            if sealed_by is None:
                raise SettingsError(
                    "the units' keystores need a passphrase file: name one with --passphrase-file",
                    hint="or run `rekey` of each unit, and name the files that it writes with --unit-key",
                )
            output.say(f"drawing secrets of {len(missing)} units, each in its own process")
            keys.extend(await asyncio.to_thread(spawn_units, settings, signing.newest, sealed_by, missing))
        version = await publish_renewal(*signing.place, keys, insecure=insecure)
        epochs.append(version.key_epoch)
        return version

    epochs: list[int] = []
    version = sign_next_version(
        (keystore, passphrase_file, passphrase_fd), config, transport, publish, insecure=insecure
    )
    output.say(f"key epoch {epochs[0]} begins with version {version['version']} of the configuration")
    output.result("renew", {**version, "key_epoch": epochs[0]})


def add_rekey(app: typer.Typer, role: Role) -> None:
    """Add the command to a unit's group."""

    def rekey(
        public: Annotated[Path, typer.Option(help="Where the public part goes, for the authority.")],
        config: ConfigOption = None,
        keystore: KeystoreOption = None,
        passphrase_file: PassphraseFileOption = None,
        passphrase_fd: PassphraseFdOption = None,
        transport: TransportOption = None,
        json: JsonOption = False,
    ) -> None:
        """Draw this unit's secrets of the next key epoch: into its keystore, the public part into a file.

        The unit may run meanwhile. Nothing changes until `privml authority renew` has signed the file of both
        units; until then the same command writes the same file.
        """
        from pipeline.configurations import fetch_versions
        from pipeline.parties import open_identity
        from pipeline.renewing import draw_next_key_epoch
        from pipeline.settings import load_settings, settings_path
        from pipeline.topic_urls import open_transport

        settings = load_settings(settings_path(config))

        async def run() -> int:
            async with open_transport(transport or settings.transport) as opened:
                versions = await fetch_versions(settings, opened, insecure=True)
            tenant = versions.first
            identity = open_identity(
                settings,
                tenant,
                tenant.party(role).name,
                role,
                keystore=keystore,
                passphrase_file=passphrase_file,
                passphrase_fd=passphrase_fd,
            )
            identity.weak_key(tenant)
            return draw_next_key_epoch(identity, versions, public)

        key_epoch = run_command(run())
        output = Output(json)
        output.say(f"secrets of key epoch {key_epoch} are in the keystore; hand {public} to the authority")
        output.result("rekey", {"role": role.value, "key_epoch": key_epoch, "public": str(public)})

    app.command("rekey")(rekey)
