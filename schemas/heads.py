"""Signed heads: MU's word, and SU's after it, on how far the journal is and which model that gives."""

from schemas.codec import WireStruct


class Head(WireStruct):
    """The state after one journal entry.

    Attributes:
        model_id: The model concerned.
        model_version: Its version.
        journal_sequence: The entry.
        journal_head: Its id.
        records: Records in the model.
        owners: Owners they came from.
        model_hash: SHA-256 over the model's ciphertexts.
        withdrawn: Records that were withdrawn from the version that answered before this one.
    """

    model_id: str
    model_version: int
    journal_sequence: int
    journal_head: bytes
    records: int
    owners: int
    model_hash: bytes
    withdrawn: int
