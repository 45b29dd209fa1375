"""The search for canaries finds what it must: else the tests that use it would prove nothing."""

import base64
import hashlib
from pathlib import Path

import pytest
from fuzz.canaries import Canaries
from fuzz.drawing import Draws

SECRET = Draws("canary").bytes(32)
NUMBER = int.from_bytes(Draws("number").bytes(40), "big")


@pytest.fixture(scope="module")
def canaries() -> Canaries:
    made = Canaries()
    made.add("secret", SECRET)
    made.add("number", NUMBER)
    for i in range(2000):
        made.add("other", hashlib.sha256(b"%d" % i).digest()[:16])
    return made


@pytest.mark.parametrize("before", ["", "a", "ab", "abc", '{"x": "', "x" * 1000])
def test_every_form_is_found(canaries: Canaries, before: str) -> None:
    number = NUMBER.to_bytes(40, "big")
    texts = [
        *(
            SECRET.hex(),
            SECRET.hex().upper(),
            str(int.from_bytes(SECRET, "big")),
            repr(SECRET),
            str(list(SECRET)),
        ),
        *(base64.b64encode(SECRET).decode(), base64.urlsafe_b64encode(SECRET).decode()),
        base64.b64encode(before.encode() + SECRET + b"behind").decode(),
    ]
    for text in texts:
        assert canaries.found_in(before + text + " behind") == ["secret #0"], text
    for text in (str(NUMBER), f"{NUMBER:x}", hex(NUMBER), number.hex(), base64.b64encode(number).decode()):
        assert canaries.found_in(before + text + " behind") == ["number #1"], text
    for data in (SECRET, number, number[::-1]):
        assert len(canaries.found_in(before.encode() + data + b"behind")) == 1


def test_nothing_else_is_found(canaries: Canaries) -> None:
    assert not canaries.found_in(Draws("noise").bytes(1 << 20))
    assert not canaries.found_in(SECRET[:-1] + SECRET[1:])
    assert not canaries.found_in(SECRET[::-1].hex())
    assert not canaries.found_in("")


def test_files_are_searched_and_public_values_forgotten(tmp_path: Path) -> None:
    canaries = Canaries()
    canaries.add("secret", SECRET)
    canaries.add("number", NUMBER)
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "log").write_text(f"key={SECRET.hex()}\n")
    (tmp_path / "clean").write_bytes(b"nothing")
    assert canaries.found_below(tmp_path) == {"inner/log": ["secret #0"]}
    canaries.discard([SECRET])
    assert not canaries.found_below(tmp_path)
    assert list(canaries.values.values()) == [NUMBER]


def test_what_could_be_met_by_chance_is_no_canary() -> None:
    canaries = Canaries()
    for value in (b"short", bytes(32), b"ab" * 20, 1 << 200, 77, SECRET, SECRET):
        canaries.add("value", value)
    assert list(canaries.values.values()) == [SECRET]
