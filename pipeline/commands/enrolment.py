"""`privml authority enroll` and `privml authority revoke`: owners and clients come and go."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
    from pipeline.parties import Identity
    from pipeline.settings import Settings
    from pipeline.transport import Transport
    from schemas.configuration import Configuration, UnitPublicKey


def add_enrolment(app: typer.Typer) -> None:
    """Add the commands to the authority's group."""
    app.command("enroll")(enroll)
    app.command("revoke")(revoke)


def enroll(
    key: Annotated[
        list[Path] | None,
        typer.Option(
            help="Public key file of an owner or client that made its keys elsewhere; repeat for more."
        ),
    ] = None,
    owner: Annotated[
        list[str] | None, typer.Option(help="Name of an owner whose keys are drawn here; repeat for more.")
    ] = None,
    client: Annotated[
        list[str] | None, typer.Option(help="Name of a client whose keys are drawn here; repeat for more.")
    ] = None,
    config: ConfigOption = None,
    keystore: KeystoreOption = None,
    passphrase_file: PassphraseFileOption = None,
    passphrase_fd: PassphraseFdOption = None,
    transport: TransportOption = None,
    insecure: InsecureOption = False,
    json: JsonOption = False,
) -> None:
    """Add owners and clients to a tenant while it runs: sign the next version of its configuration.

    The units take it up by themselves. Whoever pinned an earlier version goes on with its settings file.
    """
    from pipeline.enrolling import check_names, parameters_file, publish_next_version
    from pipeline.party_keys import read_public_key, spawn_parties
    from pipeline.settings import SettingsError

    drawn = [(Role.OWNER.value, name) for name in owner or []]
    drawn += [(Role.CLIENT.value, name) for name in client or []]
    if not key and not drawn:
        raise typer.BadParameter("say whom to enroll", param_hint="--key / --owner / --client")
    keys = [read_public_key(path) for path in key or []]
    output = Output(json)
    coming: list[UnitPublicKey] = []

    def newcomers(settings: "Settings", configuration: "Configuration") -> "list[UnitPublicKey]":
        check_names(configuration, [*(one.party.name for one in keys), *(name for _, name in drawn)])
        if not drawn:
            return keys
        sealed_by = passphrase_file or settings.passphrase_file
        if sealed_by is None:
            raise SettingsError("drawing keys here needs a passphrase file: name one with --passphrase-file")
        output.say(f"drawing keys of {len(drawn)} parties, each in its own process")
        file = parameters_file(settings, configuration)
        return [*keys, *spawn_parties(file, settings.keys, sealed_by, drawn)]

    async def publish(signing: "Signing") -> "Configuration":
        coming[:] = await asyncio.to_thread(newcomers, signing.settings, signing.newest)
        return await publish_next_version(*signing.place, coming, (), insecure=insecure)

    version = sign_next_version(
        (keystore, passphrase_file, passphrase_fd), config, transport, publish, insecure=insecure
    )
    parties = [{"name": one.party.name, "role": one.party.role} for one in coming]
    names = ", ".join(f"{party['role']} '{party['name']}'" for party in parties)
    output.say(f"version {version['version']} of the configuration has {names}")
    output.result("enroll", {**version, "parties": parties})


def revoke(
    name: Annotated[list[str], typer.Argument(help="Names of owners and clients.", show_default=False)],
    config: ConfigOption = None,
    keystore: KeystoreOption = None,
    passphrase_file: PassphraseFileOption = None,
    passphrase_fd: PassphraseFdOption = None,
    transport: TransportOption = None,
    insecure: InsecureOption = False,
    json: JsonOption = False,
) -> None:
    """Revoke owners and clients: what they send after the units took it up is refused.

    Chunks that were accepted before stay in the models, and queries are answered. For ever: a name
    that was revoked is not given again.
    """
    from pipeline.enrolling import publish_next_version

    output = Output(json)

    async def publish(signing: "Signing") -> "Configuration":
        return await publish_next_version(*signing.place, (), name, insecure=insecure)

    version = sign_next_version(
        (keystore, passphrase_file, passphrase_fd), config, transport, publish, insecure=insecure
    )
    output.say(f"version {version['version']} of the configuration revokes {', '.join(name)}")
    output.result("revoke", {**version, "revoked": name})


@dataclass(frozen=True, slots=True)
class Signing:
    """What a command of the authority signs with.

    Attributes:
        settings: Of this host.
        transport: Where the topics are, open.
        authority: Its keystore, open.
        newest: The newest version of the configuration.
    """

    settings: "Settings"
    transport: "Transport"
    authority: "Identity"
    newest: "Configuration"

    @property
    def place(self) -> "tuple[Settings, Transport, Identity]":
        """All but the version."""
        return self.settings, self.transport, self.authority


def sign_next_version(
    keys: tuple[Path | None, Path | None, int | None],
    config: Path | None,
    transport_url: str | None,
    publish: "Callable[[Signing], Awaitable[Configuration]]",
    *,
    insecure: bool,
) -> dict[str, Any]:
    """Open the authority's keystore, let a version be published, and return what all such commands tell."""
    from dataclasses import replace

    from pipeline.configurations import fetch_versions
    from pipeline.parties import open_identity
    from pipeline.settings import load_settings, settings_path
    from pipeline.topic_urls import open_transport
    from roles.tenant import configuration_digest

    keystore, passphrase_file, passphrase_fd = keys
    settings = load_settings(settings_path(config))
    if transport_url is not None:
        settings = replace(settings, transport=transport_url)

    async def run() -> dict[str, Any]:
        async with open_transport(settings.transport) as transport:
            versions = await fetch_versions(settings, transport, insecure=insecure)
            authority = open_identity(
                settings,
                versions.first,
                settings.authority,
                Role.AUTHORITY,
                keystore=keystore,
                passphrase_file=passphrase_file,
                passphrase_fd=passphrase_fd,
            )
            version = await publish(Signing(settings, transport, authority, versions.newest))
        return {
            "tenant": version.tenant,
            "version": version.version,
            "configuration_sha256": configuration_digest(version).hex(),
        }

    return run_command(run())
