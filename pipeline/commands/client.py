"""`privml client predict` (alias `privml predict`): private answers for the rows of a file."""

import asyncio
import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.commands.answers import add_answers, book_of
from pipeline.commands.keygen import add_keygen
from pipeline.commands.log_format import LogFormatOption, start_logs
from pipeline.commands.options import (
    ConfigOption,
    KeystoreOption,
    PassphraseFdOption,
    PassphraseFileOption,
    TransportOption,
)
from pipeline.commands.output import JsonOption, Output, progress
from pipeline.commands.running import run_command, run_service
from schemas.reasons import ExitCode
from schemas.topics import Role

if TYPE_CHECKING:
    from pipeline.settings import Settings

app = typer.Typer(no_args_is_help=True, help="A client: ask for labels that only it can read.")
add_keygen(app, Role.CLIENT)
add_answers(app)


@app.command()
def predict(
    file: Annotated[
        Path,
        typer.Argument(help="CSV file with the schema's columns, - for stdin; a label column is ignored."),
    ],
    client: Annotated[str, typer.Option("--client", help="Name of the client in the configuration.")],
    follow: Annotated[
        bool, typer.Option("--follow", help="Ask for rows as they are added to the file, until interrupted.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Write row and label to this CSV file.")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for an answer.")] = 60.0,
    rows_per_query: Annotated[
        int | None,
        typer.Option(min=1, help="Rows per query message. [default: the tenant's limit]", show_default=False),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model to ask. [default: the tenant's first]", show_default=False)
    ] = None,
    scores: Annotated[
        bool, typer.Option("--scores", help="Ask for probabilities as well, where the model has them.")
    ] = False,
    config: ConfigOption = None,
    keystore: KeystoreOption = None,
    passphrase_file: PassphraseFileOption = None,
    passphrase_fd: PassphraseFdOption = None,
    transport: TransportOption = None,
    log_format: LogFormatOption = None,
    json: JsonOption = False,
) -> None:
    """Ask for the label of every row; prints them in the input's order.

    The units learn how many rows were asked and when, not the rows and not the labels. Rows of one
    query message share its cost: fewer, larger messages are cheaper.
    """
    from dataclasses import replace

    from pipeline.settings import load_settings, settings_path

    start_logs(log_format, Role.CLIENT, json=json)
    if out is not None and not out.parent.is_dir():
        raise typer.BadParameter("its folder does not exist", param_hint="--out")
    settings = load_settings(settings_path(config))
    if transport is not None:
        settings = replace(settings, transport=transport)
    printing = _Printing(Output(json), out, follow=follow)
    asking = _predict(
        file,
        client,
        model,
        settings,
        (keystore, passphrase_file, passphrase_fd),
        rows_per_query=rows_per_query,
        timeout_seconds=timeout,
        scores=scores,
        printing=printing,
    )
    if follow:
        run_service(asking)
    else:
        run_command(asking)
    printing.end()
    if printing.failed:
        raise typer.Exit(ExitCode.BAD_INPUT)


class _Printing:
    """Where the lines of one call go: as they come where rows are followed, text and file else at the end."""

    def __init__(self, output: Output, out: Path | None, *, follow: bool) -> None:
        self.output = output
        self.follow = follow
        self.rows = 0
        self.failed = 0
        self._out = out
        self._lines: list[dict[str, Any]] = []
        self._begun = False

    def block(self, lines: list[dict[str, Any]]) -> None:
        """Take the lines of a block."""
        for line in lines:
            self.rows += 1
            self.output.result("predict", line)
            if (error := line.get("error")) is not None:
                self.failed += 1
                place = error["file"] if error["line"] is None else f"{error['file']}:{error['line']}"
                self.output.say(f"privml: {place}: {error['message']} ({error['hint']})")
        if self.follow:
            self._write(lines)
        else:
            self._lines += lines

    def end(self) -> None:
        """Write what is still held."""
        self._write(self._lines)

    def _write(self, lines: list[dict[str, Any]]) -> None:
        if self._out is not None:
            with self._out.open("a" if self._begun else "w", newline="", encoding="utf-8") as target:
                writer = csv.writer(target)
                if not self._begun:
                    writer.writerow(["row", "label"])
                writer.writerows([line["row"], line.get("label", "")] for line in lines)
            self._begun = True
            return
        for line in lines:
            failed = line.get("error")
            self.output.document(f"{line['row']}\t{failed['code'] if failed else line['label']}")
        if self.follow:
            sys.stdout.flush()


async def _predict(
    file: Path,
    client: str,
    model_id: str | None,
    settings: "Settings",
    keys: tuple[Path | None, Path | None, int | None],
    *,
    rows_per_query: int | None,
    timeout_seconds: float,
    scores: bool,
    printing: _Printing,
) -> None:
    from contextlib import aclosing, closing

    from crypto.plaintext_proof import table_bits
    from pipeline.client_service import ClientService
    from pipeline.configurations import fetch_key_epoch, fetch_sending_tenant
    from pipeline.meter import Meter
    from pipeline.parties import open_identity
    from pipeline.query_book import QueryBook
    from pipeline.row_asking import RowAsker
    from pipeline.topic_urls import open_transport
    from roles.learners import learner_of

    keystore, passphrase_file, passphrase_fd = keys
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with open_transport(settings.transport) as transport:
        tenant = await fetch_sending_tenant(settings, transport)
        model = model_id or tenant.configuration.models[0].model_id
        learner = learner_of(tenant, tenant.model(model))
        identity = open_identity(
            settings,
            tenant,
            client,
            Role.CLIENT,
            keystore=keystore,
            passphrase_file=passphrase_file,
            passphrase_fd=passphrase_fd,
        )
        meter = Meter()
        limit = tenant.configuration.limits.max_query_rows
        size = min(rows_per_query or limit, limit)
        publisher = identity.publisher(tenant, transport)
        key = identity.weak_key(tenant)
        ciphertexts = sum(layout.ciphertexts for layout in learner.query_layouts(size))
        await asyncio.to_thread(
            tenant.service_key.prepare, 6, table_bits(tenant.parameters.profile, ciphertexts)
        )
        with closing(QueryBook(book_of(settings, client))) as book, progress() as bar:
            asks = ClientService(
                *(transport, tenant, key, publisher, meter),
                book=book,
                key_epoch=lambda: fetch_key_epoch(settings, transport),
            )
            await asks.open(model)
            asker = RowAsker(asks, learner, timeout_seconds, scores=scores)
            task = bar.add_task("asking", total=None)
            try:
                async with aclosing(asker.blocks(file, size, follow=printing.follow)) as blocks:
                    async for block in blocks:
                        printing.block(await asker.lines(block))
                        bar.advance(task, len(block))
            except asyncio.CancelledError:
                # Following ends when it is interrupted; an answer under way is for `privml client answers`.
                if not printing.follow:
                    raise
        printing.output.result(
            "predict",
            {
                "summary": {
                    "rows": printing.rows,
                    "answered": printing.rows - printing.failed,
                    "failed": printing.failed,
                    "seconds": loop.time() - started,
                },
                "meter": meter.summary(),
            },
        )
