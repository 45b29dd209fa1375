"""Why bytes from outside are not taken as a message; one class per reason code.

Texts name the check that failed and never repeat what was received.
"""

from crypto.errors import SchemaError
from schemas.reasons import ReasonCode


class MalformedMessageError(SchemaError):
    """The bytes are not the one encoding of the expected type."""

    code = ReasonCode.MALFORMED


class UnsupportedVersionError(SchemaError):
    """The message has a format version this program does not read."""

    code = ReasonCode.UNSUPPORTED_VERSION


class MessageTooLargeError(SchemaError):
    """A message or a group of parts is above its limit.

    Attributes:
        size: Bytes found, or the least that is known of it.
        limit: Bytes allowed.
    """

    code = ReasonCode.TOO_LARGE

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"{size} bytes are more than the {limit} allowed")
        self.size = size
        self.limit = limit


class UnknownSenderError(SchemaError):
    """The sender is not in the signed configuration."""

    code = ReasonCode.UNKNOWN_SENDER


class RevokedSenderError(SchemaError):
    """The sender was enrolled and is revoked where this message stands."""

    code = ReasonCode.REVOKED


class WrongTopicError(SchemaError):
    """The sender may not write this topic, or the message was signed for another."""

    code = ReasonCode.WRONG_TOPIC


class BadSignatureError(SchemaError):
    """The signature does not verify over the received bytes."""

    code = ReasonCode.BAD_SIGNATURE


class WrongTenantError(SchemaError):
    """The message was signed for another tenant."""

    code = ReasonCode.WRONG_TENANT


class WrongKeyEpochError(SchemaError):
    """The message was made under another key epoch than the sender's current one."""

    code = ReasonCode.WRONG_KEY_EPOCH


class EquivocationError(SchemaError):
    """Two different messages carry the same sender and sequence."""

    code = ReasonCode.EQUIVOCATION
