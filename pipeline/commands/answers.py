"""`privml client answers`: the answers to a client's own queries, as they come."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.commands.log_format import LogFormatOption, start_logs
from pipeline.commands.options import (
    ConfigOption,
    KeystoreOption,
    PassphraseFdOption,
    PassphraseFileOption,
    TransportOption,
)
from pipeline.commands.output import JsonOption, Output
from pipeline.commands.running import run_service
from schemas.topics import Role

if TYPE_CHECKING:
    from pipeline.answer_feed import OwnAnswer
    from pipeline.settings import Settings
    from roles.tenant import Tenant


def book_of(settings: "Settings", client: str) -> Path:
    """Return where a client on this host remembers its queries."""
    return settings.state / f"queries-{client}.sqlite"


def add_answers(app: typer.Typer) -> None:
    """Add the command to the client's group."""

    def answers(
        client: Annotated[str, typer.Option("--client", help="Name of the client in the configuration.")],
        again: Annotated[
            bool, typer.Option("--all", help="Also answers that a command has shown before.")
        ] = False,
        once: Annotated[
            bool, typer.Option("--once", help="Show what is there now, and do not wait for more.")
        ] = False,
        config: ConfigOption = None,
        keystore: KeystoreOption = None,
        passphrase_file: PassphraseFileOption = None,
        passphrase_fd: PassphraseFdOption = None,
        transport: TransportOption = None,
        log_format: LogFormatOption = None,
        json: JsonOption = False,
    ) -> None:
        """Show the answers to queries that this client has asked from this host, as they come.

        Those that no command has shown yet come first: `predict` may have been interrupted, or have
        waited in vain.
        """
        from pipeline.settings import load_settings, settings_path

        start_logs(log_format, Role.CLIENT, json=json)
        settings = load_settings(settings_path(config))
        if transport is not None:
            settings = replace(settings, transport=transport)
        keys = keystore, passphrase_file, passphrase_fd
        showing = _answers(settings, client, keys, again=again, once=once, output=Output(json))
        run_service(showing)

    app.command()(answers)


async def _answers(
    settings: "Settings",
    client: str,
    keys: tuple[Path | None, Path | None, int | None],
    *,
    again: bool,
    once: bool,
    output: Output,
) -> None:
    from contextlib import aclosing, closing

    from pipeline.answer_feed import AnswerFeed
    from pipeline.configurations import fetch_sending_tenant
    from pipeline.parties import open_identity
    from pipeline.query_book import QueryBook
    from pipeline.topic_urls import open_transport

    keystore, passphrase_file, passphrase_fd = keys
    async with open_transport(settings.transport) as transport:
        tenant = await fetch_sending_tenant(settings, transport)
        identity = open_identity(
            settings,
            tenant,
            client,
            Role.CLIENT,
            keystore=keystore,
            passphrase_file=passphrase_file,
            passphrase_fd=passphrase_fd,
        )
        with closing(QueryBook(book_of(settings, client))) as book:
            feed = AnswerFeed(transport, tenant, identity.weak_key(tenant), book)
            async with aclosing(feed.answers(again=again, wait=not once)) as answers:
                async for answer in answers:
                    fields = _fields(tenant, answer)
                    output.result("answers", fields)
                    output.document(_text(fields))


def _fields(tenant: "Tenant", answer: "OwnAnswer") -> dict[str, Any]:
    from roles.learners import learner_of

    asked, opened, reason = answer.asked, answer.opened, answer.reason
    learner = learner_of(tenant, tenant.model(asked.model_id))
    names = (*tenant.schema.label.labels, "invalid")
    rows = None
    if opened is not None:
        scores: Sequence[Sequence[int] | None] = opened.scores or [None] * asked.rows
        rows = [
            {"label": names[label], "scores": None if told is None else learner.readable_scores(told)}
            for label, told in zip(opened.labels, scores, strict=True)
        ]
    return {
        "query_id": asked.query_id.hex(),
        "model": asked.model_id,
        "model_version": answer.model_version,
        "rows": asked.rows,
        "answers": rows,
        "error": None
        if reason is None
        else {"code": str(reason), "message": reason.meaning, "hint": reason.hint},
    }


def _text(fields: dict[str, Any]) -> str:
    told = fields["error"]["code"] if fields["error"] else " ".join(row["label"] for row in fields["answers"])
    return f"{fields['query_id']}\t{told}"
