import importlib
import pkgutil

import pytest

import crypto
import pipeline
import roles
import schemas
from crypto.errors import PrivMLError
from schemas.reasons import ExitCode, ReasonCode, reasons


def subclasses(base: type[PrivMLError]) -> set[type[PrivMLError]]:
    return {base}.union(*(subclasses(child) for child in base.__subclasses__()))


def test_every_code_is_explained() -> None:
    assert list(reasons()) == list(ReasonCode)
    for code, reason in reasons().items():
        assert code.value == code.name.lower()
        assert (reason.meaning, reason.hint, reason.exit_code) == (code.meaning, code.hint, code.exit_code)
        for sentence in (reason.meaning, reason.hint):
            assert sentence.endswith(".")
            assert "\n" not in sentence


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("check_failed", 1),
        ("usage", 2),
        ("unknown_category", 3),
        ("wrong_passphrase", 4),
        ("invalid_config", 4),
        ("timeout", 5),
        ("transport_unreachable", 5),
        ("bad_proof", 6),
        ("not_enough_records", 6),
        ("storage_full", 7),
        ("log_rolled_back", 7),
        ("internal_error", 70),
    ],
)
def test_codes_end_commands_as_promised(code: str, exit_code: int) -> None:
    assert ReasonCode(code).exit_code == exit_code
    assert exit_code in list(ExitCode)


def test_every_error_has_a_code_of_the_list() -> None:
    for package in (crypto, schemas, roles, pipeline):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    for error in subclasses(PrivMLError):
        if error.__module__.startswith("tests."):
            continue
        assert error.code in list(ReasonCode), error
