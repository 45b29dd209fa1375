"""What is installed is exactly the project, and the lock file is the same on every machine."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {"crypto", "pipeline", "roles", "schemas"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel as an installer does."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (built,) = folder.glob("*.whl")
    return built


def tracked_sources() -> set[str]:
    return {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_the_four_packages_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    own = {name for name in names if ".dist-info/" not in name}
    assert own == tracked_sources()
    assert {name.split("/")[0] for name in own} == PACKAGES
    assert {f"{package}/py.typed" for package in PACKAGES} <= own
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


@pytest.mark.slow
def test_the_wheel_works_from_any_folder_without_the_sources(wheel: Path, tmp_path: Path) -> None:
    # The dependencies are borrowed from this environment, so that no network is needed. Only the
    # project itself must not come along, or its sources would be tested instead of the wheel.
    target = tmp_path / "installed"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", target, wheel],
        check=True,
        timeout=120,
    )
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True, timeout=120)
    site = Path(sysconfig.get_path("purelib", scheme="venv", vars={"base": str(environment)}))
    # Plain path lines: the .pth files of the borrowed folder, an editable install's, are not run.
    (site / "borrowed.pth").write_text(f"{target}\n{sysconfig.get_path('purelib')}\n")
    python = environment / "bin" / "python"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def run(*command: str | Path) -> str:
        return subprocess.run(
            command, cwd=elsewhere, env=clean, check=True, capture_output=True, text=True, timeout=120
        ).stdout

    origins = run(python, "-c", "import pipeline, crypto; print(pipeline.__file__, crypto.__file__)")
    assert all(Path(origin).is_relative_to(target) for origin in origins.split())
    assert run(python, "-m", "pipeline", "--version") == "privml 0.1.0\n"
    assert json.loads(run(python, "-m", "pipeline", "errors", "--json"))["codes"]
    assert run(python, target / "bin" / "privml", "--version") == "privml 0.1.0\n"
    data = elsewhere / "data.csv"
    data.write_text("a,b,kind\n" + "".join(f"v{i % 3},{i % 2},k{i % 2}\n" for i in range(60)))
    demo = ("demo", "--data", data, "--profile", "toy", "--insecure", "--queries", "3", "--json")
    assert json.loads(run(python, "-m", "pipeline", *demo))["twin_agreement"] == 1


def test_no_other_distribution_owns_our_package_names() -> None:
    # The names are generic: whoever installs another `crypto` beside ours gets a mixture of both.
    owners = packages_distributions()
    for package in PACKAGES:
        # An editable install lists no files; then nobody else may claim the name either.
        assert set(owners.get(package, ["privml"])) == {"privml"}
    assert not {name for name in owners if name.lower() in PACKAGES and name not in PACKAGES}


def lock_entries() -> list[str]:
    text = (ROOT / "requirements.lock").read_text()
    return text.replace("\\\n", " ").splitlines()


def test_every_locked_requirement_is_pinned_and_hashed() -> None:
    entry = re.compile(r"[a-z0-9-]+==\S+( ; [^\\]+?)?(\s+--hash=sha256:[0-9a-f]{64})+")
    assert lock_entries()
    for line in lock_entries():
        assert entry.fullmatch(line.strip()), line[:100]


def test_the_lock_names_no_host_and_no_path() -> None:
    text = (ROOT / "requirements.lock").read_text()
    for unwanted in ("://", "--index", "--extra-index", "--find-links", "--trusted-host", "/", "@"):
        assert unwanted not in text


def test_the_lock_covers_every_declared_dependency_and_the_build() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [
        *project["build-system"]["requires"],
        *project["project"]["dependencies"],
        *(name for extra in project["project"]["optional-dependencies"].values() for name in extra),
    ]
    declared = {re.split(r"[^A-Za-z0-9-]", requirement)[0].lower() for requirement in wanted}
    locked = {line.split("==")[0] for line in lock_entries()}
    assert declared <= locked
    assert "pycryptodome" not in locked


def test_every_dependency_has_its_reason_in_contributing() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for requirement in [*project["dependencies"], *chain(*project["optional-dependencies"].values())]:
        name = re.split(r"[^A-Za-z0-9-]", requirement)[0]
        assert f"| {name} |" in text, name


@pytest.mark.parametrize(
    "target", ["install", "demo", "test", "kafka", "test-kafka", "check", "bench", "lock", "clean"]
)
def test_make_help_lists_every_target(target: str) -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert f"make {target} " in shown


def test_make_refuses_an_old_python_in_one_sentence(tmp_path: Path) -> None:
    # A stand-in that says what an old interpreter says.
    old = tmp_path / "python-old"
    old.write_text('#!/bin/sh\ncase "$1" in --version) echo "Python 3.9.18";; *) exit 1;; esac\n')
    old.chmod(0o755)
    ended = subprocess.run(
        ["make", "install", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode != 0
    assert f"needs Python 3.11, 3.12 or 3.13; {old} is Python 3.9.18" in ended.stderr
    assert not (tmp_path / "venv").exists()
