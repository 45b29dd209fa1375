"""Which encodings a chunk carries: what the tenant's models read, each of them once.

All models of a tenant learn from one stream. `counts` serve naive Bayes; `words` and `bits` serve
whoever learns from records (docs/protocols.md §4).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from crypto.dtpkc import Ciphertext
from crypto.packing import SlotLayout
from roles.building_blocks.narrow_words import narrow_layout, pack_narrow
from roles.encoding import EncodedRecords, count_table, encode_bits, encode_label_bits
from roles.tenant import Tenant
from roles.word_encoding import numeric_columns, words_of
from schemas.models import LogisticSpec, NaiveBayesSpec, TreeSpec

COUNTS, WORDS, BITS = "counts", "words", "bits"

Vectors = Mapping[str, tuple[Ciphertext, ...]]
"""The ciphertexts of a chunk or a query, by encoding."""


@dataclass(frozen=True)
class ChunkEncodings:
    """The encodings of a tenant's chunks.

    Attributes:
        tenant: Public facts.
    """

    tenant: Tenant

    @cached_property
    def bit_attributes(self) -> tuple[int, ...] | None:
        """Attributes whose one-hot columns are in `bits`, ascending; None if there are no `bits`."""
        specs = self.tenant.configuration.models
        everything = tuple(range(len(self.tenant.schema.attributes)))
        if any(isinstance(s, TreeSpec) or (isinstance(s, LogisticSpec) and not s.scaled) for s in specs):
            return everything
        if any(isinstance(spec, LogisticSpec) for spec in specs):
            return tuple(sorted(set(everything) - set(numeric_columns(self.tenant.schema))))
        return None

    @cached_property
    def word_columns(self) -> int:
        """Numbers of a record in `words`; 0 if there are none."""
        wanted = any(isinstance(s, LogisticSpec) and s.scaled for s in self.tenant.configuration.models)
        return len(numeric_columns(self.tenant.schema)) if wanted else 0

    @property
    def bit_columns(self) -> int:
        """Bits of a record, the one-hot class behind the attributes; 0 if there are none."""
        if self.bit_attributes is None:
            return 0
        sizes = self.tenant.schema.attribute_sizes
        return sum(sizes[index] for index in self.bit_attributes) + self.tenant.schema.class_count

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The encodings, in the order in which a chunk carries them."""
        counted = any(isinstance(spec, NaiveBayesSpec) for spec in self.tenant.configuration.models)
        present = ((COUNTS, counted), (WORDS, self.word_columns > 0), (BITS, self.bit_columns > 0))
        return tuple(name for name, is_present in present if is_present)

    def plaintexts(self, records: EncodedRecords) -> dict[str, list[int]]:
        """Return the plaintexts of training records by encoding (owner).

        Raises:
            LocalProtocolError: Labels or words are missing, or an index is outside its attribute.
        """
        schema = self.tenant.schema
        packed: dict[str, list[int]] = {}
        for name, layout in zip(self.names, self.layouts(len(records)), strict=True):
            if name == COUNTS:
                counts = count_table(schema, records)
                values = np.concatenate([counts.feature_counts.reshape(-1), counts.class_counts])
                packed[name] = layout.pack(values)
            elif name == WORDS:
                packed[name] = pack_narrow(layout, words_of(records))
            else:
                bits = encode_bits(schema, records, self.bit_attributes)
                whole = np.concatenate([bits, encode_label_bits(schema, records)], axis=1)
                packed[name] = layout.pack(whole.reshape(-1))
        return packed

    def layouts(self, records: int) -> tuple[SlotLayout, ...]:
        """Return the layouts of so many records, in the order of `names`.

        Raises:
            LayoutError: So many records could overflow a slot.
        """
        of_name = {
            COUNTS: lambda: self.tenant.counts_layout(records),
            WORDS: lambda: narrow_layout(self.tenant.modulus_bits, records * self.word_columns),
            BITS: lambda: self.tenant.bits_layout(records * self.bit_columns),
        }
        return tuple(of_name[name]() for name in self.names)
