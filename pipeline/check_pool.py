"""Processes that check signatures and proofs for an audit, which is about public data alone.

Both checks hold the interpreter, so that threads do not share them out. Units have no such processes:
what they compute with is secret, and is not handed about.
"""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import msgspec

from crypto.dtpkc import PublicKey
from crypto.plaintext_proof import Statement
from pipeline.check_process import LENGTH_BYTES, Checks, ProofChecks, SignatureChecks
from pipeline.errors import PipelineError
from schemas.envelope import Claim

THREADS_CHECK = 2048
"""Signatures that are checked in threads before processes begin: those take about as long to start."""
PROOF_AS_SIGNATURES = 16
"""Signatures that can be checked in the time of a proof."""

_COMMAND = (sys.executable, "-P", "-m", "pipeline.check_process")


class CheckPool:
    """An asynchronous context manager; leaving it ends the processes.

    Args:
        processes: How many; none, and threads do it. Default: one for each core, none for a single one.
    """

    def __init__(self, processes: int | None = None) -> None:
        cores = len(os.sched_getaffinity(0))
        self._limit = processes if processes is not None else cores if cores > 1 else 0
        self._left = THREADS_CHECK
        self._processes: list[Process] = []
        self._starting = 0
        self._idle: asyncio.LifoQueue[Process] = asyncio.LifoQueue()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            if error is not None and process.returncode is None:
                process.kill()
            elif process.stdin is not None:
                process.stdin.close()
        for process in self._processes:
            await process.wait()

    async def verified(self, claims: Sequence[Claim]) -> list[bool]:
        """Return which signatures are their senders'."""
        checks = SignatureChecks(
            [(claim.party.key.public_bytes_raw(), claim.signature, claim.text) for claim in claims]
        )
        failing = await self._failing(len(claims), checks)
        return [index not in failing for index in range(len(claims))]

    async def failing(self, key: PublicKey, statements: Sequence[Statement]) -> frozenset[int]:
        """Return which statements' proofs do not verify."""
        if not statements:
            return frozenset()
        return await self._failing(PROOF_AS_SIGNATURES * len(statements), ProofChecks.of(key, statements))

    async def _failing(self, size: int, checks: Checks) -> frozenset[int]:
        if not self._limit or self._left > 0:
            self._left -= size
            return frozenset(await asyncio.to_thread(checks.failing))
        process = await self._take()
        failing = await _asked(process, msgspec.msgpack.encode(checks))
        self._idle.put_nowait(process)
        return frozenset(failing)

    async def _take(self) -> Process:
        """Return a process that does nothing, once there is one."""
        if self._idle.empty() and self._starting < self._limit:
            self._starting += 1
            process = await asyncio.create_subprocess_exec(*_COMMAND, stdin=PIPE, stdout=PIPE)
            self._processes.append(process)
            return process
        return await self._idle.get()


async def _asked(process: Process, request: bytes) -> list[int]:
    if process.stdin is None or process.stdout is None:
        raise ValueError("a checking process has pipes")
    try:
        process.stdin.write(len(request).to_bytes(LENGTH_BYTES, "big") + request)
        await process.stdin.drain()
        length = int.from_bytes(await process.stdout.readexactly(LENGTH_BYTES), "big")
        reply = await process.stdout.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise PipelineError(
            "a process that checks signatures has ended", hint="start the audit again"
        ) from error
    return msgspec.msgpack.decode(reply, type=list[int])
