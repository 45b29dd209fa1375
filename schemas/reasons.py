"""The closed list of reason codes, with what each means, what to do, and its exit code.

The same codes stand in dead letters, journal rejects, receipts and the errors of the command
line, so that one list (`privml errors --json`) explains every refusal. A peer is told the
code and nothing else.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class ExitCode(IntEnum):
    """How a command ends."""

    DONE = 0
    CHECK_FAILED = 1
    USAGE = 2
    BAD_INPUT = 3
    CONFIGURATION = 4
    UNREACHABLE = 5
    REFUSED = 6
    STORAGE = 7
    BUG = 70


class ReasonCode(StrEnum):
    """Why something was refused or failed; the value is what travels and is stored."""

    TOO_LARGE = "too_large"
    WRONG_TOPIC = "wrong_topic"
    REVOKED = "revoked"
    NOT_SUCCESSOR = "not_successor"
    UNKNOWN_SENDER = "unknown_sender"
    BAD_SIGNATURE = "bad_signature"
    MALFORMED = "malformed"
    UNSUPPORTED_VERSION = "unsupported_version"
    WRONG_TENANT = "wrong_tenant"
    WRONG_KEY_EPOCH = "wrong_key_epoch"
    WRONG_SCHEMA = "wrong_schema"
    STALE_SEQUENCE = "stale_sequence"
    DUPLICATE = "duplicate"
    EQUIVOCATION = "equivocation"
    INCOMPLETE_PARTS = "incomplete_parts"
    INVALID_CIPHERTEXT = "invalid_ciphertext"
    INVALID_KEY = "invalid_key"
    KEY_MISMATCH = "key_mismatch"
    BAD_PROOF = "bad_proof"
    NOT_OPENABLE = "not_openable"
    OUT_OF_RANGE = "out_of_range"
    LAYOUT_OVERFLOW = "layout_overflow"
    OVERFLOW = "overflow"
    PLAN_VIOLATION = "plan_violation"
    PROTOCOL_ERROR = "protocol_error"
    CONFLICTING_REQUEST = "conflicting_request"
    UNKNOWN_MODEL = "unknown_model"
    TOO_MANY_ROWS = "too_many_rows"
    NOT_ENOUGH_RECORDS = "not_enough_records"
    QUOTA_EXCEEDED = "quota_exceeded"
    VERSION_GONE = "version_gone"
    UNKNOWN_HEAD = "unknown_head"
    NOT_WITHDRAWABLE = "not_withdrawable"
    CHUNK_NOT_KEPT = "chunk_not_kept"
    UNKNOWN_CATEGORY = "unknown_category"
    WRONG_COLUMNS = "wrong_columns"
    MISSING_VALUE = "missing_value"
    NOT_A_NUMBER = "not_a_number"
    EMPTY_FILE = "empty_file"
    UNREADABLE_FILE = "unreadable_file"
    WRONG_PASSPHRASE = "wrong_passphrase"  # noqa: S105 - a code, not a password
    INVALID_KEYSTORE = "invalid_keystore"
    INVALID_CONFIG = "invalid_config"
    TIMEOUT = "timeout"
    TRANSPORT_UNREACHABLE = "transport_unreachable"
    TRANSPORT_CLOSED = "transport_closed"
    UNKNOWN_TOPIC = "unknown_topic"
    OFFSET_OUT_OF_RANGE = "offset_out_of_range"
    STORAGE_FULL = "storage_full"
    STORAGE_DAMAGED = "storage_damaged"
    LOG_ROLLED_BACK = "log_rolled_back"
    CHECK_FAILED = "check_failed"
    USAGE = "usage"
    INTERNAL_ERROR = "internal_error"

    @property
    def meaning(self) -> str:
        """Return one sentence on what happened."""
        return _REASONS[self].meaning

    @property
    def hint(self) -> str:
        """Return one sentence on what to do."""
        return _REASONS[self].hint

    @property
    def exit_code(self) -> ExitCode:
        """Return how a command ends that fails for this reason."""
        return _REASONS[self].exit_code


@dataclass(frozen=True, slots=True)
class Reason:
    """What a reason code stands for."""

    meaning: str
    hint: str
    exit_code: ExitCode


def reasons() -> dict[ReasonCode, Reason]:
    """Return the whole list in the order of `ReasonCode`."""
    return {code: _REASONS[code] for code in ReasonCode}


_R = ReasonCode
_E = ExitCode

_REASONS: dict[ReasonCode, Reason] = {
    # A message, in the order in which it is checked.
    _R.TOO_LARGE: Reason(
        "A message, a group of parts or a file is above its size limit.",
        "Use a smaller chunk size.",
        _E.REFUSED,
    ),
    _R.WRONG_TOPIC: Reason(
        "The sender's role may not write this topic, or the message was signed for another one.",
        "Check which identity the sender uses; a message cannot be moved between topics.",
        _E.REFUSED,
    ),
    _R.UNKNOWN_SENDER: Reason(
        "The sender is not in the tenant's signed configuration.",
        "Have the authority register the sender, or check its name.",
        _E.REFUSED,
    ),
    _R.REVOKED: Reason(
        "The authority has revoked the sender.",
        "Ask the authority; a name that was revoked is not given again.",
        _E.REFUSED,
    ),
    _R.NOT_SUCCESSOR: Reason(
        "A configuration does not continue the one in force, or changes more than owners and clients.",
        "Make the next version with `privml authority enroll` or `privml authority revoke`.",
        _E.CONFIGURATION,
    ),
    _R.BAD_SIGNATURE: Reason(
        "The signature does not verify over the received bytes.",
        "Send it again; if it persists, the keystore does not match the configuration or someone forges.",
        _E.REFUSED,
    ),
    _R.MALFORMED: Reason(
        "The bytes are not the one encoding of a message of this version.",
        "Check that sender and receiver run the same version.",
        _E.REFUSED,
    ),
    _R.UNSUPPORTED_VERSION: Reason(
        "The message has a format version this program does not read.",
        "Run the same version of privml everywhere.",
        _E.REFUSED,
    ),
    _R.WRONG_TENANT: Reason(
        "The message was signed for another tenant.",
        "Check the configuration file the sender uses.",
        _E.REFUSED,
    ),
    _R.WRONG_KEY_EPOCH: Reason(
        "The message was made under another key epoch.",
        "Fetch the current configuration and encrypt again.",
        _E.REFUSED,
    ),
    _R.WRONG_SCHEMA: Reason(
        "The data schema's hash is not the one of the signed configuration.",
        "Fetch the current data schema and encode the file again.",
        _E.REFUSED,
    ),
    _R.STALE_SEQUENCE: Reason(
        "The sequence number is not the sender's next one and was not decided before under these bytes.",
        "Send the missing earlier messages from the outbox first.",
        _E.REFUSED,
    ),
    _R.DUPLICATE: Reason(
        "The same message was decided before; it has no second effect.",
        "Nothing to do.",
        _E.REFUSED,
    ),
    _R.EQUIVOCATION: Reason(
        "Another body came under a sequence number that already has one.",
        "Restore the sender's outbox; never publish two bodies under one number.",
        _E.REFUSED,
    ),
    _R.INCOMPLETE_PARTS: Reason(
        "Not all parts of a large message came before newer groups took their room.",
        "Send all parts of one message before the next message.",
        _E.REFUSED,
    ),
    _R.INVALID_CIPHERTEXT: Reason(
        "A ciphertext component is out of range, not invertible or of the wrong symbol.",
        "Encrypt again with the current public key; report it if it persists.",
        _E.REFUSED,
    ),
    _R.INVALID_KEY: Reason(
        "A modulus, generator or key fails its checks.",
        "Make the key again with `keygen`.",
        _E.CONFIGURATION,
    ),
    _R.KEY_MISMATCH: Reason(
        "Two values belong to different moduli or keys.",
        "Check that keystore and configuration belong together.",
        _E.CONFIGURATION,
    ),
    _R.BAD_PROOF: Reason(
        "A proof of plaintext knowledge or of key knowledge does not verify.",
        "Encrypt again; a proof is bound to sender, topic and sequence and cannot be reused.",
        _E.REFUSED,
    ),
    _R.NOT_OPENABLE: Reason(
        "A ciphertext is not an encryption under the key that opens it.",
        "Encrypt again with the current public key.",
        _E.REFUSED,
    ),
    _R.OUT_OF_RANGE: Reason(
        "A value lies outside the range the data schema or the packing allows.",
        "Check the values against the data schema.",
        _E.REFUSED,
    ),
    _R.LAYOUT_OVERFLOW: Reason(
        "A sum could exceed its slot.",
        "Use fewer records per chunk, or start a new key epoch.",
        _E.REFUSED,
    ),
    _R.OVERFLOW: Reason(
        "A weight would have left its range; the chunk changed nothing.",
        "Lower the learning rate, raise the decay, or scale the features.",
        _E.REFUSED,
    ),
    _R.PLAN_VIOLATION: Reason(
        "A request is not the next operation of the public plan.",
        "Check that both units run the same version and configuration.",
        _E.REFUSED,
    ),
    _R.PROTOCOL_ERROR: Reason(
        "The peer left the conversation's rules.",
        "Check that both units run the same version; look at the local log.",
        _E.REFUSED,
    ),
    _R.CONFLICTING_REQUEST: Reason(
        "A different request came under a step that already has one.",
        "Restart the unit from its journal; two processes may be running under one identity.",
        _E.REFUSED,
    ),
    _R.UNKNOWN_MODEL: Reason(
        "No model of that name is in the configuration.",
        "List the models with `privml inspect model`.",
        _E.REFUSED,
    ),
    _R.TOO_MANY_ROWS: Reason(
        "A chunk or query holds more rows than the configuration allows.",
        "Use a smaller chunk size.",
        _E.REFUSED,
    ),
    _R.NOT_ENOUGH_RECORDS: Reason(
        "The model does not hold enough records from enough owners to answer.",
        "Wait until more owners have published.",
        _E.REFUSED,
    ),
    _R.QUOTA_EXCEEDED: Reason(
        "The client has used its queries of this key epoch.",
        "Wait for the next key epoch or ask the authority for a larger quota.",
        _E.REFUSED,
    ),
    _R.VERSION_GONE: Reason(
        "The version of the model that was to answer is not kept any more.",
        "Ask again; a later version will answer.",
        _E.REFUSED,
    ),
    _R.UNKNOWN_HEAD: Reason(
        "The secondary unit has seen no signed head about this version of the model, or may not use it yet.",
        "The master unit publishes heads by itself; look for a topic that lost messages.",
        _E.REFUSED,
    ),
    _R.NOT_WITHDRAWABLE: Reason(
        "The chunk is not in the model (yet), is not the sender's, or this classifier cannot take data back.",
        "Check the chunk id with `privml inspect chunk`.",
        _E.REFUSED,
    ),
    _R.CHUNK_NOT_KEPT: Reason(
        "The chunk's ciphertexts are not kept any more, so that they cannot be taken out of the model.",
        "Ask the operator for longer retention of the topic `chunks`; what is in the model stays.",
        _E.REFUSED,
    ),
    # An input file.
    _R.UNKNOWN_CATEGORY: Reason(
        "A cell holds a category the data schema does not list.",
        "Correct the cell or extend the data schema before `authority init`.",
        _E.BAD_INPUT,
    ),
    _R.WRONG_COLUMNS: Reason(
        "The header does not match the data schema.",
        "Rename, add or remove the columns named in the message.",
        _E.BAD_INPUT,
    ),
    _R.MISSING_VALUE: Reason(
        "A cell is empty and the data schema has no category for that.",
        "Fill the cell or remove the row.",
        _E.BAD_INPUT,
    ),
    _R.NOT_A_NUMBER: Reason(
        "A cell of a numeric column is not a finite number.",
        "Correct the cell.",
        _E.BAD_INPUT,
    ),
    _R.EMPTY_FILE: Reason("The file holds no rows.", "Give a file with a header and rows.", _E.BAD_INPUT),
    _R.UNREADABLE_FILE: Reason(
        "The file is missing, not readable or not UTF-8 text.",
        "Check the path, the permissions and the encoding.",
        _E.BAD_INPUT,
    ),
    # This machine's configuration.
    _R.WRONG_PASSPHRASE: Reason(
        "The keystore does not open with this passphrase.",
        "Check --passphrase-file or --passphrase-fd.",
        _E.CONFIGURATION,
    ),
    _R.INVALID_KEYSTORE: Reason(
        "The keystore is missing, damaged or of another role.",
        "Check --keystore; restore the file from its backup.",
        _E.CONFIGURATION,
    ),
    _R.INVALID_CONFIG: Reason(
        "The configuration is missing, inconsistent or not signed by the authority.",
        "Check --config and the line named in the message.",
        _E.CONFIGURATION,
    ),
    # Transport and storage.
    _R.TIMEOUT: Reason(
        "A peer did not answer in time.",
        "Check with `privml inspect topics` that both units run; then repeat, nothing happens twice.",
        _E.UNREACHABLE,
    ),
    _R.TRANSPORT_UNREACHABLE: Reason(
        "The topics cannot be reached or are busy.",
        "Check --transport and that the directory or broker is there; then repeat.",
        _E.UNREACHABLE,
    ),
    _R.TRANSPORT_CLOSED: Reason("The transport was closed.", "Start the command again.", _E.UNREACHABLE),
    _R.UNKNOWN_TOPIC: Reason(
        "The topic or partition does not exist.",
        "Make the topics with `privml authority init` or `privml topics create`.",
        _E.UNREACHABLE,
    ),
    _R.OFFSET_OUT_OF_RANGE: Reason(
        "The messages asked for are older than what the topic keeps.",
        "Start from a newer snapshot, or keep messages longer.",
        _E.STORAGE,
    ),
    _R.STORAGE_FULL: Reason("The disk is full.", "Free some space; then repeat.", _E.STORAGE),
    _R.STORAGE_DAMAGED: Reason(
        "A stored file is damaged or cannot be read or written.",
        "Check the disk; restore the file from its backup.",
        _E.STORAGE,
    ),
    _R.LOG_ROLLED_BACK: Reason(
        "The log lacks messages that this process has already seen.",
        "Restore the newer log; never run a unit on an older copy.",
        _E.STORAGE,
    ),
    # The command itself.
    _R.CHECK_FAILED: Reason("A check found a difference.", "Read the findings.", _E.CHECK_FAILED),
    _R.USAGE: Reason("The command was called wrongly.", "See --help.", _E.USAGE),
    _R.INTERNAL_ERROR: Reason(
        "A bug in privml.",
        "Report it with the version and the log; a restart recovers from the journal.",
        _E.BUG,
    ),
}
