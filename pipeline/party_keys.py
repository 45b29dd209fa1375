"""Every party's keys, drawn by a process of its own, which writes its own keystore.

Whoever starts these processes sees public files only.
"""

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from crypto.coins import Coins
from pipeline.dealer import read_parameters
from pipeline.errors import PipelineError
from pipeline.keystore import Keystore, KeystoreHeader
from pipeline.passphrase import Passphrase
from pipeline.settings import SettingsError
from pipeline.share_hand_over import EXCHANGE, UNITS, dealt_share, open_unit_keystore
from roles.unit_keys import draw_party
from schemas.codec import decode, encode
from schemas.configuration import Party, UnitPublicKey
from schemas.reasons import ReasonCode


class KeyGenerationError(PipelineError):
    """A key generation process failed."""

    code = ReasonCode.INVALID_KEY


def make_party(
    parameters_file: Path, role: str, name: str, keystore: Path, public_file: Path, passphrase: Passphrase
) -> Party:
    """Draw one party's keys: secrets into its keystore, the public part into a file of its own.

    Where owners have keys of their own, a unit's keystore is there already with its exchange key, and
    gets the unit's share of the strong key.

    Raises:
        KeystoreError: The keystore cannot be written, or not taken up.
    """
    public, parameters = read_parameters(parameters_file)
    if public.shares and role in UNITS:
        opened = open_unit_keystore(public, role, name, keystore, passphrase)
        exchange = opened.secrets[EXCHANGE]
        share = dealt_share(public, parameters, role, exchange)
        drawn = parameters, public.tenant, role, name, Coins.fresh()
        secrets, party = draw_party(*drawn, owner_keys=True, exchange_secret=exchange)
        opened.update(**secrets, strong_share=share)
    else:
        drawn = parameters, public.tenant, role, name, Coins.fresh()
        secrets, party = draw_party(*drawn, owner_keys=bool(public.shares))
        keystore.parent.mkdir(parents=True, exist_ok=True)
        header = KeystoreHeader(role, public.tenant, name, public.key_epoch)
        Keystore.create(keystore, header, secrets, passphrase)
    public_file.write_bytes(encode(UnitPublicKey(public.tenant, party)))
    return party


def read_public_key(path: Path) -> UnitPublicKey:
    """Read what a party's key generation published.

    Raises:
        SettingsError: The file cannot be read.
    """
    try:
        return decode(UnitPublicKey, path.read_bytes())
    except OSError as error:
        raise SettingsError("the public key file cannot be read", file=path) from error


def spawn_exchange_keys(
    tenant: str, keys: Path, passphrase_file: Path, units: Sequence[str]
) -> list[UnitPublicKey]:
    """Let units draw their exchange keys, each in its own process; return the public halves.

    What an interrupted set-up has drawn is taken up: the search for primes that follows is long.

    Raises:
        KeyGenerationError: A process failed.
    """
    keys.mkdir(parents=True, exist_ok=True)

    def run(role: str) -> UnitPublicKey:
        public_file = keys / f"{role}.exchange"
        if public_file.exists():
            return read_public_key(public_file)
        command = [role, "exchange-key", "--tenant", tenant, "--keystore", str(keys / f"{role}.key")]
        return _spawn(role, role, command, public_file, passphrase_file)

    with ThreadPoolExecutor(max_workers=2) as pool:
        return list(pool.map(run, units))


def spawn_parties(
    parameters_file: Path, keys: Path, passphrase_file: Path, parties: Sequence[tuple[str, str]]
) -> list[UnitPublicKey]:
    """Run key generation of (role, name) pairs, each as its own process, a few at a time.

    Args:
        parameters_file: The tenant's public parameters.
        keys: Folder of the keystores and of the public keys.
        passphrase_file: For the keystores.
        parties: Whose keys.

    Raises:
        KeyGenerationError: A process failed.
    """
    keys.mkdir(parents=True, exist_ok=True)

    def run(party: tuple[str, str]) -> UnitPublicKey:
        role, name = party
        command = [role, "keygen", "--name", name, "--parameters", str(parameters_file)]
        command += ["--keystore", str(keys / f"{name}.key")]
        return _spawn(role, name, command, keys / f"{name}.pub", passphrase_file)

    with ThreadPoolExecutor(max_workers=2) as pool:
        return list(pool.map(run, parties))


def _spawn(
    role: str, name: str, command: Sequence[str], public_file: Path, passphrase_file: Path
) -> UnitPublicKey:
    own = [sys.executable, "-P", "-m", "pipeline", *command, "--public", str(public_file)]
    own += ["--passphrase-file", str(passphrase_file)]
    done = subprocess.run(own, capture_output=True, text=True, check=False)
    if done.returncode:
        raise KeyGenerationError(f"key generation of {role} '{name}' failed: {done.stderr.strip()}")
    return read_public_key(public_file)
