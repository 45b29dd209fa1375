"""Which module's work counts as which part; what a part calls that has none of its own belongs to it.

Coroutines and generators are left alone, since they rest in the middle: what drives them is named instead.
"""

POWERS = "powers and products mod N²"
TRANSFERS = "transfers"
GATES = "gates, garbled and evaluated"
NUMBERS = "shares, packing and other numbers"
MESSAGES = "messages: msgpack, signatures, seals"
TOPICS = "topics, journal and ledgers: SQLite"
WAKING = "waking: selector, threads, doorbells"
REST = "the rest: tasks of the event loop"

PARTS = (POWERS, TRANSFERS, GATES, NUMBERS, MESSAGES, TOPICS, WAKING, REST)

MODULES = {
    "crypto.arithmetic": POWERS,
    "crypto.multi_power": POWERS,
    "crypto.homomorphism": POWERS,
    "crypto.dtpkc": POWERS,
    "crypto.service_key": POWERS,
    "crypto.plaintext_proof": POWERS,
    "crypto.key_proof": POWERS,
    "crypto.validation": POWERS,
    "crypto.base_ot": TRANSFERS,
    "crypto.bit_matrix": TRANSFERS,
    "crypto.correlated_ot": TRANSFERS,
    "crypto.correlated_strings": TRANSFERS,
    "crypto.ot_extension": TRANSFERS,
    "crypto.transfer_rows": TRANSFERS,
    "crypto.garbling": GATES,
    "crypto.garbling_engines": GATES,
    "crypto.packing": NUMBERS,
    "roles.encoding": NUMBERS,
    "roles.data_owner": NUMBERS,
    "roles.client": NUMBERS,
    "roles.screening": NUMBERS,
    "roles.vectors": NUMBERS,
    "roles.secondary_unit": NUMBERS,
    "roles.master_unit": NUMBERS,
    "schemas.codec": MESSAGES,
    "schemas.envelope": MESSAGES,
    "schemas.parts": MESSAGES,
    "crypto.unit_channel": MESSAGES,
    "pipeline.doorbell": WAKING,
    "pipeline.journal_index_file": TOPICS,
    "pipeline.kafka_lookup": TOPICS,
    "pipeline.log_files": TOPICS,
    "pipeline.outbox": TOPICS,
    "pipeline.query_book": TOPICS,
    "pipeline.session_ledger": TOPICS,
    "pipeline.sqlite_file": TOPICS,
}
"""All plain functions of a module, and plain methods of its classes."""

FUNCTIONS = {"pipeline.rounds": ("_advance", NUMBERS)}
"""Single functions: this one drives MU's half of a session."""

METHODS = {
    ("selectors", "DefaultSelector"): (WAKING, "select"),
    ("asyncio.base_events", "BaseEventLoop"): (WAKING, "run_in_executor"),
    ("asyncio.selector_events", "BaseSelectorEventLoop"): (WAKING, "_write_to_self", "_read_from_self"),
    ("concurrent.futures", "Future"): (WAKING, "set_result"),
}
"""Methods by which threads and the event loop wake each other, by module and class."""
