"""A process that checks signatures and proofs for `pipeline.check_pool`: `python -m pipeline.check_process`.

It gets checks on stdin and answers on stdout which fail, both as a length of four bytes and so much
msgpack, until stdin ends. All of it is public. Few imports, since the process begins with them.
"""

import signal
import sys
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from crypto.coins import Coins
from crypto.dtpkc import PublicKey
from crypto.errors import ProofError
from crypto.parameters import Parameters, decode_ciphertexts, encode_ciphertexts
from crypto.plaintext_proof import PlaintextProof, Statement, failing_statements
from crypto.profiles import Profile

LENGTH_BYTES = 4


class SignatureChecks(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Ed25519 signatures: of each the public key, the signature and what it is over."""

    texts: Sequence[tuple[bytes, bytes, bytes]]

    def failing(self) -> list[int]:
        """Return the indices of those that do not verify."""
        return [index for index, text in enumerate(self.texts) if not _verifies(*text)]


class ProofChecks(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Proofs of plaintext knowledge under one key: of each the ciphertexts, the proof and its context."""

    profile: Profile
    n: bytes
    g: bytes
    h: bytes
    statements: Sequence[tuple[bytes, bytes, bytes]]

    @classmethod
    def of(cls, key: PublicKey, statements: Sequence[Statement]) -> "ProofChecks":
        """Return what a process needs to check these statements."""
        parameters = key.parameters
        width = parameters.component_bytes
        n, g, h = (number.to_bytes(width, "big") for number in (parameters.n, parameters.g, key.h))
        packed = [
            (encode_ciphertexts(parameters, each.ciphertexts), _proof_bytes(parameters, each), each.context)
            for each in statements
        ]
        return cls(parameters.profile, n, g, h, packed)

    def failing(self) -> list[int]:
        """Return the indices of those that do not verify."""
        n, g, h = (int.from_bytes(number, "big") for number in (self.n, self.g, self.h))
        parameters = Parameters(self.profile, n, g)
        failing, whole = [], {}
        for index, (packed, proof, context) in enumerate(self.statements):
            ciphertexts = decode_ciphertexts(parameters, packed)
            try:
                decoded = PlaintextProof.decode(parameters, len(ciphertexts), proof)
            except ProofError:
                failing.append(index)
            else:
                whole[index] = Statement(ciphertexts, decoded, context)
        indices = list(whole)
        bad = failing_statements(PublicKey(parameters, h), list(whole.values()), Coins.fresh())
        return [*failing, *(indices[position] for position in bad)]


Checks = SignatureChecks | ProofChecks


def _proof_bytes(parameters: Parameters, statement: Statement) -> bytes:
    """Return a proof as it travels, nothing of one whose values are out of range: it does not verify."""
    try:
        return statement.proof.encode(parameters, len(statement.ciphertexts))
    except ProofError:
        return b""


def _verifies(key: bytes, signature: bytes, text: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, text)
    except InvalidSignature:
        return False
    return True


def _frames(stream: BinaryIO) -> Iterator[bytes]:
    while len(length := stream.read(LENGTH_BYTES)) == LENGTH_BYTES:
        yield stream.read(int.from_bytes(length, "big"))


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer until there are no more requests."""
    decoder, encoder = msgspec.msgpack.Decoder(Checks), msgspec.msgpack.Encoder()
    for frame in _frames(requests):
        reply = encoder.encode(decoder.decode(frame).failing())
        replies.write(len(reply).to_bytes(LENGTH_BYTES, "big") + reply)
        replies.flush()


if __name__ == "__main__":
    # Interrupts are for the process that asks; this one ends when that closes its stdin, or dies.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(sys.stdin.buffer, sys.stdout.buffer)
