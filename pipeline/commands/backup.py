"""`privml backup` and `privml restore`: one party's keystore and state as one encrypted file."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.options import (
    ConfigOption,
    KeystoreOption,
    PassphraseFdOption,
    PassphraseFileOption,
    TransportOption,
)
from pipeline.commands.output import JsonOption, Output
from pipeline.commands.running import run_command

FileArgument = Annotated[Path, typer.Argument(help="The backup.", show_default=False)]
PartyOption = Annotated[str, typer.Option("--party", help="Name of the party in the configuration.")]


def backup(
    file: FileArgument,
    party: PartyOption,
    config: ConfigOption = None,
    keystore: KeystoreOption = None,
    passphrase_file: PassphraseFileOption = None,
    passphrase_fd: PassphraseFdOption = None,
    json: JsonOption = False,
) -> None:
    """Write a party's keystore and state into one file, sealed under its passphrase.

    The party must not run meanwhile.
    """
    from pipeline.backup import make_backup
    from pipeline.settings import load_settings, settings_path

    settings = load_settings(settings_path(config))
    passphrase = settings.passphrase(passphrase_file, passphrase_fd)
    header = make_backup(settings, keystore or settings.keystore(party), file, passphrase)
    output = Output(json)
    output.say(f"backup of {header.role} '{header.party}' is in {file}")
    output.result(
        "backup",
        {"role": header.role, "name": header.party, "file": str(file), "bytes": file.stat().st_size},
    )


def restore(
    file: FileArgument,
    config: ConfigOption = None,
    keystore: KeystoreOption = None,
    passphrase_file: PassphraseFileOption = None,
    passphrase_fd: PassphraseFdOption = None,
    transport: TransportOption = None,
    json: JsonOption = False,
) -> None:
    """Put a party's keystore and state back; nothing that exists is replaced."""
    from pipeline.backup import open_backup
    from pipeline.backup import restore as put_back
    from pipeline.settings import load_settings, settings_path
    from pipeline.topic_urls import open_transport

    settings = load_settings(settings_path(config))
    opened = open_backup(settings, file, settings.passphrase(passphrase_file, passphrase_fd))
    header = opened.header

    async def run() -> list[Path]:
        async with open_transport(transport or settings.transport) as topics:
            return await put_back(settings, topics, keystore or settings.keystore(header.party), opened)

    written = run_command(run())
    output = Output(json)
    output.say(f"{header.role} '{header.party}' is back: {len(written)} files")
    output.result(
        "restore",
        {"role": header.role, "name": header.party, "files": [str(path) for path in written]},
    )
