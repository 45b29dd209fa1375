"""`privml client predict` (alias `privml predict`): private answers for the rows of a file."""

import asyncio
import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
from schemas.reasons import ExitCode
from schemas.topics import Role

if TYPE_CHECKING:
    from pipeline.csv_input import QueryRow
    from pipeline.settings import Settings

app = typer.Typer(no_args_is_help=True, help="A client: ask for labels that only it can read.")
add_keygen(app, Role.CLIENT)


@app.command()
def predict(
    file: Annotated[
        Path, typer.Argument(help="CSV file with the schema's columns; a label column is ignored.")
    ],
    client: Annotated[str, typer.Option("--client", help="Name of the client in the configuration.")],
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
    output = Output(json)
    lines = asyncio.run(
        _predict(
            file,
            client,
            model,
            settings,
            (keystore, passphrase_file, passphrase_fd),
            rows_per_query=rows_per_query,
            timeout_seconds=timeout,
            scores=scores,
            output=output,
        )
    )
    if out is not None:
        with out.open("w", newline="", encoding="utf-8") as target:
            writer = csv.writer(target)
            writer.writerow(["row", "label"])
            writer.writerows([line["row"], line.get("label", "")] for line in lines)
    elif not json:
        for line in lines:
            failed = line.get("error")
            output.document(f"{line['row']}\t{failed['code'] if failed else line['label']}")
    if any("error" in line for line in lines):
        raise typer.Exit(ExitCode.BAD_INPUT)


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
    output: Output,
) -> list[dict[str, Any]]:
    from crypto.plaintext_proof import table_bits
    from pipeline.client_service import ClientService
    from pipeline.csv_input import read_query_file
    from pipeline.meter import Meter
    from pipeline.parties import fetch_tenant, open_identity
    from pipeline.topic_urls import open_transport
    from roles.chunk_encodings import WORDS
    from roles.encoding import collect_records
    from roles.learners import learner_of

    keystore, passphrase_file, passphrase_fd = keys
    loop = asyncio.get_running_loop()
    started = loop.time()
    printed: list[dict[str, Any]] = []
    async with open_transport(settings.transport) as transport:
        tenant = await fetch_tenant(settings, transport)
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
        service = ClientService(transport, tenant, identity.weak_key(tenant), publisher, meter)
        ciphertexts = sum(layout.ciphertexts for layout in learner.query_layouts(size))
        await asyncio.to_thread(
            tenant.service_key.prepare, 6, table_bits(tenant.parameters.profile, ciphertexts)
        )
        await service.open(model)
        words = WORDS in learner.query_encodings
        rows = await asyncio.to_thread(lambda: list(read_query_file(file, tenant.schema, words=words)))
        labels = (*tenant.schema.label.labels, "invalid")
        with progress() as bar:
            task = bar.add_task("asking", total=len(rows))
            for block in _blocks(rows, size):
                lines = {row.row: _refused(row) for row in block if row.indices is None}
                asked = [row for row in block if row.indices is not None]
                if asked:
                    records = collect_records(
                        [row.indices or () for row in asked],
                        words=[row.words or () for row in asked] if words else None,
                    )
                    answer = await service.ask(learner, records, timeout_seconds, scores=scores)
                    for place, (row, label) in enumerate(zip(asked, answer.labels, strict=True)):
                        told = None if answer.scores is None else answer.scores[place]
                        lines[row.row] = {
                            "row": row.row,
                            "label": labels[label],
                            "scores": None if told is None else learner.readable_scores(told),
                            "query_id": answer.query_id.hex(),
                            "model_version": answer.model_version,
                            "seconds": answer.seconds,
                        }
                for asked_row in block:
                    printed.append(lines[asked_row.row])
                    output.result("predict", lines[asked_row.row])
                bar.advance(task, len(block))
        failed = sum("error" in line for line in printed)
        output.result(
            "predict",
            {
                "summary": {
                    "rows": len(printed),
                    "answered": len(printed) - failed,
                    "failed": failed,
                    "seconds": loop.time() - started,
                },
                "meter": meter.summary(),
            },
        )
    return printed


def _blocks(rows: list["QueryRow"], size: int) -> Iterator[list["QueryRow"]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _refused(row: "QueryRow") -> dict[str, Any]:
    error = row.error
    if error is None:
        raise ValueError("a row without indices has an error")
    sys.stderr.write(f"privml: {error}\n")
    return {
        "row": row.row,
        "error": {
            "code": str(error.code),
            "message": error.args[0],
            "hint": error.hint,
            "file": error.file,
            "line": error.line,
            "column": error.column,
        },
    }
