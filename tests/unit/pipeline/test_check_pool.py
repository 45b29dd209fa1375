"""Checks in processes say what checks in threads say; a process that ends is an error, not a verdict."""

import asyncio
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from round_trips import chunk_of
from tenants import SmallTenant, small_tenant

from crypto.parameters import Ciphertext
from crypto.plaintext_proof import Statement
from pipeline import check_pool
from pipeline.check_pool import CheckPool
from pipeline.errors import PipelineError
from roles.arrival import Arrival
from roles.master_unit import MasterUnit
from roles.screening import ScreenedChunk
from schemas.codec import encode
from schemas.envelope import Claim, VerifyingParty
from schemas.topics import Role


@pytest.fixture(scope="module")
def small() -> SmallTenant:
    return small_tenant()


def claim(signed: bytes, *, forged: bool = False) -> Claim:
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    party = VerifyingParty("a", Role.OWNER, key.public_key(), 1)
    whole = Claim(party, b"", signed, [])
    other = Claim(party, b"", signed + b"!", [])
    return Claim(party, key.sign((other if forged else whole).text), signed, [])


def statement(small: SmallTenant, sequence: int, said: int) -> Statement:
    body = encode(chunk_of(small, sequence))
    screened = MasterUnit.starting(small.tenant).screen_chunk(
        Arrival("chunks", 0, 0, bytes(32), "a", said, "chunk", body)
    )
    assert isinstance(screened, ScreenedChunk)
    return screened.statement


@pytest.mark.parametrize("processes", [0, 2])
def test_what_fails_is_named(small: SmallTenant, monkeypatch: pytest.MonkeyPatch, processes: int) -> None:
    monkeypatch.setattr(check_pool, "THREADS_CHECK", 0)
    claims = [claim(b"one"), claim(b"two", forged=True), claim(b"three")]
    statements = [statement(small, 0, 0), statement(small, 1, 7), statement(small, 2, 2)]
    out_of_range = Ciphertext(small.tenant.parameters.n_squared, 1)
    statements.append(replace(statements[0], proof=replace(statements[0].proof, commitment=out_of_range)))

    async def run() -> None:
        async with CheckPool(processes) as checks:
            assert await checks.verified(claims) == [True, False, True]
            assert await checks.failing(small.tenant.service_key, statements) == {1, 3}
            assert await checks.failing(small.tenant.service_key, []) == frozenset()
            many = await asyncio.gather(*(checks.verified(claims[number % 3 :]) for number in range(6)))
            assert [verdict[0] for verdict in many] == [True, False, True] * 2

    asyncio.run(run())


def test_a_process_that_ends_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_pool, "THREADS_CHECK", 0)
    monkeypatch.setattr(check_pool, "_COMMAND", ("true",))

    async def run() -> None:
        async with CheckPool(1) as checks:
            await checks.verified([claim(b"one")])

    with pytest.raises(PipelineError, match="has ended"):
        asyncio.run(run())
