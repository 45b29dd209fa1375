"""Every error of the project descends from `PrivMLError` and carries a reason code.

A code is what travels to a peer or into a dead letter; the text is for whoever reads the
local log. Neither ever holds a plaintext, a key, a mask or a ciphertext.
"""


class PrivMLError(Exception):
    """Base of all errors; `code` is a member of the public list of reason codes."""

    code: str = "internal_error"


class CryptoError(PrivMLError):
    """A number is not what the mathematics needs it to be."""

    code = "invalid_ciphertext"


class InvalidKeyError(CryptoError):
    """A modulus, generator or key fails its checks."""

    code = "invalid_key"


class InvalidCiphertextError(CryptoError):
    """A ciphertext component is out of range, not coprime to N, or of the wrong symbol."""

    code = "invalid_ciphertext"


class KeyMismatchError(CryptoError):
    """Two values belong to different moduli or keys."""

    code = "key_mismatch"


class PlaintextRangeError(CryptoError):
    """A plaintext does not fit the message space or its slot."""

    code = "out_of_range"


class NotOpenableError(CryptoError):
    """The argument of L is neither 1 nor −1 mod N: not an encryption under this key."""

    code = "not_openable"


class ProofError(CryptoError):
    """A proof of knowledge does not verify."""

    code = "bad_proof"


class LayoutError(CryptoError):
    """An operation could overflow a slot, or joins different layouts."""

    code = "layout_overflow"


class SchemaError(PrivMLError):
    """Bytes from outside are not a message of this version."""

    code = "malformed"


class ProtocolError(PrivMLError):
    """A conversation left its plan."""

    code = "protocol_error"


class LocalProtocolError(ProtocolError):
    """We called the core wrongly: a bug on this side."""

    code = "internal_error"


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol."""

    code = "protocol_error"
