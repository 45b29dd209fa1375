"""One version of an encrypted model, as MU and auditors keep it: what is in it, and its ciphertexts.

Whatever the learner, a version is named by the hash of its ciphertexts, and has public totals that
rule 9 of docs/security.md is about.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Protocol, runtime_checkable

from crypto.dtpkc import Ciphertext, encode_ciphertexts
from roles.tenant import Tenant
from schemas.models import ModelSpec
from schemas.snapshots import SealedPlace


class Content(Protocol):
    """What a learner keeps of a model."""

    @property
    def public_ciphertexts(self) -> tuple[Ciphertext, ...]:
        """All ciphertexts, in the order in which they are hashed."""
        ...


@runtime_checkable
class KnownHash(Protocol):
    """A content of which the hash alone is known."""

    @property
    def model_hash(self) -> bytes:
        """SHA-256 over its ciphertexts."""
        ...


@dataclass(frozen=True, slots=True)
class ModelState:
    """One version of a model.

    Attributes:
        spec: Which model.
        content: The learner's own.
        version: Chunks that the model was taught, whether or not it learnt them, and withdrawals;
            0 is the empty model.
        chunks: Chunks that are in.
        records: Records that are in.
        records_of: The same by owner, owners without records left out.
        sealed_at: Where this version lies sealed; None if it does not yet.
    """

    spec: ModelSpec
    content: Content
    version: int = 0
    chunks: int = 0
    records: int = 0
    records_of: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    sealed_at: SealedPlace | None = field(default=None, compare=False)

    @property
    def owners(self) -> int:
        """Owners whose records are in."""
        return len(self.records_of)

    @property
    def ciphertexts(self) -> tuple[Ciphertext, ...]:
        """All ciphertexts, in the order in which they are hashed."""
        return self.content.public_ciphertexts

    def hash(self, tenant: Tenant) -> bytes:
        """Return SHA-256 over T1‖T2 of each ciphertext, fixed width, in order."""
        if isinstance(self.content, KnownHash):
            return self.content.model_hash
        return hashlib.sha256(encode_ciphertexts(tenant.parameters, self.ciphertexts)).digest()

    def suffices(self, tenant: Tenant) -> bool:
        """Return whether the model holds enough records of enough owners to answer."""
        limits = tenant.configuration.limits
        return self.records >= limits.min_records and self.owners >= limits.min_owners

    def taking(
        self, owner: str, records: int, content: Content, sealed_at: SealedPlace | None = None
    ) -> "ModelState":
        """Return the version with one more chunk in it.

        Args:
            owner: Whose it is.
            records: Records that are now in.
            content: What the learner made of it.
            sealed_at: Where that lies sealed.
        """
        held = {**self.records_of, owner: self.records_of.get(owner, 0) + records}
        return replace(self._changed(held, 1, records, content), sealed_at=sealed_at)

    def losing(self, owner: str, records: int, content: Content) -> "ModelState":
        """Return the version without a chunk that is in it."""
        held = {**self.records_of, owner: self.records_of.get(owner, 0) - records}
        return self._changed(held, -1, -records, content)

    def passing_over(self) -> "ModelState":
        """Return the version after a chunk that the model did not learn."""
        # The version that lies sealed is another one, though of the same content.
        return replace(self, version=self.version + 1, sealed_at=None)

    def _changed(self, held: Mapping[str, int], chunks: int, records: int, content: Content) -> "ModelState":
        return replace(
            self,
            content=content,
            sealed_at=None,
            version=self.version + 1,
            chunks=self.chunks + chunks,
            records=self.records + records,
            records_of=MappingProxyType({name: count for name, count in held.items() if count > 0}),
        )
