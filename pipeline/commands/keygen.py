"""`keygen` of every role, and `exchange-key` of the units: nobody but a party sees its keys."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.output import JsonOption, Output
from schemas.topics import Role


def add_keygen(app: typer.Typer, role: Role) -> None:
    """Add the command to a role's group."""

    def keygen(
        parameters: Annotated[Path, typer.Option(help="The tenant's public parameters.")],
        keystore: Annotated[Path, typer.Option(help="Where the secrets go; must not exist.")],
        public: Annotated[Path, typer.Option(help="Where the public key goes, for the authority.")],
        passphrase_file: Annotated[Path, typer.Option(help="File whose first line is the passphrase.")],
        name: Annotated[str | None, typer.Option(help="The party's name. [default: its role]")] = None,
        json: JsonOption = False,
    ) -> None:
        """Draw this party's keys: secrets into its keystore, the public part into a file."""
        from pipeline.party_keys import make_party
        from pipeline.passphrase import Passphrase

        party_name = name or role.value
        make_party(
            parameters, role.value, party_name, keystore, public, Passphrase.from_file(passphrase_file)
        )
        output = Output(json)
        output.say(f"keys of {role.value} '{party_name}' are in {keystore}")
        output.result("keygen", {"role": role.value, "name": party_name, "public": str(public)})

    app.command("keygen")(keygen)


def add_exchange_key(app: typer.Typer, role: Role) -> None:
    """Add the command to a unit's group."""

    def exchange_key(
        tenant: Annotated[str, typer.Option(help="Name of the tenant.")],
        keystore: Annotated[Path, typer.Option(help="Where the secret goes; must not exist.")],
        public: Annotated[Path, typer.Option(help="Where the public key goes, for the dealer.")],
        passphrase_file: Annotated[Path, typer.Option(help="File whose first line is the passphrase.")],
        name: Annotated[str | None, typer.Option(help="The party's name. [default: its role]")] = None,
        json: JsonOption = False,
    ) -> None:
        """Draw the key to which the dealer seals this unit's share of the strong key.

        Only where owners shall have keys of their own, and before the parameters are made. `keygen`
        adds the other keys to the same keystore.
        """
        from pipeline.passphrase import Passphrase
        from pipeline.share_hand_over import make_exchange_key

        party_name = name or role.value
        passphrase = Passphrase.from_file(passphrase_file)
        make_exchange_key(tenant, role.value, party_name, keystore, public, passphrase)
        output = Output(json)
        output.say(
            f"the exchange key of {role.value} '{party_name}' is in {keystore}; hand {public} to the dealer"
        )
        output.result("keygen", {"role": role.value, "name": party_name, "public": str(public)})

    app.command("exchange-key")(exchange_key)
