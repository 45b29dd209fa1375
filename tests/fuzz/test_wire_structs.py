"""Every wire struct against hostile bytes; a new struct is found and tested without a line here."""

import copy
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial

import msgpack
import pytest
from fuzz.drawing import Draws
from fuzz.mutants import Corpus, noise
from fuzz.verdicts import INPUTS, Tally
from fuzz.wire_values import draw_struct, wire_structs

from crypto.errors import SchemaError
from schemas.codec import MAX_DEPTH, MAX_VALUES, WireStruct, decode, encode, unpack
from schemas.data_schema import CategoricalAttribute, ClassLabel, DataSchema, NumericAttribute
from schemas.errors import MalformedMessageError
from schemas.journal import JournalEntry
from schemas.models import LogisticSpec, ModelSpec, NaiveBayesSpec, TreeSpec, classifier_of
from schemas.rounds import Request

STRUCTS = wire_structs()
# A data schema is public, and whoever edits one is told the name of the column that is wrong.
QUOTED = {CategoricalAttribute, NumericAttribute, ClassLabel, DataSchema}
CORPUS = 64


def corpus_of(struct: type[WireStruct], draws: Draws) -> Corpus:
    messages = [encode(draw_struct(draws, struct)) for _ in range(CORPUS)]
    return Corpus.of_msgpack(messages)


def test_all_of_them_are_found() -> None:
    names = {struct.__name__ for struct in STRUCTS}
    assert len(STRUCTS) >= 34
    assert names >= {"_Signed", "Envelope", "Chunk", "Request", "Reply", "Configuration", "DataSchema"}
    assert names >= {"Query", "Answer", "JournalEntry", "Receipt", "Head", "LogisticDetail", "TreeDetail"}
    assert names >= {"SealedModel", "SealedPlace", "WaitingChunk", "ModelPlace", "OpenQuery", "Snapshot"}
    assert names >= {"NaiveBayesSpec", "LogisticSpec", "TreeSpec"}


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_any_bytes_are_a_value_or_a_reason(struct: type[WireStruct]) -> None:
    draws, tally = Draws(f"struct {struct.__name__}"), Tally()
    corpus = corpus_of(struct, draws)
    secret = b"" if struct in QUOTED else None
    for _ in range(INPUTS):
        if draws.chance(8):
            data, mutated = noise(draws), False
        elif draws.chance(24):
            data, mutated = draws.pick(corpus.messages), False
        else:
            data, mutated = corpus.mutant(draws)
        tally.judge(partial(decode, struct), data, mutated=mutated, again=encode, secret=secret)
    tally.check(reasons=["malformed"])


class Models(WireStruct):
    """What a configuration holds of models."""

    models: tuple[ModelSpec, ...]


def test_a_model_is_of_the_kind_that_it_names() -> None:
    draws, tally = Draws("kinds of models"), Tally()
    specs: tuple[type[ModelSpec], ...] = (NaiveBayesSpec, LogisticSpec, TreeSpec)
    kinds: set[str] = set()
    drawn = [Models((made, made)) for made in _drawn_specs(draws, specs)]
    corpus = Corpus.of_msgpack([encode(models) for models in drawn])
    for _ in range(INPUTS):
        if draws.chance(4):
            tree = copy.deepcopy(draws.pick(corpus.trees))
            model = draws.pick(tree[0])
            model[0] = draws.pick(("nb", "lr", "dt", "", "NB", "svm", b"nb", 0, None))
            data = bytes(msgpack.packb(tree))
            mutated = data not in corpus.messages
        else:
            data, mutated = corpus.mutant(draws)
        models = tally.judge(partial(decode, Models), data, mutated=mutated, again=encode)
        if models is None:
            continue
        for model, (tag, *fields) in zip(models.models, msgpack.unpackb(data)[0], strict=True):
            assert isinstance(model, dict(zip(("nb", "lr", "dt"), specs, strict=True))[tag])
            assert [getattr(model, name) for name in model.__struct_fields__] == fields
            kinds.add(classifier_of(model))
    tally.check(reasons=["malformed"])
    assert kinds == {"nb", "lr", "dt"}


def _drawn_specs(draws: Draws, specs: tuple[type[ModelSpec], ...]) -> Iterator[ModelSpec]:
    for _ in range(CORPUS):
        spec = draw_struct(draws, draws.pick(specs))
        assert isinstance(spec, specs)
        yield spec


def peak_bytes(data: bytes) -> int:
    tracemalloc.start()
    try:
        Tally().judge(lambda d: decode(Request, d), data, mutated=False)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_claimed_length_takes_no_memory() -> None:
    draws = Draws("claims")
    good = encode(draw_struct(draws, Request))
    claims = [bytes([tag]) + b"\xff" * width for tag, width in ((0xC5, 2), (0xC6, 4), (0xDA, 2), (0xDB, 4))]
    claims += [bytes([tag]) + b"\xff" * width for tag, width in ((0xDC, 2), (0xDD, 4))]
    claims += [claim * times for claim in claims[-2:] for times in (2, MAX_DEPTH, 300, 200_000)]
    claims += [bytes([tag]) + b"\xff" * 4 for tag in (0xDF, 0xC9)]
    for claim in claims:
        for cut in (0, 1, len(good) // 2, len(good)):
            assert peak_bytes(good[:cut] + claim) < 64_000
            assert peak_bytes(good[:cut] + claim + bytes(100)) < 64_000


def test_as_many_values_as_may_be_take_a_bounded_memory() -> None:
    for value in (b"\x90", b"\x91\x90", b"\xcf" + b"\xff" * 8):
        count = MAX_VALUES - 1 if value != b"\x91\x90" else MAX_VALUES // 2 - 1
        data = b"\xdd" + count.to_bytes(4, "big") + value * count
        values = unpack(data)
        assert isinstance(values, list)
        assert len(values) == count
        assert peak_bytes(data) < 16 << 20


def test_arrays_in_arrays_end_early() -> None:
    for depth in (MAX_DEPTH, MAX_DEPTH + 1, 1000, 4_000_000):
        assert peak_bytes(b"\x91" * depth) < 64_000
        assert peak_bytes(b"\x91" * depth + b"\xc0") < 64_000


class UnlistedError(SchemaError):
    """An error whose code is on no list."""

    code = "because"


def test_the_oracle_sees_what_it_looks_for() -> None:
    entry = JournalEntry(1, bytes(32), "accept", "chunks", 0, 0, bytes(32), "a", 1, 1, "", "m", 1)
    good = encode(entry)

    def quoting(data: bytes) -> object:
        raise MalformedMessageError(f"what is {data[:12]!r}?")

    def spelling(data: bytes) -> object:
        raise MalformedMessageError(f"what is {data[-9:].hex()}?")

    def coded(data: bytes) -> object:
        raise UnlistedError("no")

    def arguing(data: bytes) -> object:
        raise MalformedMessageError("no", data)

    def chained(data: bytes) -> object:
        raise MalformedMessageError("no") from ValueError(data.hex())

    def crashing(data: bytes) -> object:
        return dict[bytes, object]()[data]

    text = msgpack.packb(["some text of the message", *range(5)])
    decoders: list[Callable[[bytes], object]] = [quoting, spelling, coded, arguing, chained, crashing]
    for decoder in decoders:
        with pytest.raises(AssertionError):
            Tally().judge(decoder, text, mutated=False)
    with pytest.raises(AssertionError, match="was read as"):
        Tally().judge(lambda d: decode(JournalEntry, d), good, mutated=False, again=lambda _: good + b"x")
    with pytest.raises(AssertionError):
        Tally(INPUTS, INPUTS // 2 - 1, INPUTS).check()
    with pytest.raises(AssertionError):
        Tally(INPUTS - 1, INPUTS - 1, INPUTS - 1).check()
