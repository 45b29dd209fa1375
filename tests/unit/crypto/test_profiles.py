import pytest

from crypto.profiles import DEFAULT_PROFILE, PROFILES, Profile, profile


def test_the_table_is_that_of_the_protocol() -> None:
    sizes = {p.name: (p.modulus_bits, p.exponent_bits, p.insecure) for p in PROFILES.values()}

    assert sizes == {
        "toy": (512, 160, True),
        "paper": (1024, 160, True),
        "legacy": (2048, 224, False),
        "standard": (3072, 256, False),
        "conservative": (3072, 1536, False),
        "large": (4096, 256, False),
    }
    assert all(name == entry.name for name, entry in PROFILES.items())


def test_a_standard_ciphertext_has_1536_bytes() -> None:
    standard = profile(DEFAULT_PROFILE)

    assert standard.name == "standard"
    assert (standard.ciphertext_bytes, standard.component_bytes, standard.plaintext_bytes) == (1536, 768, 384)
    assert standard.prime_bits == 1536


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="toy, paper, legacy, standard"):
        profile("fast")


@pytest.mark.parametrize(("modulus_bits", "exponent_bits"), [(511, 160), (8, 4), (512, 512), (512, 1)])
def test_impossible_sizes_cannot_be_built(modulus_bits: int, exponent_bits: int) -> None:
    with pytest.raises(ValueError, match="_bits"):
        Profile("odd", modulus_bits, exponent_bits, insecure=True)
