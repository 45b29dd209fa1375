"""What journal entries name and do not hold: fetched by whoever folds them."""

from dataclasses import dataclass, field

from roles.chunk_encodings import Vectors
from roles.model_state import Content
from roles.roster import Change


@dataclass(frozen=True, slots=True)
class EntryContent:
    """What an entry names and does not hold.

    Attributes:
        vectors: Of the chunk, for ``accept`` and ``withdraw``.
        query_id: The query's own id, for ``query``.
        learnt: The model's content after it, for ``learnt``.
        change: What the version changes, for ``configured``.
    """

    vectors: Vectors = field(default_factory=dict, repr=False)
    query_id: bytes = b""
    learnt: Content | None = field(default=None, repr=False)
    change: Change | None = field(default=None, repr=False)


NOTHING = EntryContent()
