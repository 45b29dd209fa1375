"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", help="Settings file. [default: $PRIVML_CONFIG or ./privml.toml]", show_default=False
    ),
]
KeystoreOption = Annotated[
    Path | None,
    typer.Option("--keystore", help="The party's keystore. [default: from the settings]", show_default=False),
]
PassphraseFileOption = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        help="File whose first line is the passphrase. [default: from the settings]",
        show_default=False,
    ),
]
PassphraseFdOption = Annotated[
    int | None, typer.Option("--passphrase-fd", help="Open descriptor to read the passphrase from instead.")
]
TransportOption = Annotated[
    str | None,
    typer.Option(
        "--transport", help="Where the topics are: log:DIR. [default: from the settings]", show_default=False
    ),
]
MetricsOption = Annotated[
    str | None,
    typer.Option(
        "--metrics",
        metavar="HOST:PORT",
        help="Serve /metrics, /healthz and /readyz there, without login. [default: nowhere]",
        show_default=False,
    ),
]
InsecureOption = Annotated[
    bool, typer.Option("--insecure", help="Allow profiles below the standard; for trials only.")
]
