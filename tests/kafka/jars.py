"""Copy the broker's jars with Maven and hold each against the committed list: `python jars.py FOLDER`.

Standard library only, since `make kafka` runs it with any Python 3. `--write-list` replaces the list;
do that after a change of pom.xml and look at what changed.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIST = HERE / "libs.sha256"
TRIES = 3


def checksums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every jar by name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.jar"))}


def listed() -> dict[str, str]:
    """Return the committed list."""
    pairs = (line.split() for line in LIST.read_text(encoding="ascii").splitlines())
    return {name: checksum for checksum, name in pairs}


def differences(found: dict[str, str], wanted: dict[str, str]) -> list[str]:
    """Return a line for every jar that is missing, not on the list, or another file."""
    return [
        *(f"missing: {name}" for name in sorted(wanted.keys() - found.keys())),
        *(f"not on the list: {name}" for name in sorted(found.keys() - wanted.keys())),
        *(
            f"another content: {name}"
            for name in sorted(found)
            if wanted.get(name, found[name]) != found[name]
        ),
    ]


def copy_jars(folder: Path) -> None:
    """Let Maven copy the jars into an empty folder."""
    shutil.copy(HERE / "pom.xml", folder)
    command = [
        "mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=libs", "-DincludeScope=runtime"
    ]  # fmt: skip
    for attempt in range(1, TRIES + 1):
        ended = subprocess.run(
            command, cwd=folder, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if ended.returncode == 0:
            return
        print(ended.stdout[-2000:], file=sys.stderr)
        print(f"Maven failed (try {attempt} of {TRIES})", file=sys.stderr)
        time.sleep(2 * attempt if attempt < TRIES else 0)
    sys.exit(
        "The jars of the Kafka broker could not be copied: Maven needs Maven Central or a mirror of it "
        "(~/.m2/settings.xml). Without: PRIVML_TEST_KAFKA=host:port tests on a broker that runs already, "
        "PRIVML_SKIP_KAFKA=1 leaves these tests out."
    )


def main() -> None:
    """Make `FOLDER` hold exactly the listed jars."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path)
    options.add_argument("--write-list", action="store_true")
    given = options.parse_args()
    for program, package in (("java", "a Java runtime, 17 or later"), ("mvn", "Maven")):
        if shutil.which(program) is None:
            sys.exit(
                f"{program} not found: the Kafka broker of the tests needs {package}. Without it, name a "
                "broker that runs already with PRIVML_TEST_KAFKA=host:port, or leave these tests out with "
                "PRIVML_SKIP_KAFKA=1."
            )
    folder: Path = given.folder.resolve()
    if not given.write_list and folder.is_dir() and not differences(checksums(folder), listed()):
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        copy_jars(Path(name))
        copied = Path(name) / "libs"
        found = checksums(copied)
        if given.write_list:
            LIST.write_text("".join(f"{sum_}  {jar}\n" for jar, sum_ in found.items()), encoding="ascii")
        wrong = differences(found, listed())
        if wrong:
            sys.exit("These jars are not those of tests/kafka/libs.sha256:\n  " + "\n  ".join(wrong))
        shutil.rmtree(folder, ignore_errors=True)
        copied.rename(folder)
    print(f"{len(found)} jars in {given.folder}")


if __name__ == "__main__":
    main()
