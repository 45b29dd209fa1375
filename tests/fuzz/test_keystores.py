"""Keystore files: damaged, forged by somebody without the passphrase, or rewritten by somebody with it."""

import hashlib
import struct
import tracemalloc
from collections.abc import Mapping
from typing import Any

import msgpack
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from doubles import seeded_coins
from fuzz.drawing import Draws
from fuzz.mutants import INTEGERS, Strange, mutate_bytes, noise
from fuzz.texts import Scratch
from fuzz.verdicts import INPUTS, Tally

from pipeline import keystore
from pipeline.keystore import (
    INSECURE_TEST_DERIVATION,
    MAGIC,
    KeyDerivation,
    Keystore,
    KeystoreError,
    KeystoreHeader,
)
from pipeline.passphrase import Passphrase

PASSPHRASE = Passphrase(b"Zq3-vK8wMpX-77hQ")
SECRETS = {"theta": seeded_coins("theta").bytes(32), "seed": seeded_coins("seed").bytes(32)}
START = len(MAGIC) + 4


class Opened:
    """A keystore taken apart by somebody who knows its passphrase."""

    def __init__(self, data: bytes) -> None:
        end = START + struct.unpack_from(">I", data, len(MAGIC))[0]
        self.data = data
        self.header: dict[str, Any] = msgpack.unpackb(data[START:end])
        self.sealed = data[end:-32]
        derived = keystore._derive(PASSPHRASE, self.header["salt"], INSECURE_TEST_DERIVATION)
        self.key = derived[:32]

    def again(self, header: bytes, plain: bytes | None = None) -> bytes:
        """Return the file with another header, and with another content if there is one."""
        associated = MAGIC + struct.pack(">I", len(header)) + header
        sealed = self.sealed
        if plain is not None:
            sealed = AESGCM(self.key).encrypt(self.header["nonce"], plain, associated)
        return with_checksum(associated + sealed)


def with_checksum(body: bytes) -> bytes:
    return body + hashlib.sha256(body).digest()


def packed(fields: Mapping[Any, object], *, in_order: bool = True) -> bytes:
    names = sorted(fields, key=str) if in_order else list(reversed(list(fields)))
    data: bytes = msgpack.packb({name: fields[name] for name in names})
    return data


def changed_fields(draws: Draws, fields: Mapping[str, Any]) -> bytes:
    """Return a map of msgpack with another field or value, or another spelling of the same."""
    changed: dict[Any, Any] = dict(fields)
    name = draws.pick(sorted(fields))
    value = fields[name]
    match draws.below(9):
        case 0:
            del changed[name]
        case 1:
            changed[draws.pick(("extra", "", b"role", name + " ", "é"))] = draws.pick(Strange.others)
        case 2 | 3:
            changed[name] = draws.pick((*INTEGERS[:40], *Strange.floats, *Strange.maps, *Strange.others))
        case 4:
            nested: object = value
            for _ in range(draws.pick((1, 9, 300, 600, 1000, 1100))):
                nested = [nested]
            return deep(changed, name, nested)
        case 5 if isinstance(value, bytes):
            changed[name] = mutate_bytes(draws, value, b"other")
        case 5 if isinstance(value, str):
            changed[name] = mutate_bytes(draws, value.encode(), b"other").decode("latin-1")
        case 5:
            changed[name] = draws.pick((0, 1, 2, 15, 16, 17, 63, 64, 65, 1 << 20, (1 << 20) + 1, -1, 5, True))
        case 6:
            return mutate_bytes(draws, packed(changed), packed(changed))
        case 7:
            return packed(changed, in_order=False)
        case _:
            return draws.pick(
                (noise(draws), b"\xdf" + b"\xff" * 4, b"\xdd\x00\x0f\xff\xff" * 900, b"\x81" * 900)
            )
    return packed(
        {
            key: value
            for key, value in changed.items()
            if not isinstance(value, int) or -(2**63) <= value < 2**64
        }
    )


def deep(fields: Mapping[Any, object], name: str, nested: object) -> bytes:
    """Pack a map one of whose values is nested deeper than msgpack packs by itself."""
    depth = 0
    while isinstance(nested, list) and len(nested) == 1:
        depth, nested = depth + 1, nested[0]
    names = sorted(fields, key=str)
    parts = [
        msgpack.packb(key)
        + (b"\x91" * depth if key == name else b"")
        + msgpack.packb(nested if key == name else fields[key])
        for key in names
    ]
    return bytes([0x80 | len(names)]) + b"".join(parts)


@pytest.fixture
def bounded_derivation(monkeypatch: pytest.MonkeyPatch) -> list[KeyDerivation]:
    """Let no forged header cost more than it may, and none take the time that it may."""
    original = keystore._derive
    asked: list[KeyDerivation] = []

    def derive(passphrase: Passphrase, salt: bytes, cost: KeyDerivation) -> bytes:
        assert cost.memory_kib <= 1 << 20
        assert cost.iterations <= 16
        assert cost.lanes <= 4
        asked.append(cost)
        cheap = cost.memory_kib <= 64 and cost.iterations == 1
        return original(passphrase, salt, cost if cheap else INSECURE_TEST_DERIVATION)

    monkeypatch.setattr(keystore, "_derive", derive)
    return asked


def test_any_keystore_file_is_opened_or_refused(
    scratch: Scratch, bounded_derivation: list[KeyDerivation]
) -> None:
    draws, tally = Draws("keystores"), Tally()
    header = KeystoreHeader("mu", "ward", "mu", 3, INSECURE_TEST_DERIVATION)
    Keystore.create(scratch.folder / "good.key", header, SECRETS, PASSPHRASE)
    whole = (scratch.folder / "good.key").read_bytes()
    good, plain = Opened(whole), packed(SECRETS)
    other = with_checksum(MAGIC + b"\x00\x00\x00\x05hello")

    def open_file(data: bytes) -> Keystore:
        return Keystore.open(scratch.write(data), PASSPHRASE)

    for _ in range(INPUTS):
        mutated = True
        # Nothing of the content may show, and not the passphrase.
        secret = plain + PASSPHRASE.value
        match draws.below(12):
            case 0:
                data, mutated = draws.pick((noise(draws), MAGIC + noise(draws), whole)), False
            case 1 | 2:
                data = mutate_bytes(draws, whole, other)
            case 3 | 4:
                data = with_checksum(mutate_bytes(draws, whole[:-32], other))
            case 5:
                length = draws.pick((0, 1, len(whole), 2**31, 2**32 - 1, draws.below(400)))
                data = with_checksum(MAGIC + struct.pack(">I", length) + whole[START:-32])
            case 6 | 7 | 8:
                # Without the passphrase: the header is not the one that was sealed.
                data = good.again(changed_fields(draws, good.header))
            case _:
                # With the passphrase: the content is not what a keystore holds.
                content = (
                    changed_fields(draws, SECRETS)
                    if not draws.chance(4)
                    else mutate_bytes(draws, plain, plain)
                )
                secret += content
                data = good.again(packed(good.header), content)
        opened = tally.judge(open_file, data, mutated=mutated and data != whole, secret=secret)
        if opened is not None:
            assert opened.header == header
            assert all(isinstance(k, str) and isinstance(v, bytes) for k, v in opened.secrets.items())
            shown = repr(opened) + repr(opened.secrets) + str(opened)
            assert not any(
                value.hex() in shown or str(value) in shown for value in opened.secrets.values() if value
            )
    tally.check(reasons=["invalid_keystore", "wrong_passphrase"])
    assert len(bounded_derivation) > 2000


@pytest.mark.parametrize(
    "header",
    [
        b"\xdf" + b"\xff" * 4,
        b"\xde\xff\xff",
        b"\xdd" + b"\xff" * 4,
        b"\xdd\x00\x10\x00\x00" * 1000,
        b"\x81" * 1000,
        b"\x91" * 100_000,
        b"\x81\xa1a\xc6" + b"\xff" * 4,
        b"\xc9" + b"\xff" * 4 + b"\x01",
    ],
    ids=["map", "short map", "array", "arrays in arrays", "maps in maps", "deep", "bytes", "extension"],
)
def test_a_claimed_length_takes_no_memory(scratch: Scratch, header: bytes) -> None:
    body = MAGIC + struct.pack(">I", len(header) + (1 << 20)) + header + bytes(1 << 20)
    path = scratch.write(with_checksum(body))
    tracemalloc.start()
    try:
        with pytest.raises(KeystoreError):
            Keystore.open(path, PASSPHRASE)
        # One buffer of the largest file, and lists that end as early as the file does.
        assert tracemalloc.get_traced_memory()[1] < 128 << 20
    finally:
        tracemalloc.stop()
