"""`privml replay` refuses options that cannot be meant before it looks at anything."""

from pathlib import Path

import pytest

from pipeline.commands.main import main
from schemas.reasons import ExitCode


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--data", "a.csv"], "--data"),
        (["--data", "=a.csv"], "--data"),
        (["--data", "a="], "--data"),
        (["--keep", "kept"], "--keep"),
        (["--data", "a=a.csv", "--keep", "."], "--keep"),
        (["--chunks", "all"], "--chunks"),
        (["--speed", "slow"], "--speed"),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage(
    options: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(tmp_path / "missing.toml")
    with pytest.raises(SystemExit) as ended:
        main(["replay", "--config", config, "--to", f"log:{tmp_path / 'to'}", *options])
    assert ended.value.code == ExitCode.USAGE
    assert named in capsys.readouterr().err
    assert not (tmp_path / "to").exists()
