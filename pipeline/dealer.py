"""The dealer: modulus and generator of a tenant, drawn into a file; the primes are forgotten.

Where owners have keys of their own it splits the strong key as well (`pipeline.share_hand_over`).
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from crypto.coins import Coins
from crypto.key_generation import generate_parameters
from crypto.parameters import Parameters
from crypto.profiles import Profile, profile
from crypto.validation import validate_parameters
from pipeline.settings import SettingsError
from pipeline.share_hand_over import FIRST_EPOCH, check_units, deal_shares
from schemas.codec import decode, encode
from schemas.configuration import PublicParameters, UnitPublicKey

PARAMETERS_FILE = "parameters.privml"


def make_parameters(
    folder: Path,
    tenant: str,
    profile_name: str,
    progress: Callable[[int, float], None] | None = None,
    units: Sequence[UnitPublicKey] = (),
) -> Path:
    """Draw N and g and write them to the folder; the primes are forgotten (the dealer).

    Args:
        folder: Where the parameters file goes.
        tenant: Name.
        profile_name: The sizes.
        progress: Hears of the search for primes.
        units: Exchange keys of MU and SU, if owners shall have keys of their own: then the strong key
            is split, and each share sealed for its unit. None otherwise, and nothing is split.

    Raises:
        SettingsError: The file exists already: a modulus is made once. Or these are not both units.

    Cost:
        Two safe primes; about 100 full powers in the median at 3072 bits, sometimes thrice that.
    """
    chosen = known_profile(profile_name)
    path = folder / PARAMETERS_FILE
    if path.exists():
        raise SettingsError("the parameters exist already", hint="choose another folder", file=path)
    if units:
        check_units(tenant, units)
    with ThreadPoolExecutor() as pool:
        parameters, strong = generate_parameters(chosen, Coins.fresh(), pool, progress)
    shares = deal_shares(strong, tenant, units) if units else ()
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        encode(
            PublicParameters(
                tenant,
                FIRST_EPOCH,
                profile_name,
                parameters.n.to_bytes(chosen.plaintext_bytes, "big"),
                parameters.g.to_bytes(chosen.component_bytes, "big"),
                shares,
            )
        )
    )
    return path


def known_profile(name: str) -> Profile:
    """Return a profile by name.

    Raises:
        SettingsError: There is none of that name.
    """
    try:
        return profile(name)
    except ValueError as error:
        raise SettingsError(str(error)) from error


def read_parameters(path: Path) -> tuple[PublicParameters, Parameters]:
    """Read a parameters file and check what is in it.

    Raises:
        SettingsError: It cannot be read.
        InvalidKeyError: N or g fails its checks.
    """
    try:
        public = decode(PublicParameters, path.read_bytes())
    except OSError as error:
        raise SettingsError("the parameters file cannot be read", file=path) from error
    parameters = Parameters(
        known_profile(public.profile),
        int.from_bytes(public.modulus, "big"),
        int.from_bytes(public.generator, "big"),
    )
    validate_parameters(parameters)
    return public, parameters
