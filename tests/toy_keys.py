"""The keys of the vectors as objects: small, fixed, never to be used outside tests."""

from dataclasses import dataclass
from functools import cache

from vector_keys import vector_case

from crypto.dtpkc import Parameters, PublicKey, WeakPrivateKey
from crypto.profiles import Profile
from crypto.service_key import joint_key
from crypto.strong_key import StrongPrivateKey

# Wide enough for every θ and r of the case.
EXPONENT_BITS = {64: 32, 256: 128, 512: 256, 1024: 256}


@dataclass(frozen=True, slots=True)
class ToyKeys:
    """One case: the modulus with its strong key, the two units' keys and their joint key.

    The units' θ are those of the file; some are odd, which generated ones never are.
    """

    parameters: Parameters
    strong: StrongPrivateKey
    master: WeakPrivateKey
    secondary: WeakPrivateKey
    joint: PublicKey


@cache
def toy_keys(modulus_bits: int = 256) -> ToyKeys:
    """Return the keys of the case of that modulus size."""
    case = vector_case(modulus_bits)
    profile = Profile(f"vectors-{modulus_bits}", modulus_bits, EXPONENT_BITS[modulus_bits], insecure=True)
    parameters = Parameters(profile, int(case["N"]), int(case["g"]))
    master = WeakPrivateKey.from_theta(parameters, int(case["theta_mu"]))
    secondary = WeakPrivateKey.from_theta(parameters, int(case["theta_su"]))
    return ToyKeys(
        parameters,
        StrongPrivateKey(parameters, int(case["p"]), int(case["q"])),
        master,
        secondary,
        joint_key(master.public, secondary.public),
    )
