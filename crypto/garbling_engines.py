"""The two engines on labels: half gates with free XOR, a layer of gates at a time.

A wire has the two labels L and L ⊕ Δ; the garbler holds L, the label of 0 (the *zero label*),
and the evaluator the *active label*, that of the wire's value. Bit 0 of Δ is 1, so that bit 0 of
a label, its *colour*, differs between the two: the colours of zero label and active label are
XOR shares of the value.
"""

from typing import NoReturn

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from crypto.block_hash import BlockHash, Blocks
from crypto.circuits.engine import Bits, Wires
from crypto.coins import digest
from crypto.counting import count
from crypto.errors import LocalProtocolError, RemoteProtocolError

TABLE_BYTES = 32
WORDS_PER_GATE = TABLE_BYTES // 8

# A layer is garbled in runs of at most so many gates, whose working set stays in the cache. The
# number is part of the format: tables and tweaks lie run by run.
GATES_PER_RUN = 4096


class GarblingStreams:
    """The hash and the public labels of one reply.

    One object serves all circuits of a reply, in the same order at both units, so that no tweak
    and no label recurs. A second object for the same salt would repeat them.
    """

    __slots__ = ("_labels", "hash")

    def __init__(self, salt: bytes, transcript: bytes) -> None:
        self.hash = BlockHash("garble", salt, transcript)
        key = digest("privml/su-input/1", salt, transcript)
        self._labels = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()

    def __reduce__(self) -> NoReturn:
        raise TypeError("streams in use are not pickled: their counters must not be forked")

    def labels(self, shape: tuple[int, ...]) -> Blocks:
        """Return the next public pseudo-random labels, shape (*shape, 2)."""
        size = int(np.prod(shape)) * 16
        return np.frombuffer(self._labels.update(bytes(size)), dtype=np.uint64).reshape(*shape, 2)


class _LabelEngine:
    """What garbler and evaluator have in common: everything but AND and NOT."""

    def __init__(self, batch: int, streams: GarblingStreams) -> None:
        self.batch = batch
        self._streams = streams

    def xor(self, x: Wires, y: Wires) -> Wires:
        """Return x ⊕ y: labels add up."""
        return x ^ y

    def xor_all(self, x: Wires) -> Wires:
        """Return the XOR over the first axis."""
        return np.asarray(np.bitwise_xor.reduce(x, axis=0))

    def zeros_like(self, x: Wires) -> Wires:
        """Return wires for public zeros; their two labels are fresh."""
        return self._streams.labels(x.shape[:-1])

    def instances(self, x: Wires) -> int:
        """Return how many wires one entry of the first axis holds."""
        return int(np.prod(x.shape[1:-1]))

    def _full_shape(self, bits: npt.ArrayLike) -> tuple[int, ...]:
        return (*np.shape(bits)[:-1], self.batch)


class Garbler(_LabelEngine):
    """SU's engine: wires are zero labels, and every AND gate appends its two table rows.

    Args:
        batch: Width of the batch.
        delta: Δ, 16 bytes: SU's choice string in the transfer extension.
        streams: Hash and public labels of this reply.
        gates: Number of AND gates to come.

    Raises:
        LocalProtocolError: Bit 0 of Δ is 0: colours would not tell the labels of a wire apart.

    Security:
        Zero labels never leave SU, but for the colours of outputs that are revealed to MU.

    Source:
        Zahur, Rosulek, Evans 2015 (half gates); docs/protocols.md §3.3.
    """

    def __init__(self, batch: int, delta: bytes, streams: GarblingStreams, gates: int) -> None:
        super().__init__(batch, streams)
        self._delta = checked_delta(delta)
        self._delta_row = np.tile(self._delta, GATES_PER_RUN)
        self._tables = np.empty(gates * WORDS_PER_GATE, dtype=np.uint64)
        self._written = 0

    def __repr__(self) -> str:
        return f"Garbler(batch={self.batch})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a garbler holds Δ and is not pickled")

    def not_(self, x: Wires) -> Wires:
        """Return ¬x: the labels change places."""
        return x ^ self._delta

    def constant(self, bits: npt.ArrayLike) -> Wires:
        """Return wires for public bits; like an input of SU, known to all."""
        return self.own_input(np.broadcast_to(np.asarray(bits, dtype=np.uint8), self._full_shape(bits)))

    def own_input(self, bits: Bits) -> Wires:
        """Return wires for bits of SU: the active label is public, the zero label follows from it."""
        return self._streams.labels(bits.shape) ^ self._offset(bits)

    def shared_input(self, rows: Blocks, bits: Bits) -> Wires:
        """Return wires for XOR-shared bits: MU's rows, with SU's shares moved into the zero label."""
        return rows ^ self._offset(bits)

    def and_(self, x: Wires, y: Wires) -> Wires:
        """Return x ∧ y and write the tables of the layer."""
        a, b = np.broadcast_arrays(x, y)
        shape = a.shape
        left, right = a.reshape(-1), b.reshape(-1)
        result = np.empty_like(left)
        count(ands=left.size // 2)
        for begin in range(0, left.size, 2 * GATES_PER_RUN):
            run = slice(begin, min(begin + 2 * GATES_PER_RUN, left.size))
            self._run(left[run], right[run], result[run])
        return result.reshape(shape)

    def tables(self) -> bytes:
        """Return the tables of all gates.

        Raises:
            LocalProtocolError: Fewer gates were garbled than announced.
        """
        if self._written != self._tables.size:
            raise LocalProtocolError("the circuit has another number of gates than it was counted to have")
        return self._tables.tobytes()

    def _offset(self, bits: Bits) -> Blocks:
        return -(bits.astype(np.uint64)[..., np.newaxis]) & self._delta

    def _run(self, a: Blocks, b: Blocks, result: Blocks) -> None:
        """Garble one run; all arrays are flat, two words per label."""
        size = a.size
        blocks = np.empty((2, 2 * size), dtype=np.uint64)
        blocks[0, :size] = a
        blocks[0, size:] = b
        delta = self._delta_row[:size]
        np.bitwise_xor(blocks[0, :size], delta, out=blocks[1, :size])
        np.bitwise_xor(blocks[0, size:], delta, out=blocks[1, size:])
        hashes = self._streams.hash
        hashed = hashes.hash_reserved(blocks.reshape(2, size, 2), hashes.reserve(size)).reshape(4, size)
        a_clear, b_clear, a_set, b_set = hashed
        # Garbler's half: T_G = H(A) ⊕ H(A ⊕ Δ) ⊕ p_b·Δ and W_G = H(A) ⊕ p_a·T_G.
        rows = self._rows(size)
        permute_b = _mask(b)
        np.bitwise_and(permute_b, delta, out=result)
        a_set ^= a_clear
        np.bitwise_xor(a_set, result, out=rows[0])
        # Evaluator's half: T_E ⊕ A = H(B) ⊕ H(B ⊕ Δ) and W_E = H(B) ⊕ p_b·(T_E ⊕ A).
        b_set ^= b_clear
        np.bitwise_xor(b_set, a, out=rows[1])
        np.bitwise_and(_mask(a), rows[0], out=result)
        result ^= a_clear
        result ^= b_clear
        permute_b &= b_set
        result ^= permute_b

    def _rows(self, size: int) -> Blocks:
        begin, end = self._written, self._written + 2 * size
        if end > self._tables.size:
            raise LocalProtocolError("the circuit has another number of gates than it was counted to have")
        self._written = end
        return self._tables[begin:end].reshape(2, size)


class Evaluator(_LabelEngine):
    """MU's engine: wires are active labels, and every AND gate reads its two table rows.

    Args:
        batch: Width of the batch.
        streams: Hash and public labels of this reply.
        tables: The tables, as many bytes as the circuit needs.
    """

    def __init__(self, batch: int, streams: GarblingStreams, tables: bytes) -> None:
        super().__init__(batch, streams)
        if len(tables) % TABLE_BYTES:
            raise RemoteProtocolError(f"tables come in {TABLE_BYTES} bytes per gate")
        self._tables = np.frombuffer(tables, dtype=np.uint64)
        self._read = 0

    def not_(self, x: Wires) -> Wires:
        """Return ¬x: the garbler exchanges the labels."""
        return x

    def constant(self, bits: npt.ArrayLike) -> Wires:
        """Return wires for public bits."""
        return self._streams.labels(self._full_shape(bits))

    def foreign_input(self, shape: tuple[int, ...]) -> Wires:
        """Return wires for bits of SU, shape (…, batch)."""
        return self._streams.labels(shape)

    def and_(self, x: Wires, y: Wires) -> Wires:
        """Return x ∧ y from the next tables."""
        a, b = np.broadcast_arrays(x, y)
        shape = a.shape
        left, right = a.reshape(-1), b.reshape(-1)
        result = np.empty_like(left)
        count(ands=left.size // 2)
        for begin in range(0, left.size, 2 * GATES_PER_RUN):
            run = slice(begin, min(begin + 2 * GATES_PER_RUN, left.size))
            self._run(left[run], right[run], result[run])
        return result.reshape(shape)

    def finish(self) -> None:
        """Check that the tables are used up.

        Raises:
            RemoteProtocolError: Some are left.
        """
        if self._read != self._tables.size:
            raise RemoteProtocolError("there are more tables than gates")

    def _run(self, a: Blocks, b: Blocks, result: Blocks) -> None:
        size = a.size
        end = self._read + 2 * size
        if end > self._tables.size:
            raise RemoteProtocolError("there are fewer tables than gates")
        rows = self._tables[self._read : end].reshape(2, size)
        self._read = end
        blocks = np.concatenate([a, b]).reshape(1, size, 2)
        hashes = self._streams.hash
        hash_a, hash_b = hashes.hash_reserved(blocks, hashes.reserve(size)).reshape(2, size)
        # W_G = H(A) ⊕ s_a·T_G and W_E = H(B) ⊕ s_b·(T_E ⊕ A), s the colours.
        np.bitwise_and(_mask(a), rows[0], out=result)
        result ^= hash_a
        result ^= hash_b
        evaluator_half = rows[1] ^ a
        evaluator_half &= _mask(b)
        result ^= evaluator_half


def _mask(labels: Blocks) -> Blocks:
    """Spread the colour of each label over its 128 bits; flat, two words per label."""
    # 0 − colour is all ones or all zeros; cheaper than selecting by a boolean array.
    return np.repeat(-(labels[::2] & np.uint64(1)), 2)


def checked_delta(delta: bytes) -> Blocks:
    """Return Δ as two words.

    Raises:
        LocalProtocolError: It is not 16 bytes, or its bit 0 is 0.
    """
    if len(delta) != 16 or not delta[0] & 1:
        raise LocalProtocolError("Δ has 16 bytes, and its bit 0 is 1")
    return np.frombuffer(delta, dtype=np.uint64)
