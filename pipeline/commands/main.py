"""The command `privml`: every command is registered here and runs inside `command_errors`."""

import sys
from collections.abc import Sequence
from importlib.metadata import version as installed_version
from typing import Annotated

import typer

from pipeline.commands.acl import app as acl_app
from pipeline.commands.audit import audit
from pipeline.commands.authority import app as authority_app
from pipeline.commands.backup import backup, restore
from pipeline.commands.client import app as client_app
from pipeline.commands.client import predict
from pipeline.commands.demo import demo
from pipeline.commands.doctor import doctor
from pipeline.commands.errors import errors
from pipeline.commands.estimate import estimate
from pipeline.commands.inspect import app as inspect_app
from pipeline.commands.output import Output, command_errors
from pipeline.commands.owner import app as owner_app
from pipeline.commands.replay import replay
from pipeline.commands.schema import app as schema_app
from pipeline.commands.status import status
from pipeline.commands.topics import app as topics_app
from pipeline.commands.units import mu_app, su_app
from schemas.reasons import ExitCode

app = typer.Typer(
    name="privml",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def privml(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    json: Annotated[bool, typer.Option("--json", hidden=True)] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="If it fails, print where: files and lines, no values.")
    ] = False,
) -> None:
    """Train one classifier on the encrypted data of several owners.

    Research code, not audited. The two units must be run by parties that do not collude.
    """
    if version:
        output = Output(json)
        output.result("version", {"version": installed_version("privml")})
        output.document(f"privml {installed_version('privml')}")
        raise typer.Exit
    if context.invoked_subcommand is None and not json:
        typer.echo(context.get_help())
        raise typer.Exit(ExitCode.USAGE)
    if json:
        raise typer.BadParameter("--json follows the name of the command")


app.command()(demo)
app.add_typer(schema_app, name="schema")
app.add_typer(authority_app, name="authority")
app.add_typer(mu_app, name="mu")
app.add_typer(su_app, name="su")
app.add_typer(owner_app, name="owner")
app.add_typer(client_app, name="client")
app.command()(predict)
app.add_typer(inspect_app, name="inspect")
app.add_typer(topics_app, name="topics")
app.add_typer(acl_app, name="acl")
app.command()(status)
app.command()(doctor)
app.command()(estimate)
app.command()(audit)
app.command()(replay)
app.command()(backup)
app.command()(restore)
app.command()(errors)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Without the program's name; those of the process by default.

    Returns:
        The exit code, where the command did not fail.

    Raises:
        SystemExit: With the exit code of the failure, which was printed.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = given[: given.index("--")] if "--" in given else given
    # Looked up by hand, since errors of parsing are to be printed as JSON too.
    with command_errors(json="--json" in options, debug="--debug" in options):
        command = typer.main.get_command(app)
        try:
            # Not `app()`: that maps errors and signals to exit codes of its own.
            with command.make_context("privml", given) as context:
                command.invoke(context)
        except typer.Exit as ending:
            return ending.exit_code
    return ExitCode.DONE
