"""The rules that no single module can keep: who imports whom, how long, how documented, what is forbidden."""

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from crypto.errors import PrivMLError
from schemas.reasons import ReasonCode

ROOT = Path(__file__).parent.parent
PACKAGES = ("crypto", "schemas", "roles", "pipeline")
MODULES = sorted(path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MAX_LINES = 400

# Each line must break the contract of that name, or the contract checks nothing.
FORBIDDEN_IMPORTS = [
    ("layers point downwards", "crypto.offender", "import schemas.codec"),
    ("layers point downwards", "crypto.offender", "from roles import x"),
    ("layers point downwards", "schemas.offender", "import roles.x"),
    ("layers point downwards", "roles.offender", "import pipeline.x"),
    *(
        ("the protocol core does no I/O and reads no clock", f"{package}.offender", f"import {module}")
        for package in ("crypto", "schemas", "roles")
        for module in (
            "asyncio",
            "time",
            "datetime",
            "random",
            "socket",
            "sqlite3",
            "structlog",
            "subprocess",
        )
    ),
    ("gmpy2 lives behind one module", "roles.offender", "import gmpy2"),
    ("gmpy2 lives behind one module", "schemas.offender", "from gmpy2 import mpz"),
    ("gmpy2 lives behind one module", "pipeline.offender", "import gmpy2"),
    ("the roles do not know each other", "roles.master_unit", "import roles.secondary_unit"),
    ("the roles do not know each other", "roles.secondary_unit", "from roles import master_unit"),
    ("the roles do not know each other", "roles.data_owner", "import roles.client"),
    *(
        (
            "the product does not know its benchmarks",
            f"{package}.offender",
            "import benchmarks.baselines.bost",
        )
        for package in ("crypto", "schemas", "roles", "pipeline")
    ),
]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts of pyproject.toml against the packages below `folder`."""
    command = Path(sys.executable).parent / "lint-imports"
    return subprocess.run(
        [command, "--no-cache", "--no-logo", "--config", "pyproject.toml"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "NO_COLOR": "1", "COLUMNS": "200"},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def tiny_tree(tmp_path: Path) -> Path:
    """Return our contracts over four packages of empty modules, named as those the contracts name."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    named = {str(module.with_suffix("")).replace("/", ".") for module in MODULES}
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    mentioned = {
        module
        for contract in contracts
        for value in contract.values()
        if isinstance(value, list)
        for module in value
    }
    for name in {"schemas.codec", "roles.x", "pipeline.x", "crypto.x", *(named & mentioned)}:
        path = tmp_path / (name.replace(".", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for folder in {path.parent for path in tmp_path.rglob("*.py")}:
        (folder / "__init__.py").touch()
    return tmp_path


def test_the_import_contracts_hold() -> None:
    ended = lint_imports(ROOT)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("contract", sorted({contract for contract, _, _ in FORBIDDEN_IMPORTS}))
def test_a_contract_breaks_under_each_forbidden_import(tiny_tree: Path, contract: str) -> None:
    clean = lint_imports(tiny_tree)
    assert clean.returncode == 0, clean.stdout + clean.stderr
    # All forbidden imports at once, since a run takes a while; the report must name each of them.
    added: dict[str, list[str]] = {}
    for name, origin, line in FORBIDDEN_IMPORTS:
        if name == contract:
            added.setdefault(origin, []).append(line)
    for origin, lines in added.items():
        (tiny_tree / (origin.replace(".", "/") + ".py")).write_text("\n".join(lines) + "\n")
    report = lint_imports(tiny_tree)
    assert report.returncode == 1
    assert f"{contract} BROKEN" in report.stdout
    for origin, lines in added.items():
        for number, line in enumerate(lines, start=1):
            assert re.search(rf"{re.escape(origin)} -> .*\(l\.{number}\)", report.stdout), line


def test_every_contract_is_shown_to_break() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert {contract["name"] for contract in contracts} == {name for name, _, _ in FORBIDDEN_IMPORTS}


def imported_names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_gmpy2_is_imported_by_one_module_alone() -> None:
    importers = [
        str(module)
        for module in MODULES
        if "gmpy2" in set(imported_names(ast.parse((ROOT / module).read_text())))
    ]
    assert importers == ["crypto/arithmetic.py"]


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_no_module_draws_unaccounted_randomness_or_unpickles(module: Path) -> None:
    # `secrets` and the OS are for seeds and keys; all else comes from coins (docs/protocols.md, section 8).
    text = (ROOT / module).read_text()
    forbidden = {"random", "pickle", "marshal", "shelve", "multiprocessing", "Crypto"}
    assert not {name.split(".")[0] for name in imported_names(ast.parse(text))} & forbidden
    assert not re.search(r"\b(np|numpy)\.random\b", text)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_modules_are_short(module: Path) -> None:
    assert len((ROOT / module).read_text().splitlines()) <= MAX_LINES


def undocumented(tree: ast.Module) -> Iterator[str]:
    """Yield the public classes and functions without a docstring; what is nested in a function is private."""
    waiting: list[ast.Module | ast.ClassDef] = [tree]
    if not ast.get_docstring(tree):
        yield "the module"
    while waiting:
        for node in waiting.pop().body:
            if not isinstance(
                node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
            ) or node.name.startswith("_"):
                continue
            is_overload = any("overload" in ast.unparse(mark) for mark in node.decorator_list)
            if not ast.get_docstring(node) and not is_overload:
                yield node.name
            if isinstance(node, ast.ClassDef):
                waiting.append(node)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_every_public_name_has_a_docstring(module: Path) -> None:
    assert not list(undocumented(ast.parse((ROOT / module).read_text())))


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_what_it_knows_and_where_to_start(package: str) -> None:
    docstring = ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text()))
    assert docstring is not None
    docstring = " ".join(docstring.lower().split())
    assert "must not know" in docstring or "knows no" in docstring
    assert "start with" in docstring or "start there" in docstring


def test_modules_are_not_named_after_nothing() -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "handler", "data", "info"}
    assert not [str(module) for module in MODULES if module.stem in vague]


def all_errors(base: type[PrivMLError]) -> Iterator[type[PrivMLError]]:
    yield base
    for derived in base.__subclasses__():
        yield from all_errors(derived)


def test_every_error_carries_a_listed_reason_code() -> None:
    for module in MODULES:
        if module.name != "__main__.py":
            importlib.import_module(".".join(module.with_suffix("").parts).removesuffix(".__init__"))
    own = [error for error in all_errors(PrivMLError) if error.__module__.split(".")[0] in PACKAGES]
    assert len(own) > 10
    listed = {code.value for code in ReasonCode}
    assert {error.__qualname__: error.code for error in own if error.code not in listed} == {}


def text_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    # A source archive has no history; there, everything in the folders is the project.
    names = listed.stdout.split("\0") if listed.returncode == 0 else [str(module) for module in MODULES]
    found = [ROOT / name for name in names if name]
    return [path for path in found if path.is_file() and b"\0" not in path.read_bytes()[:8192]]


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    # Put together here, so that this file does not find itself.
    homes = ("root", "home/[a-z]+", "Users/[A-Za-z]+", "work", "opt/dev")
    machine_path = re.compile(r"(?<![\w.~$}/-])/(" + "|".join(homes) + r")/\w")
    private_index = re.compile(
        r"--(extra-)?index-url|find-links\s*=|/simple/|artifactory|devpi", re.IGNORECASE
    )
    offenders = []
    for path in text_files():
        if path == Path(__file__) or path.name == "LICENSE":
            continue
        text = path.read_text(errors="replace")
        offenders += [
            f"{path.name}: {m.group()}" for m in (machine_path.search(text), private_index.search(text)) if m
        ]
    assert not offenders


def test_there_are_no_unfinished_marks_in_the_sources() -> None:
    mark = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")
    assert not [str(module) for module in MODULES if mark.search((ROOT / module).read_text())]
