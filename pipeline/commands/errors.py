"""`privml errors`: every reason code with its meaning, what to do, and the exit code it leads to."""

from pipeline.commands.output import JsonOption, Output
from schemas.reasons import ReasonCode


def errors(json: JsonOption = False) -> None:
    """List the reason codes: what each means and what to do about it."""
    output = Output(json)
    output.result(
        "errors",
        {
            "codes": [
                {
                    "code": reason.value,
                    "meaning": reason.meaning,
                    "hint": reason.hint,
                    "exit_code": int(reason.exit_code),
                }
                for reason in ReasonCode
            ]
        },
    )
    for reason in ReasonCode:
        output.document(f"{reason.value} (exit code {int(reason.exit_code)})")
        output.document(f"  {reason.meaning}\n  {reason.hint}")
