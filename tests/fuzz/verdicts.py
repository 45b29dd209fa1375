"""What every decoder owes to bytes from outside: a value, or an error with a reason code and no content."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TypeVar

from crypto.errors import PrivMLError
from schemas.reasons import ReasonCode

T = TypeVar("T")

INPUTS = 20_000
WINDOW = 8
_CODES = frozenset(ReasonCode)
_LONGEST_TEXT = 2000
_SHOWN_BYTES = 1000


@dataclass(slots=True)
class Tally:
    """What became of the inputs of one decoder.

    Attributes:
        inputs: How many there were.
        mutated: How many of them were a valid message, changed.
        accepted: How many were read as a value.
        refused: How often each reason was given.
    """

    inputs: int = 0
    mutated: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    def judge(
        self,
        decoder: Callable[[bytes], T],
        data: bytes,
        *,
        mutated: bool,
        again: Callable[[T], bytes] | None = None,
        secret: bytes | None = None,
        known: bytes = b"",
    ) -> T | None:
        """Hold a decoder to its word on one input; return the value if there is one.

        Args:
            decoder: What is tested.
            data: The input.
            mutated: It is a valid message, changed.
            again: Encodes a value; must give the input back.
            secret: What no error may repeat, the whole input by default.
            known: What it may say all the same.
        """
        return self.judge_call(
            partial(decoder, data), data, mutated=mutated, again=again, secret=secret, known=known
        )

    def judge_call(
        self,
        call: Callable[[], T],
        data: bytes,
        *,
        mutated: bool,
        again: Callable[[T], bytes] | None = None,
        secret: bytes | None = None,
        known: bytes = b"",
    ) -> T | None:
        """Hold a call that has its input already to the same; `data` is what it is about."""
        self.inputs += 1
        self.mutated += mutated
        try:
            value = call()
        except PrivMLError as error:
            self.refused[check_error(error, data if secret is None else secret, known)] += 1
            return None
        except Exception as error:
            raise AssertionError(f"{type(error).__name__} on {_shown(data)}") from error
        self.accepted += 1
        if again is not None and (repeated := again(value)) != data:
            raise AssertionError(f"{_shown(data)} was read as what is written {_shown(repeated)}")
        return value

    def check(self, at_least: int = INPUTS, *, accepting: bool = True, reasons: Iterable[str] = ()) -> None:
        """Require the promised numbers.

        Args:
            at_least: Inputs.
            accepting: Some must have been accepted: else nothing shows that the rest was near.
            reasons: Reasons that must have been given.
        """
        print(self)
        assert self.inputs >= at_least
        assert 2 * self.mutated >= self.inputs
        assert bool(self.accepted) >= accepting
        assert sum(self.refused.values()) + self.accepted == self.inputs
        assert not set(reasons) - set(self.refused)
        # A bug of this side, whoever brought it to light.
        assert ReasonCode.INTERNAL_ERROR not in self.refused


def _shown(data: bytes) -> str:
    return data.hex() if len(data) <= _SHOWN_BYTES else f"{data[:_SHOWN_BYTES].hex()}… ({len(data)} bytes)"


def check_error(error: PrivMLError, secret: bytes, known: bytes = b"") -> str:
    """Return an error's reason code after holding the error to the list and to silence."""
    code = getattr(error, "reason", None) or error.code
    assert code in _CODES, f"{type(error).__name__} has the code {code!r}"
    assert error.code in _CODES
    said = [str(error), repr(error), *(str(getattr(error, name, "")) for name in ("hint", "column"))]
    assert max(map(len, said)) <= _LONGEST_TEXT
    # And what a traceback would print of its causes.
    shown: BaseException | None = error
    while shown is not None:
        said.append(str(shown))
        shown = shown.__cause__ or (None if shown.__suppress_context__ else shown.__context__)
    _check_silent("\n".join(dict.fromkeys(said)), secret, known)
    for argument in error.args:
        assert isinstance(argument, str | int), type(argument)
        assert not isinstance(argument, int) or argument.bit_length() <= 64
    return str(code)


def _check_silent(text: str, secret: bytes, known: bytes) -> None:
    raw, spelled = _windows(text)
    for window in raw:
        assert window not in secret or window in known, f"{text!r} repeats {window!r}"
    if spelled:
        hexadecimal = secret.hex()
        for digits in spelled:
            assert digits not in hexadecimal, f"{text!r} repeats {digits!r}"


@lru_cache(maxsize=4096)
def _windows(text: str) -> tuple[tuple[bytes, ...], tuple[str, ...]]:
    """Return all pieces of 8 bytes of a text, and those that may be 8 bytes in hexadecimal."""
    data = text.encode("utf-8", errors="surrogateescape")
    raw = {data[i : i + WINDOW] for i in range(len(data) - WINDOW + 1)}
    pieces = {text[i : i + 2 * WINDOW] for i in range(len(text) - 2 * WINDOW + 1)}
    spelled = {piece for piece in pieces if all(c in "0123456789abcdef" for c in piece)}
    return tuple(sorted(raw)), tuple(sorted(spelled))
