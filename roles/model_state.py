"""The encrypted naive-Bayes model as MU and the auditor keep it: a plain product of chunks.

Training is ciphertext multiplication alone: no interaction, no decryption, and anyone who
holds the log computes the same bytes (docs/protocols.md §5).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from crypto.arithmetic import inverses, products_pairwise
from crypto.dtpkc import Ciphertext, encode_ciphertexts
from crypto.packing import SlotLayout
from roles.tenant import Tenant
from schemas.configuration import ModelSpec


@dataclass(frozen=True, slots=True)
class ModelState:
    """One version of a model.

    Attributes:
        spec: Which model.
        version: Chunks folded in plus withdrawals; 0 is the empty model.
        chunks: Chunks that are in.
        records: Records that are in.
        records_of: The same by owner, owners without records left out.
        layout: Of the counts, bounded by the records.
        ciphertexts: [2·counts], in layout order.
    """

    spec: ModelSpec
    version: int
    chunks: int
    records: int
    layout: SlotLayout
    ciphertexts: tuple[Ciphertext, ...]
    records_of: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def empty(cls, tenant: Tenant, spec: ModelSpec) -> "ModelState":
        """Return the model before any chunk: public encryptions of zero."""
        layout = tenant.counts_layout(0)
        return cls(spec, 0, 0, 0, layout, (Ciphertext(1, 1),) * layout.ciphertexts)

    def hash(self, tenant: Tenant) -> bytes:
        """Return SHA-256 over T1‖T2 of each ciphertext, fixed width, in layout order."""
        return hashlib.sha256(encode_ciphertexts(tenant.parameters, self.ciphertexts)).digest()

    def learn(
        self, tenant: Tenant, owner: str, records: int, ciphertexts: Sequence[Ciphertext]
    ) -> "ModelState":
        """Return the model with one more chunk of counts in it.

        Raises:
            LayoutError: A slot could overflow; nothing changed.

        Cost:
            Two multiplications mod N² per ciphertext.
        """
        layout = self.layout.plus(tenant.counts_layout(records))
        owned = {**self.records_of, owner: self.records_of.get(owner, 0) + records}
        return replace(
            self,
            version=self.version + 1,
            chunks=self.chunks + 1,
            records=self.records + records,
            layout=layout,
            ciphertexts=_multiply(tenant, self.ciphertexts, ciphertexts),
            records_of=MappingProxyType(owned),
        )

    def withdraw(
        self, tenant: Tenant, owner: str, records: int, ciphertexts: Sequence[Ciphertext]
    ) -> "ModelState":
        """Return the model without a chunk that is in it, exactly as if it had never come.

        The caller has made sure that the chunk was accepted and not withdrawn before: anything
        else would borrow across slots.

        Raises:
            LayoutError: More would be taken out than is in; nothing changed.

        Cost:
            Two multiplications per ciphertext and one batch inversion mod N².
        """
        layout = self.layout.minus(tenant.counts_layout(records))
        n_squared = tenant.parameters.n_squared
        inverted = inverses([part for c in ciphertexts for part in (c.t1, c.t2)], n_squared)
        pairs = [Ciphertext(*inverted[i : i + 2]) for i in range(0, len(inverted), 2)]
        owned = {**self.records_of, owner: self.records_of.get(owner, 0) - records}
        return replace(
            self,
            version=self.version + 1,
            chunks=self.chunks - 1,
            records=self.records - records,
            layout=layout,
            ciphertexts=_multiply(tenant, self.ciphertexts, pairs),
            records_of=MappingProxyType({name: held for name, held in owned.items() if held > 0}),
        )


def _multiply(
    tenant: Tenant, model: Sequence[Ciphertext], factors: Sequence[Ciphertext]
) -> tuple[Ciphertext, ...]:
    n_squared = tenant.parameters.n_squared
    t1s = products_pairwise([c.t1 for c in model], [c.t1 for c in factors], n_squared)
    t2s = products_pairwise([c.t2 for c in model], [c.t2 for c in factors], n_squared)
    return tuple(Ciphertext(t1, t2) for t1, t2 in zip(t1s, t2s, strict=True))
