"""`privml demo`: the whole of it on one machine, from one CSV file."""

import json as json_codec
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.commands.output import JsonOption, Output, console
from schemas.reasons import ExitCode

if TYPE_CHECKING:
    from pipeline.demo_data import DemoTable

MAX_RECORDS = 1 << 24


def demo(
    data: Annotated[
        Path | None,
        typer.Option(help="CSV file. [default: scikit-learn's breast cancer set]", show_default=False),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Class column. [default: the last column]", show_default=False)
    ] = None,
    owners: Annotated[int, typer.Option(min=1, max=100, help="Data owners.")] = 3,
    chunk_size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Records per chunk. [default: 500, or fewer if the model asks it]", show_default=False
        ),
    ] = None,
    queries: Annotated[int, typer.Option(min=1, help="Test rows to ask, at most.")] = 100,
    classifier: Annotated[
        str,
        typer.Option(
            help="nb (naive Bayes), lr (logistic regression) or dt (Hoeffding tree), with parameters if "
            "you like: lr:passes=2. `privml authority classifiers` lists them."
        ),
    ] = "nb",
    profile: Annotated[
        str, typer.Option(help="standard (3072 bits), legacy (2048); toy (512) only with --insecure.")
    ] = "standard",
    insecure: Annotated[bool, typer.Option("--insecure", help="Allow profiles below the standard.")] = False,
    seed: Annotated[int, typer.Option(help="Fixes split, shuffle and owners; never keys.")] = 0,
    bins: Annotated[int, typer.Option(min=2, max=256, help="Bins of a numeric column, at most.")] = 10,
    keep: Annotated[
        Path | None, typer.Option(help="Keep everything in this folder, which must not exist.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Train on encrypted chunks of several owners and ask private questions, all on this machine.

    Authority, master unit, secondary unit, owners and client run as processes of their own on an
    embedded log. Every answer is compared with the same arithmetic in the clear.
    """
    output = Output(json)
    if keep is not None and keep.exists():
        raise typer.BadParameter("the folder exists already", param_hint="--keep")
    from pipeline.dealer import known_profile

    if known_profile(profile).insecure and not insecure:
        raise typer.BadParameter(f"profile '{profile}' is for trials; add --insecure", param_hint="--profile")
    table = _table(data)
    label = label or table.columns[-1]
    if label not in table.columns:
        raise typer.BadParameter(f"no column '{label}' in the data", param_hint="--label")

    from pipeline.demo import DemoOptions

    options = DemoOptions(label, owners, chunk_size, classifier, profile, insecure, seed, queries, bins)
    if keep is not None:
        report = _run(table, options, keep, keep, output)
    else:
        with tempfile.TemporaryDirectory(prefix="privml-demo-") as folder:
            report = _run(table, options, Path(folder), None, output)
    output.result("demo", report)
    _print(report)
    if report["twin_agreement"] < 1:
        output.say("encrypted and plaintext answers differ: this is a bug")
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _table(data: Path | None) -> "DemoTable":
    from pipeline.demo_data import load_breast_cancer, load_csv_table

    if data is not None:
        return load_csv_table(data)
    try:
        return load_breast_cancer()
    except ImportError:
        raise typer.BadParameter(
            "the bundled data set needs scikit-learn: install privml[demo], or name a file",
            param_hint="--data",
        ) from None


def _run(table: "DemoTable", options: Any, folder: Path, kept: Path | None, output: Output) -> dict[str, Any]:
    from pipeline.demo import run_demo
    from pipeline.demo_report import demo_report

    run = run_demo(table, options, folder, output.say)
    report = demo_report(table, options, run, MAX_RECORDS, kept)
    text = json_codec.dumps({"schema": "privml.demo/1", **report}, indent=2)
    (folder / "demo.json").write_text(text + "\n", encoding="utf-8")
    return report


def _print(report: dict[str, Any]) -> None:
    from rich.table import Table

    terminal = console()
    power = report["pm_seconds"]
    rows = [
        ("answers equal to the plaintext twin's", f"{report['twin_agreement']:.1%}"),
        (
            "accuracy",
            f"{report['accuracy']:.4f}  (twin {report['twin_accuracy']:.4f}, "
            f"scikit-learn {_number(report['sklearn_accuracy'])})",
        ),
        ("set-up", _seconds(report["keygen_seconds"], power)),
        ("owners' encryption, CPU", _seconds(report["owner_encrypt_seconds"], power)),
        (
            f"training, {report['chunks']} chunks, {report['rows_trained']} records",
            _seconds(report["train_seconds"], power),
        ),
        ("refresh", _seconds(report["refresh_seconds"], power)),
        ("a question alone, median", _seconds(report["query_seconds_median"], power)),
        ("a question in a batch", _seconds(report["query_batch_seconds_each"], power)),
        ("between the units", _bytes(report["bytes_mu_su"])),
        ("owners to MU", _bytes(report["bytes_owner_to_mu"])),
        ("client", _bytes(report["bytes_client"])),
        ("peak memory MU / SU", " / ".join(_bytes(report["peak_rss_bytes"][role]) for role in ("mu", "su"))),
        ("rejected, dead letters", f"{report['rejected']}, {report['dead_letters']}"),
    ]
    figures = Table("what", "figure", title=f"{report['data']['name']}, {report['modulus_bits']} bits")
    for row in rows:
        figures.add_row(*row)
    terminal.print(figures)
    views = Table("who", "read from", "kind", "messages", "bytes", title="what each party saw")
    for view in report["views"]:
        views.add_row(
            view["party"], view["topic"], view["kind"], str(view["messages"]), _bytes(view["bytes"])
        )
    terminal.print(views)
    terminal.print("MU and SU saw ciphertexts, masked values and shares only; see docs/security.md.")


def _number(value: float | None) -> str:
    return "not installed" if value is None else f"{value:.4f}"


def _seconds(value: float | None, power: float) -> str:
    if value is None:
        return "none"
    return f"{value:.3f} s  ({value / power:.3g} PM)"


def _bytes(size: int) -> str:
    return f"{size / 1e6:.2f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
