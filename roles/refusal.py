"""How a role refuses a message from outside, and which reason code an error stands for."""

from crypto.errors import PrivMLError, RemoteProtocolError
from schemas.reasons import ReasonCode


class Refusal(RemoteProtocolError):
    """A message from outside is refused; `reason` is what the dead letter will say."""

    def __init__(self, reason: ReasonCode, detail: str = "") -> None:
        super().__init__(detail or reason.value)
        self.reason = reason


def refusal_reason(error: PrivMLError) -> ReasonCode:
    """Return the reason code of an error that a message from outside caused.

    Raises:
        PrivMLError: The error itself, if it is a bug of this side.
    """
    if isinstance(error, Refusal):
        return error.reason
    if error.code == ReasonCode.INTERNAL_ERROR:
        raise error
    return ReasonCode(error.code)
